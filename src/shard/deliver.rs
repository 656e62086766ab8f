//! From the mailbox to the streams' logs and rings. Costs what the matching audiences cost, and
//! one push for each stream that is behind; the others come to the log with the sweep.

use std::sync::Arc;
use std::time::Instant;

use super::ring::Displaced;
use super::streams::Streams;
use super::subscriber::Sink;
use super::sweep::SLICE;
use crate::config::schema::Slow;
use crate::event::Event;
use crate::metrics::{Closed, Dropped};
use crate::sse::EndReason;

/// Events taken from the mailbox between two looks at the time. Each may match every audience.
const EVENTS_PER_LOOK: usize = 16;

impl Streams {
    /// Takes events from the mailbox, for a slice's time at most.
    ///
    /// The mailbox waits for the sweep: once some log is half full, nothing more is taken until
    /// every stream that is owed a visit has had it. A log that overflows would cost streams that
    /// have only not been visited yet, and it is the mailbox that is there to hold what comes too
    /// fast, and publishers that are told so when it is full. Clients that do not read cannot hold
    /// this up: a visit leaves them behind.
    pub(super) fn deliver(&mut self) {
        if self.visits_before_mail > 0 && !self.sweepable.is_empty() {
            return;
        }
        let deadline = self.now + SLICE;
        for taken in 1.. {
            let Some(event) = self.mailbox.pop() else { return };
            if self.deliver_one(event) {
                self.visits_before_mail = self.visits_owed();
                return;
            }
            if taken % EVENTS_PER_LOOK == 0 && Instant::now() >= deadline {
                return;
            }
        }
    }

    /// Takes everything up to `seq`, which must be in the mailbox.
    pub(super) fn deliver_until(&mut self, seq: u64) {
        while self.applied < seq
            && let Some(event) = self.mailbox.pop()
        {
            self.deliver_one(event);
        }
    }

    fn visits_owed(&self) -> usize {
        let audiences = self.sweepable.iter().filter_map(|&key| self.audiences.get(key));
        audiences.map(|audience| audience.owed).sum()
    }

    /// Whether a log that it went to is half full.
    #[expect(clippy::needless_pass_by_value, reason = "the event comes from the mailbox to stay")]
    fn deliver_one(&mut self, event: Arc<Event>) -> bool {
        self.applied = event.seq;
        let mut crowded = false;
        let mut matching = std::mem::take(&mut self.matching);
        self.audiences.matching(&event, &mut matching);
        if event.is_last {
            let members = matching.iter().flat_map(|&key| &self.audiences[key].members);
            self.over.extend(members);
        }
        for key in matching.drain(..) {
            let audience = &mut self.audiences[key];
            let bounds = audience.kind.bounds;
            if audience.has_readers() {
                audience.log.push(Arc::clone(&event), bounds);
                crowded |= audience.log.is_half_full(bounds);
                audience.owe_visits();
                if !audience.queued {
                    audience.queued = true;
                    self.sweepable.push_back(key);
                }
            }
            for &stream in &audience.behind {
                let subscriber = &mut self.subscribers[stream];
                let backlog = subscriber.backlog.as_mut();
                let ring = backlog.and_then(|backlog| backlog.ring.as_mut());
                let ring = ring.expect("a stream that is behind has a ring");
                let Displaced { dropped, conflated } = ring.push(Arc::clone(&event));
                self.metrics.ring_frames.add(1);
                if conflated > 0 {
                    self.metrics.events_conflated.add(conflated);
                }
                self.metrics.ring_frames.sub(dropped + conflated);
                if dropped > 0 {
                    match self.routes[audience.kind.route].slow {
                        Slow::DropOldest => {
                            self.metrics.events_dropped[Dropped::Slow as usize].add(dropped);
                        }
                        Slow::CatchUp | Slow::Disconnect => self.overrun.push(stream),
                    }
                }
                if let Sink::Body(_, waker) = &mut subscriber.sink
                    && let Some(waker) = waker.take()
                {
                    waker.wake();
                }
            }
        }
        self.matching = matching;
        while let Some(stream) = self.over.pop() {
            self.finish(stream, EndReason::Upstream);
        }
        while let Some(stream) = self.overrun.pop() {
            match self.routes[self.subscribers[stream].route].slow {
                Slow::Disconnect => self.close(stream, Closed::Slow),
                Slow::CatchUp | Slow::DropOldest => self.refill_from_history(stream),
            }
        }
        crowded
    }
}
