//! What the journal says: results, what recovery found, and errors. Each error says whose fault it
//! is and whether to try again; the words are for operators.

use std::fmt;
use std::io;

use super::{Hole, Item, SEQ_MAX};
use crate::sse::Epoch;

/// What [`super::Journal::open`] found.
#[derive(Debug)]
pub struct Recovered {
    /// The log's epoch.
    pub epoch: Epoch,
    /// The seq of the next record.
    pub next_seq: u64,
    /// Records with a smaller seq have been trimmed, if there were any.
    pub first_seq: u64,
    /// How the log was left.
    pub ended: Ended,
    /// Records that are kept.
    pub records: u64,
    /// Retained values whose records have been trimmed.
    pub values: u64,
    /// Bytes of the segments that they are in.
    pub bytes: u64,
    /// What is wrong, or was; empty is good.
    pub findings: Vec<Finding>,
    /// Every hole among the records and after them, and one before them if values were lost.
    pub holes: Vec<Hole>,
}

/// How a log was left by the process before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was none: the log is new.
    New,
    /// It was closed.
    Clean,
    /// Its process ended without closing it; the machine did not.
    Killed,
    /// The machine went down, or the log was moved to another.
    PowerLoss,
    /// The place that would say is damaged.
    Unknown,
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, in the log's folder.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What it is.
    pub fault: Fault,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A group that was being written when the process or the machine went down. It had not been
    /// acknowledged, or its loss is declared; this is no damage.
    TornTail,
    /// `meta` or `values` is gone.
    FileMissing,
    /// One of the two copies in `meta` is not readable, or something is beside them.
    MetaCopy,
    /// Segments are gone, from this one to the one with this number.
    Missing {
        /// The last of them.
        to: u64,
    },
    /// The segment's header is not readable, or belongs to another log.
    Header,
    /// The segment should be longer or shorter.
    Length {
        /// What it should be.
        expected: u64,
    },
    /// From here on the segment is not what was written.
    Damaged,
    /// There is something after the segment's end.
    Stray,
}

impl Finding {
    /// Whether something was changed that had been written completely.
    pub fn is_damage(&self) -> bool {
        self.fault != Fault::TornTail
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.offset, self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TornTail => write!(f, "a write was cut off here, before it was acknowledged"),
            Self::FileMissing => write!(f, "the file is missing"),
            Self::MetaCopy => write!(f, "one of the two copies is damaged"),
            Self::Missing { to } => write!(f, "missing, and all up to segment {to}"),
            Self::Header => write!(f, "the header is damaged or of another log"),
            Self::Length { expected } => write!(f, "the file ends here, not at {expected}"),
            Self::Damaged => write!(f, "damaged from here on"),
            Self::Stray => write!(f, "bytes after the end"),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Clean => "closed",
            Self::Killed => "open, or left by a process that was killed",
            Self::PowerLoss => "left by a machine that went down",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.after + 1, self.to)
    }
}

impl Item<'_> {
    /// The last seq that it accounts for.
    pub fn last_seq(&self) -> u64 {
        match self {
            Self::Value(record) | Self::Record(record, _) => record.seq,
            Self::Hole(hole) => hole.to,
        }
    }
}

/// What one write carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The seq of its first record; meaningless when there was none.
    pub first_seq: u64,
    /// Its records.
    pub records: u32,
    /// Bytes written, with framing.
    pub bytes: u64,
}

/// What a trim deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Segments deleted.
    pub segments: u64,
    /// Bytes that they took on the disk.
    pub bytes: u64,
    /// No record with a smaller seq is kept.
    pub first_seq: u64,
}

/// Why a log was not opened. Nothing of it was lost.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        /// The log's folder.
        path: String,
    },
    /// It was written by another version of this program.
    Version {
        /// The file that says so.
        path: String,
        /// The version of its format.
        found: u32,
    },
    /// The options contradict what a segment can be.
    Options(&'static str),
    /// There are no seqs left, or a file says so that no log of ours would have.
    Exhausted,
    /// The disk refused something.
    Io {
        /// The log's folder.
        path: String,
        /// What it was.
        doing: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => {
                write!(f, "the log in {path} is in use by another process; one at a time")
            }
            Self::Version { path, found } => write!(
                f,
                "{path} has format version {found}, and this program reads version {} only; use \
                 the program that wrote it, or another folder",
                super::meta::FORMAT_VERSION
            ),
            Self::Options(what) => f.write_str(what),
            Self::Exhausted => write!(f, "the log has no seqs left below {SEQ_MAX}"),
            Self::Io { path, doing, error } => write!(f, "{path}: cannot {doing}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// Why a record was not taken. The pending group is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// It is larger than any record may be, or than a segment: the publisher's fault, and final.
    TooLarge,
    /// The pending group has no room for it: write, then append again.
    GroupFull,
    /// Its seq is not the next one: the caller's fault.
    OutOfOrder {
        /// The next one.
        expected: u64,
    },
    /// The log has failed.
    Failed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(f, "the event is larger than the log takes"),
            Self::GroupFull => write!(f, "the group is full"),
            Self::OutOfOrder { expected } => write!(f, "the next seq is {expected}"),
            Self::Failed => f.write_str(FAILED),
        }
    }
}

impl std::error::Error for AppendError {}

/// Why the pending group was not written. It is gone, and its seqs are the next ones again.
#[derive(Debug)]
pub enum WriteError {
    /// The disk is full. The publisher may try again; the log goes on when there is room.
    Full(io::Error),
    /// The disk failed, now or before: the log takes nothing more.
    Failed(Option<io::Error>),
}

/// Why the log could not be made durable: it takes nothing more. After an error the kernel may have
/// dropped what it could not write, so to ask again would be answered with a lie.
#[derive(Debug)]
pub struct SyncError(pub Option<io::Error>);

/// Why nothing was trimmed, or not all of it.
#[derive(Debug)]
pub enum TrimError {
    /// The disk is full; try again.
    Full(io::Error),
    /// A file could not be deleted; try again.
    Delete(io::Error),
    /// The disk failed, now or before: the log takes nothing more.
    Failed(Option<io::Error>),
}

const FAILED: &str = "the log has failed; it takes nothing more until it is opened again";

fn because(f: &mut fmt::Formatter<'_>, what: &str, error: Option<&io::Error>) -> fmt::Result {
    match error {
        Some(error) => write!(f, "{what}: {error}"),
        None => f.write_str(what),
    }
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => because(f, "the disk of the log is full", Some(error)),
            Self::Failed(error) => because(f, FAILED, error.as_ref()),
        }
    }
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        because(f, FAILED, self.0.as_ref())
    }
}

impl fmt::Display for TrimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) => because(f, "the disk of the log is full", Some(error)),
            Self::Delete(error) => because(f, "a file cannot be deleted", Some(error)),
            Self::Failed(error) => because(f, FAILED, error.as_ref()),
        }
    }
}

impl std::error::Error for WriteError {}
impl std::error::Error for SyncError {}
impl std::error::Error for TrimError {}
