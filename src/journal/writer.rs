//! The journal itself: collects records into a group, writes groups into the newest segment, makes
//! them durable, and begins segments. Called by the one thread that owns the log.
//! After an error that leaves in doubt what is on the disk it refuses everything.

use std::collections::VecDeque;
use std::io;
use std::mem;

use super::active::{Active, BeginError, begin};
use super::disk::{Disk, DiskFile, is_full, write_all, write_zeros};
use super::group::{self, HEAD, Kind, MARK, Seal};
use super::meta::{Meta, MetaFile};
use super::record::{encode, encoded_len};
use super::report::{AppendError, SyncError, WriteError, Written};
use super::segment::{Before, HEADER};
use super::trim::Oldest;
use super::{Options, Record, Session};
use crate::sse::Epoch;

/// Room at the end of a segment for the mark of a clean end.
const CLOSE: u64 = (HEAD + MARK) as u64;

/// Most bytes of records in one group, however large the segment: what one write may wait for.
const GROUP_BYTES_MAX: u64 = 64 << 20;

/// An open log.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    pub(super) disk: D,
    pub(super) options: Options,
    pub(super) session: Session,
    pub(super) epoch: Epoch,
    pub(super) meta: MetaFile<D::File>,
    /// Whether `meta` does not yet name the newest segment.
    pub(super) meta_is_behind: bool,
    pub(super) active: Active<D::File>,
    /// The segments before, oldest first.
    pub(super) sealed: VecDeque<Sealed>,
    /// Where the log begins, as `meta` says.
    pub(super) oldest: Oldest,
    /// Whether there is a file with values, as `meta` says.
    pub(super) has_values: bool,
    pub(super) pending: Pending,
    /// The seq of the next record, after those that are pending.
    pub(super) next_seq: u64,
    pub(super) failed: bool,
}

/// A segment that is complete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) base_seq: u64,
    pub(super) newest_ms: u64,
}

/// The group that is being collected.
#[derive(Debug)]
pub(super) struct Pending {
    /// Room for the head, then the records.
    bytes: Vec<u8>,
    records: u32,
    newest_ms: u64,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; HEAD], records: 0, newest_ms: 0 }
    }

    fn clear(&mut self) {
        self.bytes.truncate(HEAD);
        self.records = 0;
        self.newest_ms = 0;
    }
}

impl<D: Disk> Journal<D> {
    /// Adds a record to the pending group. Does no I/O.
    pub fn append(&mut self, record: &Record<'_>) -> Result<(), AppendError> {
        let capacity = self.group_capacity();
        let length = encoded_len(record).filter(|&length| length <= capacity);
        let length = length.ok_or(AppendError::TooLarge)?;
        if self.failed {
            return Err(AppendError::Failed);
        }
        if record.seq != self.next_seq {
            return Err(AppendError::OutOfOrder { expected: self.next_seq });
        }
        if length > self.room() {
            return Err(AppendError::GroupFull);
        }
        encode(record, length, &mut self.pending.bytes);
        self.pending.records += 1;
        self.pending.newest_ms = self.pending.newest_ms.max(record.accepted_ms);
        self.next_seq += 1;
        Ok(())
    }

    /// Bytes of records that the pending group still takes; see [`super::encoded_len`].
    pub fn room(&self) -> usize {
        self.group_capacity() - (self.pending.bytes.len() - HEAD)
    }

    fn group_capacity(&self) -> usize {
        let frame = (HEADER + HEAD + MARK) as u64 + CLOSE;
        (self.options.segment_bytes - frame).min(GROUP_BYTES_MAX) as usize
    }

    /// Hands the pending group to the operating system: from then on it survives the end of the
    /// process. Begins a new segment where it does not fit, which takes syncs. On an error the
    /// group is gone without a trace, and its seqs are the next ones again.
    pub fn write(&mut self) -> Result<Written, WriteError> {
        if self.pending.records == 0 && !self.failed {
            return Ok(Written { first_seq: self.next_seq, ..Written::default() });
        }
        let records = self.pending.records;
        let first_seq = self.next_seq - u64::from(records);
        let written = self.write_pending(first_seq);
        match &written {
            Ok(_) => self.active.newest_ms = self.active.newest_ms.max(self.pending.newest_ms),
            Err(_) => self.next_seq = first_seq,
        }
        self.pending.clear();
        written.map(|bytes| Written { first_seq, records, bytes })
    }

    fn write_pending(&mut self, first_seq: u64) -> Result<u64, WriteError> {
        if self.failed {
            return Err(WriteError::Failed(None));
        }
        let length = (self.pending.bytes.len() + MARK) as u64;
        if self.active.at + length + CLOSE > self.active.length {
            self.roll(first_seq)?;
        }
        if self.meta_is_behind {
            self.update_meta(self.meta_now()).map_err(|error| self.write_error(error))?;
        }
        self.put_group(Kind::Events, first_seq)
    }

