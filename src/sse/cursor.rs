//! Event ids `<epoch>-<seq>` and the cursors that clients send back.

use std::fmt;

/// One incarnation of the event log: 48 random bits, written as twelve hex digits. Two ids with
/// different epochs have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

pub(super) const EPOCH_DIGITS: usize = 12;

impl Epoch {
    /// Makes an epoch of the low 48 bits of `random`.
    pub const fn new(random: u64) -> Self {
        Self(random & 0xffff_ffff_ffff)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// Names one event for ever: `seq` is its place in the one total order of an epoch. 0 is the
/// place before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventId {
    /// The incarnation of the log that gave the id.
    pub epoch: Epoch,
    /// The place in its order, from 1.
    pub seq: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

/// What a client says it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// It says nothing: it wants what is published from now on.
    Live,
    /// It has everything up to and including this id.
    At(EventId),
    /// It has something, but not an id of this kind of log: treated like another epoch, since an
    /// error status would stop a native `EventSource` for good.
    Unreadable,
}

impl Cursor {
    /// Reads the value of a `Last-Event-ID` header or query parameter. Never fails: see
    /// [`Cursor::Unreadable`].
    pub fn parse(value: &[u8]) -> Self {
        if value.is_empty() {
            return Self::Live;
        }
        parse_id(value).map_or(Self::Unreadable, Self::At)
    }
}

fn parse_id(value: &[u8]) -> Option<EventId> {
    let (epoch, seq) = value.split_at_checked(EPOCH_DIGITS)?;
    let seq = seq.strip_prefix(b"-")?;
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !epoch.iter().all(hex) || seq.is_empty() || !seq.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let epoch = u64::from_str_radix(std::str::from_utf8(epoch).ok()?, 16).ok()?;
    // More digits than a u64 holds: not an id this log ever gave.
    let seq = std::str::from_utf8(seq).ok()?.parse().ok()?;
    Some(EventId { epoch: Epoch::new(epoch), seq })
}

#[cfg(test)]
mod tests {
    //! Cursors: every id reads back as itself, everything else is unreadable and never a panic.

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn f09_garbage_and_overflow_are_unreadable() {
        for text in [
            "x",
            "-",
            "0123456789ab",
            "0123456789ab-",
            "0123456789ab-x",
            "0123456789ab-99999999999999999999",
            "0123456789ab-+1",
            "0123456789AB-1",
            "zzzzzzzzzzzz-1",
            " 0123456789ab-1",
        ] {
            assert_eq!(Cursor::parse(text.as_bytes()), Cursor::Unreadable, "{text:?}");
        }
        assert_eq!(Cursor::parse(b""), Cursor::Live);
    }

    proptest! {
        #[test]
        fn an_id_reads_back_as_itself(epoch: u64, seq: u64) {
            let id = EventId { epoch: Epoch::new(epoch), seq };
            prop_assert_eq!(Cursor::parse(id.to_string().as_bytes()), Cursor::At(id));
        }

        #[test]
        fn f09_arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Cursor::parse(&bytes);
        }
    }
}
