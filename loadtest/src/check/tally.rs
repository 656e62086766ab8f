//! What one reader thread adds up over all its streams, and its share of the closed
//! loop's window.

use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::check::fairness::Fairness;
use crate::latency::latency_histogram;
use crate::payload::Payload;
use crate::run::Run;
use crate::violations::Violations;

/// Counts, for recent events, how many of this thread's streams have each. Stuck streams
/// are not counted: the caller leaves them out.
pub(crate) struct Receipts {
    /// `(event, streams that have it)`; an older event gives way to a newer one.
    recent: Box<[(u64, u32)]>,
    /// Streams of this thread that should get each topic.
    receivers: Vec<u32>,
}

impl Receipts {
    pub(crate) fn new(run: &Run, thread: u32, events: usize) -> Self {
        let recent = vec![(0, 0); events.next_power_of_two()].into();
        Self { recent, receivers: run.plan.receivers(thread) }
    }

    /// One more stream has event `number` of `topic`: how many had it before, and how
    /// many should. `None` when the event is no longer kept.
    pub(crate) fn count(&mut self, number: u64, topic: u32) -> Option<(u32, u32)> {
        let at = number as usize & (self.recent.len() - 1);
        let (event, streams) = &mut self.recent[at];
        if *event < number {
            (*event, *streams) = (number, 0);
        } else if *event > number {
            return None;
        }
        *streams += 1;
        Some((*streams - 1, self.receivers[topic as usize]))
    }
}

/// What streams that came back with a cursor add up to.
pub(crate) struct Returns {
    /// From the connect to the `hello`, of each connection.
    pub(crate) hello_ns: Histogram<u64>,
    /// From when all were let back until a stream had everything answered before its `hello`.
    pub(crate) caught_up_ns: Histogram<u64>,
    /// Events received until then.
    pub(crate) replayed: u64,
    /// Times that a stream was told to come back later.
    pub(crate) shed: u64,
}

impl Default for Returns {
    fn default() -> Self {
        let (hello_ns, caught_up_ns) = (latency_histogram(), latency_histogram());
        Self { hello_ns, caught_up_ns, replayed: 0, shed: 0 }
    }
}

pub(crate) struct Tally {
    pub(crate) run: Arc<Run>,
    /// When the bytes at hand were read: one clock reading per read, not per event.
    pub(crate) arrived_ns: u64,
    /// Latency is recorded only between the warm-up and the end of publishing.
    pub(crate) measuring: bool,
    /// Which of the run's periods it is.
    pub(crate) period: usize,
    /// For each period.
    pub(crate) latency: Vec<Histogram<u64>>,
    /// From the connect to the `hello`.
    pub(crate) hello_ns: Histogram<u64>,
    pub(crate) returns: Returns,
    pub(crate) deliveries: u64,
    pub(crate) heartbeats: u64,
    pub(crate) gaps: u64,
    pub(crate) violations: Violations,
    pub(crate) fairness: Option<Fairness>,
    window: Option<Receipts>,
}

impl Tally {
    pub(crate) fn new(run: Arc<Run>, thread: u32) -> Self {
        // Twice the window: events given up after a stall may still trickle in.
        let window = run.window.as_ref();
        let window = window.map(|w| Receipts::new(&run, thread, 2 * w.in_flight as usize));
        let fairness = run.fairness.then(|| Fairness::new(&run, thread));
        let latency = vec![latency_histogram(); run.periods as usize];
        Self {
            run,
            arrived_ns: 0,
            measuring: false,
            period: 0,
            latency,
            hello_ns: latency_histogram(),
            returns: Returns::default(),
            deliveries: 0,
            heartbeats: 0,
            gaps: 0,
            violations: Violations::default(),
            fairness,
            window,
        }
    }

    pub(crate) fn delivered(&mut self, stream: u32, payload: Payload) {
        self.deliveries += 1;
        // Stuck streams read late by design; their latency and their place say nothing.
        if self.measuring && !self.run.plan.is_stuck(stream) {
            let latency = self.arrived_ns.saturating_sub(payload.stamp_ns);
            self.latency[self.period].saturating_record(latency);
            if let Some(fairness) = &mut self.fairness {
                let topic = self.run.plan.topic_of(payload.number);
                fairness.on_delivery(stream, payload.number, topic);
            }
        }
        self.settle(stream, payload.number);
    }

    /// `stream` got event `number` or is past it.
    pub(crate) fn settle(&mut self, stream: u32, number: u64) {
        let Some(window) = &mut self.window else {
            return;
        };
        if self.run.plan.is_stuck(stream) {
            return;
        }
        let count = window.count(number, self.run.plan.topic_of(number));
        if count.is_some_and(|(before, receivers)| before + 1 == receivers) {
            self.run.thread_has(number);
        }
    }
}
