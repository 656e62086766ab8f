//! What the threads of a run share: the plan, the ledger, the phase, the window and a
//! few counters. Every field says who writes it.

use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use crate::dialect::Dialect;
use crate::ledger::Ledger;
use crate::payload::PayloadFormat;
use crate::plan::Plan;
use crate::session::Setup;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    /// Streams open; events flow. Stuck streams stop reading after their `hello`.
    Live = 0,
    /// Publishing is over: healthy streams catch up.
    Settle = 1,
    /// Stuck streams read again.
    Unstick = 2,
    Stop = 3,
}

/// One reader thread's counters, on a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct ReaderCounters {
    pub(crate) opened: AtomicU32,
    /// Streams that closed or left.
    pub(crate) ended: AtomicU32,
    /// Streams that went away and have not caught up since.
    pub(crate) returning: AtomicU32,
    /// Whether streams are to be away, as the thread saw it when it counted them.
    pub(crate) away_seen: AtomicBool,
    pub(crate) deliveries: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    /// Streams that must still get something, as of the last look; from `Settle` on.
    pub(crate) behind: AtomicU32,
    /// The phase that `behind` was counted in.
    pub(crate) phase_seen: AtomicU8,
}

/// One publisher connection's counters.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct PublisherCounters {
    /// Of the numbers that are its own, all below this are answered.
    pub(crate) answered_below: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) accepted: AtomicU64,
}

/// The closed loop: at most `in_flight` events published and not yet everywhere.
pub(crate) struct Window {
    pub(crate) in_flight: u32,
    completed: AtomicU64,
    /// Threads that must report each topic's events.
    reporters: Vec<u32>,
    publisher: OnceLock<Thread>,
    waiting: AtomicBool,
}

/// The end of publishing, as the settling threads need it.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// All numbers used are below this.
    pub(crate) until: u64,
    /// The last accepted event's seq, for each topic.
    pub(crate) last_seqs: Vec<Option<u64>>,
}

pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) dialect: Dialect,
    pub(crate) format: PayloadFormat,
    pub(crate) ledger: Ledger,
    pub(crate) window: Option<Window>,
    /// Written by the scenario only.
    phase: AtomicU8,
    pub(crate) measuring: AtomicBool,
    /// Which of the run's `periods` it is: each has a latency of its own. Written by the
    /// scenario only.
    pub(crate) period: AtomicU32,
    pub(crate) periods: u32,
    /// All but the live streams are to be without a connection. Written by the scenario only.
    pub(crate) away: AtomicBool,
    /// Streams numbered below this may be opened.
    pub(crate) open_below: AtomicU32,
    /// Streams numbered below this leave as soon as they have what is theirs. Written by
    /// the scenario only.
    pub(crate) leave_below: AtomicU32,
    /// How long a leaving stream may take for that.
    pub(crate) leave_timeout: Duration,
    /// Written by the scenario only: publishers stop before their time is up.
    pub(crate) publishing_over: AtomicBool,
    /// Streams' places in the order of receipt are kept.
    pub(crate) fairness: bool,
    pub(crate) readers: Vec<ReaderCounters>,
    pub(crate) publishers: Vec<PublisherCounters>,
    /// Set once by the scenario before `Settle`.
    pub(crate) published: OnceLock<Published>,
    /// The first reason why a stream could not be opened.
    open_error: Mutex<Option<String>>,
}

