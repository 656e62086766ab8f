//! The log's thread: takes what the hub has ordered, writes it to the log, and has the hub deliver it.
//! Publishers wait for that, streams do not: what they get is in the log already.
//!
//! What comes while a write is under way goes into the next one, so the slower the disk, the more
//! there is in a write. Called by nobody: it runs until it is told to stop, or the log has failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::hub::{Hub, OrderedBatch, WallClock};
use crate::journal::{Folder, Journal, TrimError, WriteError, encoded_len};
use crate::metrics::ShardMetrics;
use crate::sync::Outcome;

/// Longest sleep: how often the log is trimmed, and the thread looks whether it is to stop.
const IDLE: Duration = Duration::from_millis(500);

/// The log's thread, before it runs.
pub struct LogThread {
    /// Orders what is to be logged, and delivers it.
    pub hub: Arc<Hub>,
    /// The log.
    pub journal: Journal<Folder>,
    /// Longest time that something may be in the operating system only; `None`: nothing is
    /// acknowledged before it is on the disk.
    pub sync_every: Option<Duration>,
    /// This thread's own cells.
    pub metrics: Arc<ShardMetrics>,
    /// Set when everything has been published that will be.
    pub stop: Arc<AtomicBool>,
}

/// The log has failed; why has been logged.
struct Failed;

/// Both clocks.
pub fn wall_clock() -> WallClock {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallClock { now: Instant::now(), now_ms: since_epoch.as_millis() as u64 }
}

impl LogThread {
    /// Runs until the gateway stops. When the log fails, everything that waits is refused, and so is
    /// everything that comes after: what is on the disk is in doubt then.
    pub fn run(mut self) {
        match self.work() {
            Ok(()) => match self.journal.close() {
                Ok(()) => tracing::info!("the event log is closed"),
                Err(error) => tracing::error!(%error, "the event log could not be closed"),
            },
            Err(Failed) => self.hub.not_logged(Outcome::Failed),
        }
    }

    fn work(&mut self) -> Result<(), Failed> {
        let (mut sync_at, mut trim_at) = (None, Instant::now());
        loop {
            let now = Instant::now();
            let longest = sync_at.map_or(IDLE, |at: Instant| at.saturating_duration_since(now));
            let stopping = self.stop.load(Ordering::Acquire);
            let longest = if stopping { Duration::ZERO } else { longest.min(IDLE) };
            let is_something = self.hub.wait_for_log(longest);
            if is_something {
                self.write()?;
            }
            let now = Instant::now();
            if self.journal.unsynced_bytes() > 0 {
                let interval = self.sync_every.unwrap_or_default();
                let at = *sync_at.get_or_insert(now + interval);
                if at <= now {
                    self.sync()?;
                    sync_at = None;
                }
            }
            if trim_at <= now {
                self.trim()?;
                trim_at = now + IDLE;
            }
            self.keep_account();
            if stopping && !is_something {
                return Ok(());
            }
        }
    }

    /// Writes what waits, as much as is one write, and has it delivered.
    fn write(&mut self) -> Result<(), Failed> {
        let clock = wall_clock();
        let journal = &mut self.journal;
        let batches = self.hub.show_to_log(|batch| append(journal, batch, clock));
        match self.journal.write() {
            // A batch that fits no write: the configuration does not let such in.
            Ok(_) if batches == 0 => self.hub.not_logged(Outcome::Full),
            Ok(_) => {
                self.metrics.log_writes.add(1);
                if self.sync_every.is_none() {
                    self.sync()?;
                }
                self.hub.logged(batches, Instant::now());
            }
            Err(WriteError::Full(error)) => {
                tracing::error!(%error, "no room for the event log: publishers are refused");
                self.hub.not_logged(Outcome::Full);
                self.trim()?;
            }
            Err(error @ WriteError::Failed(_)) => {
                tracing::error!(%error, "the event log has failed: nothing more is published");
                return Err(Failed);
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Failed> {
        let began = Instant::now();
        self.journal.sync().map_err(|error| {
            tracing::error!(%error, "the event log has failed: nothing more is published");
            Failed
        })?;
        self.metrics.log_sync.observe(began.elapsed());
        Ok(())
    }

    fn keep_account(&self) {
        self.metrics.log_bytes.set(self.journal.bytes());
        self.metrics.log_segments.set(self.journal.segments() as u64);
        self.metrics.log_unsynced_bytes.set(self.journal.unsynced_bytes());
    }

    /// Deletes the oldest of the log, but for the retained values in it. All that is in the log has
    /// been delivered, so the hub's values are those that the log would give.
    fn trim(&mut self) -> Result<(), Failed> {
        let clock = wall_clock();
        let Some(excess) = self.journal.excess(clock.now_ms) else { return Ok(()) };
        let values = self.hub.values_before(excess.first_seq(), clock.now);
        match self.journal.trim(excess, values.iter().map(|value| value.as_log(clock))) {
            Ok(trimmed) => {
                let (segments, values) = (trimmed.segments, values.len());
                tracing::debug!(segments, values, "the oldest of the event log is gone");
            }
            Err(error @ TrimError::Failed(_)) => {
                tracing::error!(%error, "the event log has failed: nothing more is published");
                return Err(Failed);
            }
            Err(error) => tracing::warn!(%error, "the event log could not be trimmed"),
        }
        Ok(())
    }
}

/// Appends a batch, if all of it fits the write.
fn append(journal: &mut Journal<Folder>, batch: &OrderedBatch, clock: WallClock) -> bool {
    let length = |record: &crate::hub::LogRecord<'_>| encoded_len(&record.as_log());
    let bytes: Option<usize> = batch.records(clock).map(|record| length(&record)).sum();
    if bytes.is_none_or(|bytes| bytes > journal.room()) {
        return false;
    }
    // It has room, and the hub's order is the log's.
    batch.records(clock).all(|record| journal.append(&record.as_log()).is_ok())
}
