//! The log, on standard error: its filter, which can be changed while the gateway runs, and the bound on
//! lines of a kind. Control characters in what is logged are escaped, since fields are written with
//! `Debug` or as JSON.
//!
//! A kind is a place in the code. What clients can cause, again and again, is logged at such places; each
//! has so many lines a second, and then one that says how many were left out.

mod journal;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt as writer, reload};

use self::journal::WithPriority;
use crate::config::is_log_filter;
use crate::config::schema::{Log, LogFormat};

/// Time over which lines of a kind are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// What the operator has asked for is told in full: access lines, and what the gateway says of itself.
const TOLD_IN_FULL: [&str; 2] = [crate::access::TARGET, "tidegate::gateway"];

/// Text that is no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFilter;

impl fmt::Display for NoFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected off, error, warn, info, debug or trace, or a filter like \
             \"info,tidegate=debug\""
        )
    }
}

impl std::error::Error for NoFilter {}

/// The running log.
pub struct Logging {
    /// What it is filtered by, as it was said.
    level: Mutex<String>,
    replace: Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
    kinds: &'static Kinds,
}

impl Logging {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// The level is no filter.
    pub fn start(log: &Log) -> Result<Self, NoFilter> {
        let (filter, handle) = reload::Layer::new(filter(&log.level)?);
        // For as long as the process lives, as the log itself.
        let kinds: &'static Kinds = Box::leak(Box::default());
        kinds.lines_max.store(log.lines_per_second_max, Ordering::Relaxed);
        let lines = writer::layer()
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false);
        let lines = match log.format {
            LogFormat::Text if journal::is_told() => {
                lines.without_time().map_event_format(WithPriority).boxed()
            }
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true).with_current_span(false);
                match journal::is_told() {
                    true => lines.map_event_format(WithPriority).boxed(),
                    false => lines.boxed(),
                }
            }
        };
        tracing_subscriber::registry().with(filter).with(Bounded(kinds)).with(lines).init();
        let replace = Box::new(move |filter| handle.reload(filter));
        Ok(Self { level: Mutex::new(log.level.clone()), replace, kinds })
    }

    /// Filters by this from now on.
    ///
    /// # Errors
    /// It is no filter: nothing has changed.
    pub fn set_level(&self, level: &str) -> Result<(), NoFilter> {
        let filter = filter(level)?;
        let mut current = lock(&self.level);
        // It fails only when the log is gone, and with it the process.
        let _ = (self.replace)(filter);
        level.clone_into(&mut current);
        Ok(())
    }

    /// What it is filtered by.
    pub fn level(&self) -> String {
        lock(&self.level).clone()
    }

    /// Lines a second that a kind may have from now on; 0 for as many as come.
    pub fn set_lines_max(&self, lines_max: u32) {
        self.kinds.lines_max.store(lines_max, Ordering::Relaxed);
    }

    /// Says what was left out in the seconds that are over. Called every second.
    pub fn tell_left_out(&self, now: Instant) {
        for (kind, lines) in self.kinds.take_left_out(now) {
            let (file, line) = (kind.file().unwrap_or_default(), kind.line().unwrap_or_default());
            tracing::warn!(
                lines,
                like = format!("{file}:{line}"),
                "lines of the log were left out"
            );
        }
    }
}

fn filter(level: &str) -> Result<EnvFilter, NoFilter> {
    if !is_log_filter(level) {
        return Err(NoFilter);
    }
    // Access lines have a switch of their own.
    EnvFilter::try_new(format!("{level},{}=info", crate::access::TARGET)).map_err(|_| NoFilter)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many lines each kind has had.
#[derive(Default)]
struct Kinds {
    lines_max: AtomicU32,
    /// As many as there are places in the code that log.
    by_place: Mutex<HashMap<Identifier, Kind>>,
}

struct Kind {
    of: &'static Metadata<'static>,
    began: Instant,
    lines: u32,
    left_out: u64,
}

impl Kinds {
    fn admit(&self, of: &'static Metadata<'static>, now: Instant) -> bool {
        let max = self.lines_max.load(Ordering::Relaxed);
        if max == 0 || TOLD_IN_FULL.iter().any(|target| of.target().starts_with(target)) {
            return true;
        }
        let mut kinds = lock(&self.by_place);
        let new = || Kind { of, began: now, lines: 0, left_out: 0 };
        let kind = kinds.entry(of.callsite()).or_insert_with(new);
        if now.saturating_duration_since(kind.began) >= WINDOW {
            (kind.began, kind.lines) = (now, 0);
        }
        kind.lines = kind.lines.saturating_add(1);
        let is_admitted = kind.lines <= max;
        kind.left_out += u64::from(!is_admitted);
        is_admitted
    }

    fn take_left_out(&self, now: Instant) -> Vec<(&'static Metadata<'static>, u64)> {
        let mut kinds = lock(&self.by_place);
        let over = kinds.values_mut().filter(|kind| {
            kind.left_out > 0 && now.saturating_duration_since(kind.began) >= WINDOW
        });
        over.map(|kind| (kind.of, std::mem::take(&mut kind.left_out))).collect()
    }
}

/// Lets so many lines of a kind through.
struct Bounded(&'static Kinds);

impl<S: Subscriber> Layer<S> for Bounded {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admit(event.metadata(), Instant::now())
    }
}
