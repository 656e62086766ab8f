//! From the mailbox to the streams' logs and rings. Costs what the matching audiences cost, not what
//! their streams do: those come to the log with the sweep.

use std::sync::Arc;

use super::streams::Streams;
use super::subscriber::Sink;
use crate::hub::Event;
use crate::metrics::Dropped;

/// Events taken from the mailbox before the sweep has its turn.
const EVENTS_PER_TURN: usize = 256;

impl Streams {
    /// Takes a turn's worth of events from the mailbox.
    pub(super) fn deliver(&mut self) {
        for _ in 0..EVENTS_PER_TURN {
            let Some(event) = self.mailbox.pop() else { return };
            self.deliver_one(event);
        }
    }

    /// Takes all that is in the mailbox: bounded by the mailbox.
    pub(super) fn deliver_all(&mut self) {
        while let Some(event) = self.mailbox.pop() {
            self.deliver_one(event);
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the event comes from the mailbox to stay")]
    fn deliver_one(&mut self, event: Arc<Event>) {
        self.applied = event.seq;
        let mut matching = std::mem::take(&mut self.matching);
        self.audiences.matching(&event, &mut matching);
        for key in matching.drain(..) {
            let audience = &mut self.audiences[key];
            if audience.has_readers() {
                audience.log.push(Arc::clone(&event), self.bounds);
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
                let dropped = ring.push(Arc::clone(&event));
                self.metrics.events_dropped[Dropped::Slow as usize].add(dropped);
                self.metrics.ring_frames.add(1);
                self.metrics.ring_frames.sub(dropped);
                if let Sink::Body(waker) = &mut subscriber.sink
                    && let Some(waker) = waker.take()
                {
                    waker.wake();
                }
            }
        }
        self.matching = matching;
    }
}
