//! The sweep: writes everything that is pending on each stream, in slices of about a millisecond.
//!
//! A stream that keeps up is written straight from its audience's log, with a buffer that it shares
//! with every stream that is behind by the same range. A stream whose socket did not take all of it
//! falls behind: it gets a ring, and is written again when its socket is writable. It holds no one
//! up. Events that come during a sweep go out with the streams not yet visited, and in the next
//! round: that makes batching self-clocking.

use std::io::{self, IoSlice, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use mio::net::TcpStream;

use super::audience::StreamKey;
use super::batch::Wanted;
use super::framing::Writer;
use super::streams::Streams;
use super::subscriber::{Phase, Sink};
use crate::config::schema::Slow;
use crate::event::Event;
use crate::metrics::Closed;
use crate::sse::{EndReason, GapReason};
use crate::subscribe::control::Gap;

/// Visits in one slice, and its length: after it the runtime accepts, publishes and polls.
const SLICE_VISITS: usize = 128;
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// While others wait, one visit in so many goes to a stream that is behind.
const BEHIND_EVERY: usize = 4;

/// Events written from a ring with one system call.
const RING_WRITE_EVENTS: usize = 64;

/// How a write ended.
pub(super) enum Written {
    /// The socket took everything.
    All,
    /// It took this many bytes.
    Some(usize),
    /// The connection is gone.
    Failed,
}

/// Writes once. Whatever is not taken has to wait until the socket is writable.
///
/// One slice goes out by `send`, which saves the kernel the walk over a vector: a tenth of a small write.
pub(super) fn write(socket: &mut TcpStream, slices: &[IoSlice<'_>]) -> Written {
    let length = slices.iter().map(|slice| slice.len()).sum::<usize>();
    loop {
        let result = match slices {
            [only] => socket.write(only),
            several => socket.write_vectored(several),
        };
        return match result {
            Ok(count) if count == length => Written::All,
            Ok(count) => Written::Some(count),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock => Written::Some(0),
                _ => Written::Failed,
            },
        };
    }
}

impl Streams {
    /// What writes a stream's events.
    pub(super) fn writer(&self, key: StreamKey) -> Writer {
        let subscriber = &self.subscribers[key];
        let told = match (subscriber.phase, &subscriber.backlog) {
            (Phase::Live, _) => self.audiences[subscriber.audience].told(),
            (_, backlog) => backlog.as_ref().and_then(|backlog| backlog.told.clone()),
        };
        Writer { framing: subscriber.framing, told }
    }

    /// Whether there is anything to sweep.
    pub(super) fn has_work(&self) -> bool {
        !self.sweepable.is_empty() || !self.writable.is_empty() || !self.due.is_empty()
    }

    /// One slice of the sweep.
    pub(super) fn sweep(&mut self) {
        self.look_at_clock();
        let deadline = self.now + SLICE;
        let mut visits = 0;
        while visits < SLICE_VISITS && self.now < deadline {
            let behinds_turn = visits % BEHIND_EVERY == 0 || self.sweepable.is_empty();
            if behinds_turn && let Some(key) = self.writable.pop_front() {
                self.flush_queued(key);
            } else if !self.visit_next() {
                break;
            }
            visits += 1;
        }
        // Audiences take turns.
        if let Some(audience) = self.sweepable.pop_front() {
            self.sweepable.push_back(audience);
        }
    }

    /// Visits the next stream that is owed it. False when there is none.
    fn visit_next(&mut self) -> bool {
        while let Some(&key) = self.sweepable.front() {
            // An audience that is gone may still be in the queue.
            if let Some(audience) = self.audiences.get_mut(key) {
                if let Some(stream) = audience.next_visit() {
                    self.visits_before_mail = self.visits_before_mail.saturating_sub(1);
                    self.visit(stream);
                    return true;
                }
                audience.queued = false;
                audience.log.clear();
            }
            self.sweepable.pop_front();
        }
        false
    }

    /// Writes what is pending on a stream that reads from the log.
    fn visit(&mut self, key: StreamKey) {
        loop {
            let subscriber = &mut self.subscribers[key];
            if subscriber.backlog.is_some() {
                return;
            }
            let audience = &self.audiences[subscriber.audience];
            let log = &audience.log;
            let Sink::Socket { socket, .. } = &mut subscriber.sink else { return self.rouse(key) };
            if log.lost_to(subscriber.cursor).is_some() {
                if self.routes[subscriber.route].slow == Slow::Disconnect {
                    return self.close(key, Closed::Slow);
                }
                self.fall_behind(key);
                return self.flush(key);
            }
            let from = subscriber.cursor;
            let upto = log.end().min(from.saturating_add(u64::from(subscriber.remaining)));
            if from == upto {
                return;
            }
            let wanted =
                Wanted { audience: subscriber.audience, from, upto, framing: subscriber.framing };
            let batch = self.batches.get(wanted, log, || audience.told());
            let result = write(socket, &[IoSlice::new(&batch.bytes)]);
            self.now = Instant::now();
            match result {
                Written::All => {
                    batch.observe(&self.metrics, self.now);
                    self.metrics.sent_bytes.add(batch.bytes.len() as u64);
                    let to = batch.to;
                    self.advance(key, to);
                }
                Written::Some(count) => {
                    let (frames, into_frame) = batch.cut(count);
                    self.metrics.sent_bytes.add(count as u64);
                    return self.cut_off(key, from + frames, into_frame);
                }
                Written::Failed => return self.close(key, Closed::Client),
            }
            let subscriber = &self.subscribers[key];
            if subscriber.remaining == 0 {
                return self.finish(key, EndReason::Limit);
            }
        }
    }

    /// A stream has been sent the log up to `to`.
    fn advance(&mut self, key: StreamKey, to: u64) {
        let heard = self.tick;
        let subscriber = &mut self.subscribers[key];
        let Some(last) = to.checked_sub(1).filter(|_| to > subscriber.cursor) else { return };
        if subscriber.remaining < u32::MAX {
            subscriber.remaining -= (to - subscriber.cursor) as u32;
        }
        subscriber.sent = self.audiences[subscriber.audience].log.at(last).seq;
        subscriber.cursor = to;
        subscriber.heard = heard;
    }

    /// A stream's socket took the log up to `position` and then `into_frame` bytes: the rest of that
    /// frame has to be finished, and what comes after it waits in a ring.
    fn cut_off(&mut self, key: StreamKey, position: u64, into_frame: usize) {
        let subscriber = &self.subscribers[key];
        let log = &self.audiences[subscriber.audience].log;
        for event in log.from(subscriber.cursor).take((position - subscriber.cursor) as usize) {
            self.metrics.fanout.observe(self.now.saturating_duration_since(event.accepted));
            self.metrics.events_delivered.add(1);
        }
        if into_frame == 0 {
            self.advance(key, position);
            return self.fall_behind(key);
        }
        let event = Arc::clone(log.at(position));
        self.advance(key, position + 1);
        self.fall_behind(key);
        let rest = self.writer(key).rest(&event, into_frame);
        let backlog = self.backlog(key);
        backlog.unfinished = rest;
        backlog.unfinished_event = Some(event.accepted);
    }

    fn flush_queued(&mut self, key: StreamKey) {
        // The stream may be gone, or its key another's.
        if let Some(subscriber) = self.subscribers.get_mut(key)
            && let Some(backlog) = &mut subscriber.backlog
            && backlog.queued
        {
            backlog.queued = false;
            self.flush(key);
        }
    }

    /// Writes what a stream that is behind has waiting, as far as its socket takes it.
    fn flush(&mut self, key: StreamKey) {
        loop {
            self.owe_gap_if_lost(key);
            self.take_from_ring(key, RING_WRITE_EVENTS);
            let writer = self.writer(key);
            let subscriber = &mut self.subscribers[key];
            let phase = subscriber.phase;
            let Sink::Socket { socket, .. } = &mut subscriber.sink else { return };
            let Some(backlog) = &mut subscriber.backlog else { return };
            if backlog.unfinished.is_empty() && backlog.replay.is_some() {
                match self.replay(key) {
                    true => continue,
                    false => return,
                }
            }
            if backlog.unfinished.is_empty() && self.taken.is_empty() {
                match (backlog.closing.take(), phase) {
                    (Some(closing), _) if !closing.is_empty() => backlog.unfinished = closing,
                    (_, Phase::Ending(reason)) => return self.linger(key, reason),
                    _ if subscriber.remaining == 0 => {
                        return self.finish(key, EndReason::Limit);
                    }
                    _ => return self.catch_up(key),
                }
                continue;
            }
            let written: Vec<_> = self.taken.iter().map(|event| writer.bytes(event)).collect();
            let mut slices = Vec::with_capacity(1 + written.len());
            slices.push(IoSlice::new(&backlog.unfinished));
            slices.extend(written.iter().map(|bytes| IoSlice::new(bytes)));
            let length = slices.iter().map(|slice| slice.len()).sum();
            let result = write(socket, &slices);
            self.now = Instant::now();
            match result {
                Written::All => self.account(key, length),
                Written::Some(count) => return self.account(key, count),
                Written::Failed => {
                    self.put_back(key);
                    return self.close(key, Closed::Client);
                }
            }
        }
    }

    /// A loss becomes a gap event, which goes before the next event and is never dropped. While a
    /// frame is half written the gap waits, and goes on growing.
    pub(super) fn owe_gap_if_lost(&mut self, key: StreamKey) {
        let subscriber = &mut self.subscribers[key];
        let Some(backlog) = &mut subscriber.backlog else { return };
        // What lies beyond a stream's own limit is not lost to it.
        if !backlog.unfinished.is_empty() || subscriber.remaining == 0 {
            return;
        }
        let Some(gap) = self.take_gap(key) else { return };
        let subscriber = &mut self.subscribers[key];
        let frame = self.routes[subscriber.route].control.gap(&gap, true);
        self.backlog(key).unfinished = self.subscribers[key].framing.control(&frame);
    }

    /// What a ring has lost since it was last asked.
    pub(super) fn take_gap(&mut self, key: StreamKey) -> Option<Gap> {
        let subscriber = &mut self.subscribers[key];
        let ring = subscriber.backlog.as_mut()?.ring.as_mut()?;
        let lost = ring.take_lost()?;
        let gap = Gap {
            after: Some(subscriber.sent),
            to: lost.to,
            cursor: lost.to,
            count: Some(lost.count),
            reason: GapReason::Slow,
        };
        subscriber.sent = lost.to;
        let generation = subscriber.generation;
        self.note_gap(key, generation, gap, true);
        Some(gap)
    }

    /// Takes up to `most` events that may be written now into `taken`: none while a gap is owed
    /// first, and no more than the stream's own limit.
    pub(super) fn take_from_ring(&mut self, key: StreamKey, most: usize) {
        let subscriber = &mut self.subscribers[key];
        let backlog = subscriber.backlog.as_mut();
        let Some(ring) = backlog.and_then(|backlog| backlog.ring.as_mut()) else { return };
        let most = most.min(subscriber.remaining as usize);
        while self.taken.len() < most && !ring.owes() {
            let Some(event) = ring.pop() else { return };
            self.taken.push(event);
        }
    }

    /// Counts what a write of `unfinished` and `taken` has sent, and keeps the rest.
    fn account(&mut self, key: StreamKey, mut count: usize) {
        self.metrics.sent_bytes.add(count as u64);
        let heard = self.tick;
        if count > 0 {
            self.subscribers[key].heard = heard;
        }
        let backlog = self.backlog(key);
        let first = count.min(backlog.unfinished.len());
        backlog.unfinished.advance(first);
        count -= first;
        if !backlog.unfinished.is_empty() {
            return self.put_back(key);
        }
        backlog.unfinished = Bytes::new();
        if let Some(accepted) = backlog.unfinished_event.take() {
            self.delivered(accepted);
        }
        let mut taken = std::mem::take(&mut self.taken);
        let mut sent = 0;
        for event in &taken {
            if count == 0 {
                break;
            }
            sent += 1;
            let length = self.writer(key).bytes(event).len();
            if count < length {
                let rest = self.writer(key).rest(event, count);
                let backlog = self.backlog(key);
                backlog.unfinished = rest;
                backlog.unfinished_event = Some(event.accepted);
                break;
            }
            count -= length;
            self.delivered(event.accepted);
        }
        self.sent_from_ring(key, &taken[..sent]);
        taken.drain(..sent);
        self.taken = taken;
        self.put_back(key);
    }

    pub(super) fn delivered(&self, accepted: Instant) {
        self.metrics.events_delivered.add(1);
        self.metrics.fanout.observe(self.now.saturating_duration_since(accepted));
    }

    /// Moves the stream past events that have left its ring for the wire.
    pub(super) fn sent_from_ring(&mut self, key: StreamKey, events: &[Arc<Event>]) {
        let Some(last) = events.last() else { return };
        self.metrics.ring_frames.sub(events.len() as u64);
        let subscriber = &mut self.subscribers[key];
        subscriber.sent = last.seq;
        if subscriber.remaining < u32::MAX {
            subscriber.remaining -= events.len() as u32;
        }
        // By its own limit the stream has no claim to the rest.
        if subscriber.remaining == 0
            && matches!(subscriber.phase, Phase::Ending(_))
            && let Some(ring) = subscriber.backlog.as_mut().and_then(|behind| behind.ring.take())
        {
            self.recycle(ring);
        }
    }

    /// Returns what was taken and not sent to the ring, where it may be dropped again.
    fn put_back(&mut self, key: StreamKey) {
        let backlog = self.subscribers[key].backlog.as_mut();
        if let Some(ring) = backlog.and_then(|backlog| backlog.ring.as_mut()) {
            for event in self.taken.drain(..).rev() {
                ring.unpop(event);
            }
        }
        self.taken.clear();
    }
}