    /// Seals the pending group as what `kind` says and writes it.
    fn put_group(&mut self, kind: Kind, first_seq: u64) -> Result<u64, WriteError> {
        self.clean_up()?;
        let Active { salt, at, synced, .. } = self.active;
        let count = self.pending.records;
        let group = &mut self.pending.bytes;
        group::seal(group, &Seal { kind, salt, at, synced, first_seq, count });
        match write_all(&self.active.file, group, at) {
            Ok(()) => {
                self.active.at += group.len() as u64;
                Ok(group.len() as u64)
            }
            Err(partial) => {
                self.active.dirty_to = at + partial.written;
                Err(self.write_error(partial.error))
            }
        }
    }

    /// Removes what a group that failed has left. Must come before the next group, and be on the
    /// disk before it: what is left behind that one would look like damage.
    fn clean_up(&mut self) -> Result<(), WriteError> {
        let Active { at, dirty_to, .. } = self.active;
        if dirty_to > at {
            write_zeros(&self.active.file, at, dirty_to - at)
                .map_err(|error| self.write_error(error))?;
            if let Err(error) = self.active.file.sync() {
                self.failed = true;
                return Err(WriteError::Failed(Some(error)));
            }
            self.active.synced = at;
            self.active.dirty_to = at;
        }
        Ok(())
    }

    /// A full disk is the publisher's to wait for; anything else ends the log.
    pub(super) fn write_error(&mut self, error: io::Error) -> WriteError {
        if is_full(&error) {
            return WriteError::Full(error);
        }
        self.failed = true;
        WriteError::Failed(Some(error))
    }

    /// Ends the newest segment and begins one in which the first record has `first_seq`.
    fn roll(&mut self, first_seq: u64) -> Result<(), WriteError> {
        self.sync().map_err(|SyncError(error)| WriteError::Failed(error))?;
        let Active { number, at, base_seq, newest_ms, .. } = self.active;
        let before = Before { number, end: at, next_seq: first_seq };
        let session = &self.session;
        let next =
            begin(&self.disk, &self.options, session, self.epoch, number + 1, first_seq, before);
        let next = match next {
            Ok(next) => next,
            Err(BeginError::Full(error)) => return Err(WriteError::Full(error)),
            Err(BeginError::Failed(error)) => {
                self.failed = true;
                return Err(WriteError::Failed(Some(error)));
            }
        };
        let old = mem::replace(&mut self.active, next);
        self.sealed.push_back(Sealed { number, bytes: at, base_seq, newest_ms });
        self.meta_is_behind = true;
        // Only gives room back: where it fails, opening the log does it.
        let _ = old.file.truncate(at);
        Ok(())
    }

    pub(super) fn meta_now(&self) -> Meta {
        Meta {
            epoch: self.epoch,
            first: self.oldest.number,
            first_seq: self.oldest.seq,
            last: self.active.number,
            last_seq: self.active.base_seq,
            has_values: self.has_values,
        }
    }

    pub(super) fn update_meta(&mut self, meta: Meta) -> io::Result<()> {
        self.meta.update(&meta)?;
        self.meta_is_behind = false;
        Ok(())
    }

    /// Makes durable what was written. After any error the log refuses everything for ever: the
    /// kernel may have dropped what it could not write, and a second sync would not tell.
    pub fn sync(&mut self) -> Result<(), SyncError> {
        if self.failed {
            return Err(SyncError(None));
        }
        if self.active.synced < self.active.at {
            if let Err(error) = self.active.file.sync() {
                self.failed = true;
                return Err(SyncError(Some(error)));
            }
            self.active.synced = self.active.at;
        }
        Ok(())
    }

    /// Writes what is pending and says that this is the end, durably: the next start has nothing
    /// to wonder about.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.write()?;
        self.put_group(Kind::Close, self.next_seq)?;
        self.sync().map_err(|SyncError(error)| WriteError::Failed(error))
    }

    /// The epoch of every id in the log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The seq that the next record must have.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Bytes that the segments take on the disk, with what is reserved for the newest.
    pub fn bytes(&self) -> u64 {
        self.active.length + self.sealed.iter().map(|sealed| sealed.bytes).sum::<u64>()
    }

    /// Bytes that were written and not yet synced.
    pub fn unsynced_bytes(&self) -> u64 {
        self.active.at - self.active.synced
    }

    /// Segments, with the one that is written to.
    pub fn segments(&self) -> usize {
        self.sealed.len() + 1
    }
}