impl Run {
    pub(crate) fn new(plan: Plan, dialect: Dialect, format: PayloadFormat, setup: &Setup) -> Self {
        let window = setup.in_flight.map(|in_flight| {
            let mut reporters = vec![0; plan.topics as usize];
            for thread in 0..plan.threads {
                for (topic, streams) in plan.receivers(thread).into_iter().enumerate() {
                    reporters[topic] += u32::from(streams > 0);
                }
            }
            Window {
                in_flight,
                completed: AtomicU64::new(0),
                reporters,
                publisher: OnceLock::new(),
                waiting: AtomicBool::new(false),
            }
        });
        let readers = (0..plan.threads).map(|_| ReaderCounters::default()).collect();
        Self {
            plan,
            dialect,
            format,
            ledger: Ledger::new(),
            window,
            phase: AtomicU8::new(0),
            measuring: AtomicBool::new(false),
            period: AtomicU32::new(0),
            periods: setup.periods,
            away: AtomicBool::new(false),
            open_below: AtomicU32::new(0),
            leave_below: AtomicU32::new(0),
            leave_timeout: setup.leave_timeout,
            publishing_over: AtomicBool::new(false),
            fairness: setup.fairness,
            readers,
            publishers: (0..setup.publishers).map(|_| PublisherCounters::default()).collect(),
            published: OnceLock::new(),
            open_error: Mutex::new(None),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Live,
            1 => Phase::Settle,
            2 => Phase::Unstick,
            _ => Phase::Stop,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Release);
    }

    /// All streams of one more thread have event `number`.
    pub(crate) fn thread_has(&self, number: u64) {
        let Some(window) = &self.window else { return };
        let reporters = window.reporters[self.plan.topic_of(number) as usize];
        if self.ledger.thread_done(number) == reporters {
            window.complete();
        }
    }

    /// Every event with a number below this is answered; 0 before anyone publishes.
    pub(crate) fn answered_below(&self) -> u64 {
        let each = self.publishers.iter().map(|of| of.answered_below.load(Acquire));
        each.min().unwrap_or_default()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.publishers.iter().map(|of| of.requests.load(Relaxed)).sum()
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.publishers.iter().map(|of| of.accepted.load(Relaxed)).sum()
    }

    pub(crate) fn fail_open(&self, what: String) {
        let mut error = self.open_error.lock().unwrap_or_else(PoisonError::into_inner);
        error.get_or_insert(what);
    }

    pub(crate) fn open_error(&self) -> Option<String> {
        self.open_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn opened(&self) -> u32 {
        self.readers.iter().map(|reader| reader.opened.load(Relaxed)).sum()
    }

    pub(crate) fn ended(&self) -> u32 {
        self.readers.iter().map(|reader| reader.ended.load(Relaxed)).sum()
    }

    /// Streams that went away and have not caught up since; `None` until every reader has seen
    /// whether they are to be away.
    pub(crate) fn returning(&self) -> Option<u32> {
        let away = self.away.load(Relaxed);
        if self.readers.iter().any(|reader| reader.away_seen.load(Acquire) != away) {
            return None;
        }
        Some(self.readers.iter().map(|reader| reader.returning.load(Relaxed)).sum())
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.readers.iter().map(|reader| reader.deliveries.load(Relaxed)).sum()
    }

    pub(crate) fn heartbeats(&self) -> u64 {
        self.readers.iter().map(|reader| reader.heartbeats.load(Relaxed)).sum()
    }

    /// Streams behind in `phase`; `None` until every reader has counted in it.
    pub(crate) fn behind(&self, phase: Phase) -> Option<u32> {
        let counted = |r: &&ReaderCounters| r.phase_seen.load(Acquire) == phase as u8;
        if self.readers.iter().filter(counted).count() < self.readers.len() {
            return None;
        }
        Some(self.readers.iter().map(|reader| reader.behind.load(Relaxed)).sum())
    }
}

impl Window {
    pub(crate) fn complete(&self) {
        // Sequentially consistent, as in `announce_wait`: either this thread sees the
        // publisher waiting or the publisher sees this event complete.
        self.completed.fetch_add(1, SeqCst);
        if self.waiting.swap(false, SeqCst)
            && let Some(publisher) = self.publisher.get()
        {
            publisher.unpark();
        }
    }

    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(SeqCst)
    }

    /// Nobody reads this topic: its events are complete once they are sent.
    pub(crate) fn is_unread(&self, topic: u32) -> bool {
        self.reporters[topic as usize] == 0
    }

    /// The publisher is about to wait; it must look at `completed` once more before.
    pub(crate) fn announce_wait(&self) {
        self.publisher.get_or_init(std::thread::current);
        self.waiting.store(true, SeqCst);
    }
}
