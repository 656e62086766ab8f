//! The hub at a start: with an empty history, or with what a log on disk has kept, and the thread that
//! writes the log from then on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::{GatewayError, random};
use crate::config::schema::{Config, History, Publish, Store};
use crate::config::units::Fsync;
use crate::durable::{self, LogThread};
use crate::history::{Bounds, Limits};
use crate::hub::{EventMailbox, Hub, KeyBounds, Recovery};
use crate::journal::{self, BootId, Folder, Journal, SyncMode};
use crate::metrics::Metrics;
use crate::sse::Epoch;
use crate::topic::Filter;

/// The thread of the log.
pub(super) struct LogEnd {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl LogEnd {
    /// Has everything written that was ordered, and closes the log.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            tracing::error!("the event log's thread panicked");
        }
    }
}

/// The hub, and where the past is to outlive the process, its log.
pub(super) fn hub(
    config: &Config,
    mailboxes: Vec<Arc<EventMailbox>>,
    metrics: &Metrics,
) -> Result<(Arc<Hub>, Option<LogEnd>), GatewayError> {
    let history = &config.history;
    let (past, keys) = (history_bounds(history), key_bounds(&config.publish));
    let epoch = Epoch::new(random()?);
    if history.store == Store::Memory {
        return Ok((Arc::new(Hub::new(epoch, mailboxes, past, keys)), None));
    }
    let clock = durable::wall_clock();
    let (mode, sync_every) = match history.fsync {
        Fsync::Always => (SyncMode::Always, None),
        Fsync::Every(interval) => (SyncMode::Interval, Some(interval.0)),
    };
    let options = journal::Options {
        segment_bytes: history.log_segment_bytes.0 as u64,
        bytes_max: history.log_bytes_max.0 as u64,
        age_max: history.log_age_max.0,
    };
    let session = journal::Session {
        mode,
        fresh_epoch: epoch,
        salt: random()?,
        boot: BootId::current(),
        now_ms: clock.now_ms,
    };
    let folder = Folder::create(Path::new(&history.path)).map_err(|error| {
        GatewayError::Log(format!("{}: cannot open the folder: {error}", history.path))
    })?;
    let started = Instant::now();
    let mut recovery = Recovery::new(past, keys, clock);
    let (journal, recovered) = Journal::open(folder, options, session, |item| recovery.take(item))
        .map_err(|error| GatewayError::Log(error.to_string()))?;
    let unreadable = recovery.unreadable;
    let restored = recovery
        .finish(&recovered, |wanted, visit| journal.read_again(wanted, visit))
        .map_err(|error| {
        GatewayError::Log(format!("{}: cannot read records again: {error}", history.path))
    })?;
    for finding in &recovered.findings {
        tracing::warn!(file = %finding.file, offset = finding.offset, fault = %finding.fault, "event log");
    }
    tracing::info!(
        path = %history.path,
        ended = %recovered.ended,
        records = recovered.records,
        values = recovered.values,
        bytes = recovered.bytes,
        holes = recovered.holes.len(),
        unreadable,
        took = ?started.elapsed(),
        "the event log is read"
    );
    let hub = Arc::new(Hub::with_log(recovered.epoch, mailboxes, restored));
    let stop = Arc::new(AtomicBool::new(false));
    let log = LogThread {
        hub: Arc::clone(&hub),
        journal,
        sync_every,
        metrics: metrics.off_shard(),
        stop: Arc::clone(&stop),
    };
    let thread = thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || log.run())
        .map_err(|error| GatewayError::System("cannot start a thread", error))?;
    Ok((hub, Some(LogEnd { stop, thread })))
}

pub(super) fn history_bounds(history: &History) -> Bounds {
    let topic = Limits {
        events_max: history.events_max,
        bytes_max: history.bytes_max.0,
        age_max: history.age_max.0,
    };
    let overrides = history.overrides.iter().map(|limits| {
        let filter = Filter::parse(&limits.topics).expect("the configuration has been validated");
        let limits = Limits {
            events_max: limits.events_max.unwrap_or(topic.events_max),
            bytes_max: limits.bytes_max.map_or(topic.bytes_max, |bytes| bytes.0),
            age_max: limits.age_max.map_or(topic.age_max, |age| age.0),
        };
        (filter, limits)
    });
    Bounds {
        topic,
        overrides: overrides.collect(),
        bytes_max: history.total_bytes_max.0,
        topics_max: history.topics_max,
        retained_bytes_max: history.retained_bytes_max.0,
    }
}

pub(super) fn key_bounds(publish: &Publish) -> KeyBounds {
    let (window, keys_max) = (publish.idempotency_window.0, publish.idempotency_keys_max);
    KeyBounds { window, keys_max }
}
