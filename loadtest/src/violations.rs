//! The kinds of broken promise, counted without bound and described up to a bound.

use serde::{Deserialize, Serialize};

/// Descriptions kept per thread and shown in a report.
const DESCRIBED_MAX: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A matching, accepted event neither received nor inside a gap declared in time.
    Lost,
    Doubled,
    /// An id not above the last one received, or not above a cursor that was promised.
    OutOfOrder,
    /// Bytes, ids or names that are not what was published, or refused yet delivered.
    Corrupt,
    /// An event of a topic that the stream did not ask for.
    Misrouted,
    /// A gap whose count is not the number of events the stream lost in it.
    GapCount,
    /// Chunks, frames or control events that break the contract's form.
    Protocol,
    UnexpectedClose,
    /// A publish answered with neither an id nor a refusal, or ids out of publish order.
    Publish,
    /// A stream ended too early, too late, or otherwise than its cap demands.
    Lifetime,
}

const KINDS: [Kind; 10] = [
    Kind::Lost,
    Kind::Doubled,
    Kind::OutOfOrder,
    Kind::Corrupt,
    Kind::Misrouted,
    Kind::GapCount,
    Kind::Protocol,
    Kind::UnexpectedClose,
    Kind::Publish,
    Kind::Lifetime,
];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Violations {
    counts: [u64; KINDS.len()],
    described: Vec<Described>,
}

impl Violations {
    pub(crate) fn add(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        self.counts[kind as usize] += 1;
        if self.described.len() < DESCRIBED_MAX {
            self.described.push(Described { kind, what: what() });
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.described.extend(other.described);
        self.described.truncate(DESCRIBED_MAX);
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn by_kind(&self) -> Vec<(Kind, u64)> {
        KINDS.into_iter().map(|kind| (kind, self.counts[kind as usize])).collect()
    }

    pub(crate) fn described(&self) -> &[Described] {
        &self.described
    }
}
