//! The log on disk: what makes published events survive the end of the process and of the machine's
//! power. Append-only segments in one folder; `docs/DURABILITY.md` has the promises, the format and
//! the rules of recovery.
//!
//! Owned by one thread, which calls [`Journal::append`], [`Journal::write`], [`Journal::sync`] and
//! [`Journal::trim`]; nothing here knows a clock, a socket or a runtime, and files are reached
//! through [`Disk`] only. Refuses records out of order or too large, a second process, a folder of
//! another format version, and everything after an error that leaves in doubt what is on the disk.
//!
//! ```text
//! append ─► pending group ─► write ─► the OS ─► sync ─► the disk        (writer.rs)
//!                                                          │
//! open ─► meta, headers, groups, records ─► repair ─► a new segment     (scan.rs, repair.rs)
//! trim ─► the values in what goes ─► meta ─► segments are deleted       (trim.rs)
//! ```
//!
//! The files from the inside out: a `record`, a `group` of them (one write), a `segment` of groups,
//! and `meta`, which says what segments there must be; `values` beside them outlives their records.
//! `inspect.rs` prints it all for people.

mod active;
mod again;
mod disk;
mod folder;
mod group;
mod inspect;
mod meta;
mod open;
mod record;
mod repair;
mod report;
mod scan;
mod segment;
mod trim;
mod values;
mod window;
mod writer;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::sse::Epoch;

pub use disk::{Disk, DiskFile};
pub use folder::Folder;
pub use group::GROUP_BYTES;
pub use inspect::{Inspection, inspect};
pub use record::{KEY_BYTES_MAX, RECORD_BYTES_MAX, Record, Retain, To, TopicNames, encoded_len};
pub use report::{
    AppendError, Ended, Fault, Finding, OpenError, Recovered, SyncError, TrimError, Trimmed,
    WriteError, Written,
};
pub use segment::BootId;
pub use trim::Excess;
pub use writer::Journal;

/// Longest segment. What is behind a broken place in one, recovery holds in memory.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Shortest segment.
pub const SEGMENT_BYTES_MIN: u64 = 1 << 10;

/// How far `seq` jumps over ids that may have been given and cannot be known any more. They are
/// all in one segment, which has fewer bytes than this, and every record takes more than one.
pub const SEQ_JUMP: u64 = 1 << 32;
const _: () = assert!(SEGMENT_BYTES_MAX < SEQ_JUMP);

/// No seq goes beyond this: two thousand million jumps from 0.
pub const SEQ_MAX: u64 = 1 << 63;

/// What the log is bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a segment, [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`]: what is reserved on the
    /// disk at once, and deleted at once.
    pub segment_bytes: u64,
    /// Bytes of all segments together, above which the oldest go. One segment is always kept.
    pub bytes_max: u64,
    /// A segment goes when its newest event is older.
    pub age_max: Duration,
}

/// When events are delivered and acknowledged, seen from the log. Recorded, since it says what
/// may have left the machine before a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMode {
    /// After [`Journal::sync`]: nothing that is not on the disk has been seen by anyone.
    Always,
    /// After [`Journal::write`], with a sync now and then: ids that are not on the disk may be known.
    Interval,
}

/// What the log cannot know by itself when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// When events will be acknowledged.
    pub mode: SyncMode,
    /// The epoch of a log that is created now; one that exists keeps its own.
    pub fresh_epoch: Epoch,
    /// Random, different each time: what makes checksums unpredictable for those who choose data.
    pub salt: u64,
    /// Which start of the machine this is; `None`, where it cannot be read, is like another one.
    pub boot: Option<BootId>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Seqs that no record will ever be found for: lost, or never given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The seq before the hole.
    pub after: u64,
    /// The last seq in it.
    pub to: u64,
}

/// Where in a log that is opened a record is. Small, since there is one for each that is still wanted.
/// In the order of `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordPlace {
    /// Of the segments that were found, the how many-th.
    segment: u32,
    /// A segment is shorter than 4 GiB.
    at: u32,
}

/// What recovery finds, in the order of `seq`. Only a hole in the place of lost values may be before
/// the first seq that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The record of a retained value, of topics whose value it still is. It has been trimmed: it is
    /// none of the events any more, and what is before the next one is no hole.
    Value(Record<'a>),
    /// A record that is kept, and where it is.
    Record(Record<'a>, RecordPlace),
    /// A hole.
    Hole(Hole),
}
