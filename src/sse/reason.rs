//! The reasons that control events give: part of the contract with clients, and label values.

/// Why events were lost to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The client read too slowly and its ring dropped the oldest.
    Slow,
    /// What the client has not seen is no longer kept.
    Expired,
    /// The client's cursor is of another incarnation of the log, or unreadable.
    Epoch,
    /// The client's cursor is of this epoch but beyond its last event.
    Ahead,
    /// The log on disk was damaged there.
    Corrupt,
}

impl GapReason {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Slow, Self::Expired, Self::Epoch, Self::Ahead, Self::Corrupt];

    /// The word on the wire and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slow => "slow",
            Self::Expired => "expired",
            Self::Epoch => "epoch",
            Self::Ahead => "ahead",
            Self::Corrupt => "corrupt",
        }
    }
}

/// Why the gateway ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The stream reached its lifetime cap.
    MaxLifetime,
    /// The stream reached the `limit` or `max_duration` its request asked for.
    Limit,
    /// The gateway is going down and gave the client time to go elsewhere.
    Drain,
    /// The gateway is going down now.
    Shutdown,
    /// More streams wanted to be told of the past at once than may.
    Shed,
    /// The app server's stream that it shared with others is over.
    Upstream,
    /// What let the client have the stream is over.
    AuthExpired,
    /// The session that the stream belongs to was ended.
    Revoked,
}

impl EndReason {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::MaxLifetime,
        Self::Limit,
        Self::Drain,
        Self::Shutdown,
        Self::Shed,
        Self::Upstream,
        Self::AuthExpired,
        Self::Revoked,
    ];

    /// The word on the wire and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxLifetime => "max_lifetime",
            Self::Limit => "limit",
            Self::Drain => "drain",
            Self::Shutdown => "shutdown",
            Self::Shed => "shed",
            Self::Upstream => "upstream",
            Self::AuthExpired => "auth_expired",
            Self::Revoked => "revoked",
        }
    }
}
