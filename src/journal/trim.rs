//! Deleting the oldest segments, and keeping the retained values that were in them. Called by the one
//! thread that owns the log. Every step may be the last before the power goes: what is left is the
//! log as it was, or as it is to be.

use std::io;

use super::disk::Disk;
use super::meta::Meta;
use super::report::{SyncError, TrimError, Trimmed, WriteError};
use super::segment;
use super::values;
use super::{Journal, Record};

/// Whole segments that are to go, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Excess {
    segments: usize,
    /// What is kept then.
    oldest: Oldest,
}

/// Where the log begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// The oldest segment.
    pub(super) number: u64,
    /// No record with a smaller seq is kept.
    pub(super) seq: u64,
}

impl Excess {
    /// No record with a smaller seq is kept.
    pub fn first_seq(&self) -> u64 {
        self.oldest.seq
    }
}

impl<D: Disk> Journal<D> {
    /// What is to be trimmed: segments, while all together are too large or the oldest is too old;
    /// never the one that is written to. `None` when nothing is.
    pub fn excess(&self, now_ms: u64) -> Option<Excess> {
        let age_max = u64::try_from(self.options.age_max.as_millis()).unwrap_or(u64::MAX);
        let mut bytes = self.bytes();
        let too_much = self.sealed.iter().take_while(|oldest| {
            let goes =
                bytes > self.options.bytes_max || oldest.newest_ms.saturating_add(age_max) < now_ms;
            bytes -= if goes { oldest.bytes } else { 0 };
            goes
        });
        let segments = too_much.count();
        let kept = self.sealed.get(segments);
        let oldest = kept
            .map_or(Oldest { number: self.active.number, seq: self.active.base_seq }, |kept| {
                Oldest { number: kept.number, seq: kept.base_seq }
            });
        (segments > 0).then_some(Excess { segments, oldest })
    }

    /// Deletes what [`Journal::excess`] has found. `values` are the records of the retained values
    /// with a seq below [`Excess::first_seq`], as everything that was written so far has left them,
    /// in the order of their seqs: they are kept in a file of their own.
    ///
    /// When there is no room for that file, nothing is trimmed.
    pub fn trim<'a>(
        &mut self,
        excess: Excess,
        values: impl IntoIterator<Item = Record<'a>>,
    ) -> Result<Trimmed, TrimError> {
        // A value that a record on its way to the disk has replaced is not among `values`: were that
        // record lost after the trim, so would both be.
        self.sync().map_err(|SyncError(error)| TrimError::Failed(error))?;
        let Excess { segments, oldest } = excess;
        let has_values = values::write(&self.disk, self.epoch, oldest.seq, values)
            .map_err(|error| self.trim_error(error))?;
        // Then it is said that the segments go, so that they are not missed: in both copies, since
        // the other one would ask for them as long as it says so.
        for _ in 0..2 {
            self.announce(oldest, has_values)?;
        }
        let mut trimmed = Trimmed { first_seq: oldest.seq, ..Trimmed::default() };
        for _ in 0..segments {
            let Some(oldest) = self.sealed.front() else { break };
            self.remove(&segment::name(oldest.number))?;
            trimmed.segments += 1;
            trimmed.bytes += oldest.bytes;
            self.sealed.pop_front();
        }
        if !has_values {
            self.remove(values::NAME)?;
        }
        Ok(trimmed)
    }

    fn announce(&mut self, oldest: Oldest, has_values: bool) -> Result<(), TrimError> {
        let (first, first_seq) = (oldest.number, oldest.seq);
        let meta = Meta { first, first_seq, has_values, ..self.meta_now() };
        self.update_meta(meta).map_err(|error| self.trim_error(error))?;
        (self.oldest, self.has_values) = (oldest, has_values);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), TrimError> {
        match self.disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(TrimError::Delete(error)),
            _ => Ok(()),
        }
    }

    fn trim_error(&mut self, error: io::Error) -> TrimError {
        match self.write_error(error) {
            WriteError::Full(error) => TrimError::Full(error),
            WriteError::Failed(error) => TrimError::Failed(error),
        }
    }
}
