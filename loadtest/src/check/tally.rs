//! What one reader thread adds up over all its streams, and its share of the closed
//! loop's window.

use std::sync::Arc;

use hdrhistogram::Histogram;

use crate::payload::Payload;
use crate::run::Run;
use crate::violations::Violations;

/// Latencies are kept in nanoseconds to three digits, up to a minute.
pub(crate) fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are in order")
}

/// Counts, for recent events, how many streams of this thread have each.
struct WindowShare {
    /// `(event, streams that have it)`; an older event gives way to a newer one.
    recent: Box<[(u64, u32)]>,
    /// Streams of this thread that should get each topic.
    receivers: Vec<u32>,
}

pub(crate) struct Tally {
    pub(crate) run: Arc<Run>,
    /// When the bytes at hand were read: one clock reading per read, not per event.
    pub(crate) arrived_ns: u64,
    /// Latency is recorded only between the warm-up and the end of publishing.
    pub(crate) measuring: bool,
    pub(crate) latency: Histogram<u64>,
    pub(crate) deliveries: u64,
    pub(crate) heartbeats: u64,
    pub(crate) gaps: u64,
    pub(crate) violations: Violations,
    window: Option<WindowShare>,
}

impl Tally {
    pub(crate) fn new(run: Arc<Run>, thread: u32) -> Self {
        // Twice the window: events given up after a stall may still trickle in.
        let window = run.window.as_ref().map(|window| WindowShare {
            recent: vec![(0, 0); (2 * window.in_flight as usize).next_power_of_two()].into(),
            receivers: run.plan.receivers(thread),
        });
        Self {
            run,
            arrived_ns: 0,
            measuring: false,
            latency: latency_histogram(),
            deliveries: 0,
            heartbeats: 0,
            gaps: 0,
            violations: Violations::default(),
            window,
        }
    }

    pub(crate) fn delivered(&mut self, stream: u32, payload: Payload) {
        self.deliveries += 1;
        // Stuck streams read late by design; their latency says nothing.
        if self.measuring && !self.run.plan.is_stuck(stream) {
            self.latency.saturating_record(self.arrived_ns.saturating_sub(payload.stamp_ns));
        }
        self.settle(stream, payload.number);
    }

    /// `stream` got event `number` or is past it.
    pub(crate) fn settle(&mut self, stream: u32, number: u64) {
        let Some(share) = &mut self.window else {
            return;
        };
        if self.run.plan.is_stuck(stream) {
            return;
        }
        let at = number as usize & (share.recent.len() - 1);
        let (event, streams) = &mut share.recent[at];
        if *event < number {
            (*event, *streams) = (number, 0);
        } else if *event > number {
            return;
        }
        *streams += 1;
        if *streams == share.receivers[self.run.plan.topic_of(number) as usize] {
            self.run.thread_has(number);
        }
    }
}
