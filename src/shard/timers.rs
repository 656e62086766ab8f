//! What time does to streams: heartbeats, ends, deadlines. Each stream has one entry in the shard's
//! wheel, at whichever comes first.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::audience::StreamKey;
use super::poll_set::Readiness;
use super::streams::Streams;
use super::subscriber::{Phase, Sink, Subscriber};
use super::sweep::{Written, write};
use super::wheel::Tick;
use crate::metrics::Closed;
use crate::sse::EndReason;

/// Timers handled before the sweep has its turn.
const TIMERS_PER_TURN: usize = 128;

/// Bytes a client may send after its request before that is taken for misuse.
pub(super) const UNSOLICITED_BYTES_MAX: u32 = 64 * 1024;

impl Streams {
    /// When the next timer is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next().map(|tick| self.instant_of(tick))
    }

    /// Schedules a live stream for whatever is due on it first.
    pub(super) fn reschedule(&mut self, key: StreamKey) {
        let subscriber = &self.subscribers[key];
        let beats = self.beats_at(subscriber).unwrap_or(subscriber.ends);
        self.wheel.schedule(key, subscriber.ends.min(beats));
    }

    /// When a stream that nothing is sent to has its next heartbeat, if it has any.
    fn beats_at(&self, subscriber: &Subscriber) -> Option<Tick> {
        if subscriber.is_poll() {
            return None;
        }
        let interval = self.routes[subscriber.route].heartbeat_ms?;
        Some(subscriber.heard.plus_ms(interval))
    }

    /// Handles a turn's worth of timers.
    pub(super) fn run_timers(&mut self) {
        if self.due.is_empty() {
            self.wheel.advance(self.tick, &mut self.due);
        }
        for _ in 0..TIMERS_PER_TURN {
            let Some(key) = self.due.pop() else { return };
            self.run_timer(key);
        }
    }

    fn run_timer(&mut self, key: StreamKey) {
        let now = self.tick;
        let Some(subscriber) = self.subscribers.get(key) else { return };
        match subscriber.phase {
            Phase::Lingering(reason) if subscriber.ends <= now => {
                self.close(key, Closed::Ended(reason));
            }
            Phase::Ending(_) if subscriber.ends <= now => self.close(key, Closed::Stuck),
            // The key's former stream was due, not this one.
            Phase::Lingering(_) | Phase::Ending(_) => self.wheel.schedule(key, subscriber.ends),
            Phase::Live if subscriber.ends <= now => {
                let reason = subscriber.end_reason;
                self.finish(key, reason);
            }
            Phase::Live => {
                if self.beats_at(subscriber).is_some_and(|beats| beats <= now) {
                    self.subscribers[key].heard = now;
                    self.beat(key);
                }
                if self.subscribers.contains(key) {
                    self.reschedule(key);
                }
            }
        }
    }

    /// Sends a heartbeat to a stream that has nothing pending. Where something is, that is the sign
    /// of life, and the cursor of a heartbeat would overtake it.
    fn beat(&mut self, key: StreamKey) {
        let head = self.applied;
        let subscriber = &mut self.subscribers[key];
        let frame = self.routes[subscriber.route].heartbeat_at(head);
        let pending = self.audiences[subscriber.audience].log.end() > subscriber.cursor;
        match (&mut subscriber.sink, &mut subscriber.backlog) {
            (Sink::Socket { socket, .. }, None) if !pending => {
                let bytes = subscriber.framing.control(&frame);
                match write(socket, &[IoSlice::new(&bytes)]) {
                    Written::All => {
                        subscriber.sent = head;
                        self.metrics.sent_bytes.add(bytes.len() as u64);
                    }
                    // A full socket needs no heartbeat.
                    Written::Some(0) => {}
                    Written::Some(count) => {
                        self.metrics.sent_bytes.add(count as u64);
                        self.fall_behind(key);
                        self.backlog(key).unfinished = bytes.slice(count..);
                    }
                    Written::Failed => self.close(key, Closed::Client),
                }
            }
            (Sink::Body(_, waker), Some(backlog)) => {
                let idle = backlog.unfinished.is_empty()
                    && backlog.replay.is_none()
                    && backlog.ring.as_ref().is_none_or(|ring| ring.is_empty() && !ring.owes());
                if idle {
                    backlog.unfinished = subscriber.framing.control(&frame);
                    if let Some(waker) = waker.take() {
                        waker.wake();
                    }
                }
            }
            _ => {}
        }
    }

    /// Has every stream end within `window`, spread evenly, so that the clients do not come back
    /// together.
    pub(super) fn drain(&mut self, window: Duration) {
        self.look_at_clock();
        let now = self.tick;
        let window_ms = window.as_millis() as u64;
        self.drain_by = Some(now.plus_ms(window_ms));
        let live = self.subscribers.iter().filter(|(_, stream)| stream.phase == Phase::Live);
        let keys: Vec<_> = live.map(|(key, _)| key).collect();
        for key in keys {
            if self.subscribers[key].is_poll() {
                self.end_wait(key);
                continue;
            }
            let ends = now.plus_ms(fastrand::u64(0..=window_ms));
            self.end_by(key, ends, EndReason::Drain);
        }
    }

    /// Has every stream end now.
    pub(super) fn shut_down(&mut self) {
        self.look_at_clock();
        let live = self.subscribers.iter().filter(|(_, stream)| stream.phase == Phase::Live);
        let keys: Vec<_> = live.map(|(key, _)| key).collect();
        for key in keys {
            self.finish(key, EndReason::Shutdown);
        }
    }

    /// Ends the streams of a session, and any that opens later by an older decision. Returns how many
    /// end now. Looks at every stream that has a session.
    pub(super) fn revoke(&mut self, number: u64, session: Arc<str>) -> usize {
        self.look_at_clock();
        let of_session = self.sessions.iter().filter(|(_, name)| **name == session);
        let keys: Vec<_> = of_session.map(|(&key, _)| key).collect();
        for &key in &keys {
            self.finish(key, EndReason::Revoked);
        }
        self.revoked.add(number, session);
        keys.len()
    }

    fn end_by(&mut self, key: StreamKey, ends: Tick, reason: EndReason) {
        let subscriber = &mut self.subscribers[key];
        if ends < subscriber.ends {
            subscriber.ends = ends;
            subscriber.end_reason = reason;
            self.reschedule(key);
        }
    }

    /// What the poll set has seen on a stream's socket.
    pub(super) fn on_ready(&mut self, ready: Readiness) {
        if !self.is(ready.key, ready.generation) {
            return;
        }
        let gone = match self.subscribers[ready.key].phase {
            Phase::Lingering(reason) => Closed::Ended(reason),
            Phase::Live | Phase::Ending(_) => Closed::Client,
        };
        if ready.closed {
            return self.close(ready.key, gone);
        }
        if ready.readable
            && let Err(why) = self.discard_input(ready.key, gone)
        {
            return self.close(ready.key, why);
        }
        if ready.writable {
            self.queue_write(ready.key);
        }
    }

    /// Reads and throws away what a client sends after its request: it is not owed an answer, and
    /// unread it would hide the client's leaving.
    fn discard_input(&mut self, key: StreamKey, gone: Closed) -> Result<(), Closed> {
        use std::io::{ErrorKind, Read};
        let subscriber = &mut self.subscribers[key];
        let Sink::Socket { socket, .. } = &mut subscriber.sink else { return Ok(()) };
        let mut discarded = [0; 4096];
        loop {
            match socket.read(&mut discarded) {
                Ok(0) => return Err(gone),
                Ok(count) => {
                    subscriber.unsolicited += count as u32;
                    if subscriber.unsolicited > UNSOLICITED_BYTES_MAX {
                        return Err(Closed::Misuse);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(gone),
            }
        }
    }
}
