//! Long polls: a stream whose events are collected and answered once, as JSON, in place of being
//! written. To the shard it is a stream in everything else, with the same audience, past and bounds, so
//! that what a poll is told and what a stream is told cannot differ.
//!
//! A poll that waits has no ring: like a socket that keeps up it reads from its audience's log, and
//! where the sweep would write a socket it wakes the poll. An answer holds at most what a ring of its
//! route does. A snapshot and retained values are told as a whole, beyond that bound: a cursor inside
//! them would be no place to go on from.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::audience::StreamKey;
use super::framing::Framing;
use super::replay::{Next, Replay};
use super::ring::RingBounds;
use super::streams::Streams;
use super::subscriber::Sink;
use crate::event::{ALL_NAMES, Event};
use crate::history::Wants;
use crate::metrics::{Closed, Protocol};
use crate::sse::{Cursor, Frame};
use crate::subscribe::control::Gap;
use crate::subscribe::poll::{self, Told};
use crate::subscribe::{Opening, Subscription};
use crate::sync::Weigh as _;

/// A poll that has not been answered. Resolves to its answer; to drop it is to leave.
pub(super) struct LongPoll {
    streams: Rc<RefCell<Streams>>,
    asked: Asked,
}

/// What a poll has come with, and where it is.
pub(super) struct Asked {
    pub(super) key: StreamKey,
    /// The shard may close the stream first and give its key to another.
    pub(super) generation: u32,
    /// Where the client is.
    after: u64,
    gap: Option<Gap>,
    snapshot: Option<Frame>,
    /// It is answered even where there is nothing: a client that comes without a cursor needs one, so
    /// that it misses nothing before its next poll.
    at_once: bool,
}

/// A poll that is told nothing now. Its client had better ask again after `retry_ms`: then its app
/// server is asked again too.
#[derive(Debug)]
pub(super) struct TurnedAway {
    pub(super) retry_ms: u64,
}

impl LongPoll {
    /// Asks for what `subscription` wants.
    pub(super) fn new(
        streams: Rc<RefCell<Streams>>,
        subscription: Subscription,
    ) -> Result<Self, TurnedAway> {
        let asked = streams.borrow_mut().open_poll(subscription)?;
        Ok(Self { streams, asked })
    }
}

impl Future for LongPoll {
    type Output = String;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        self.streams.borrow_mut().answer_poll(&self.asked, cx)
    }
}

impl Drop for LongPoll {
    fn drop(&mut self) {
        self.streams.borrow_mut().close_body(self.asked.key, self.asked.generation, false);
    }
}

/// What an answer holds so far.
struct Collected {
    gap: Option<Gap>,
    /// Behind the gap.
    snapshot: Option<Frame>,
    events: Vec<Arc<Event>>,
    bytes: usize,
    bounds: RingBounds,
}

impl Collected {
    fn has_room(&self) -> bool {
        self.events.len() < self.bounds.frames_max && self.bytes < self.bounds.bytes_max
    }

    /// Then it may have a gap, which is told once and before everything else.
    fn is_empty(&self) -> bool {
        self.gap.is_none() && self.snapshot.is_none() && self.events.is_empty()
    }

    fn add(&mut self, event: Arc<Event>) {
        self.bytes += event.weight();
        self.events.push(event);
    }

    /// Adds all, or what there is room for, and says how many that is.
    fn add_some<'a>(&mut self, events: impl Iterator<Item = &'a Arc<Event>>, all: bool) -> usize {
        let before = self.events.len();
        for event in events {
            if !all && !self.has_room() {
                break;
            }
            self.add(Arc::clone(event));
        }
        self.events.len() - before
    }
}

impl Streams {
    pub(super) fn open_poll(&mut self, subscription: Subscription) -> Result<Asked, TurnedAway> {
        self.look_at_clock();
        if self.turned_away(&subscription).is_some() {
            let retry_ms = self.routes[subscription.route].control.jittered_retry_ms();
            return Err(TurnedAway { retry_ms });
        }
        let greeting = self.greet(&subscription);
        let at_once = subscription.cursor == Cursor::Live
            || subscription.opening != Opening::Plain
            || greeting.gap.is_some();
        let snapshot = greeting.snapshot.as_ref();
        let snapshot = snapshot.and_then(|(snapshot, moves)| snapshot.frame(*moves)).cloned();
        let key = self.subscribers.vacant_key();
        self.generations = self.generations.wrapping_add(1);
        let sink = Sink::Body(Protocol::Poll, None);
        self.insert(key, sink, Framing::default(), subscription, greeting.sent);
        if let Some(replay) = greeting.replay {
            self.begin_replay(key, replay);
        }
        Ok(Asked {
            key,
            generation: self.generations,
            after: greeting.sent,
            gap: greeting.gap,
            snapshot,
            at_once,
        })
    }

    /// The answer to a poll, once there is something to be said or its time is over.
    pub(super) fn answer_poll(&mut self, asked: &Asked, cx: &mut Context<'_>) -> Poll<String> {
        self.look_at_clock();
        let key = asked.key;
        let epoch = self.hub.epoch();
        // The shard closes who is too slow where such streams are disconnected: back to its cursor.
        if !self.is(key, asked.generation) {
            let nothing = Wants { filters: &[], everyone: false, names: &ALL_NAMES };
            let (gap, snapshot) = (asked.gap.as_ref(), asked.snapshot.as_ref());
            let told = Told { gap, snapshot, events: &[], cursor: asked.after };
            return Poll::Ready(poll::answer(epoch, nothing, &told));
        }
        let found = self.collect(asked);
        let subscriber = &mut self.subscribers[key];
        let is_due = asked.at_once || subscriber.ends <= self.tick || self.drain_by.is_some();
        if found.is_empty() && !is_due {
            subscriber.sink = Sink::Body(Protocol::Poll, Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let wants = self.audiences[subscriber.audience].wants();
        let cursor = self.cursor_of(key);
        let Collected { gap, snapshot, events, .. } = &found;
        let told = Told { gap: gap.as_ref(), snapshot: snapshot.as_ref(), events, cursor };
        let text = poll::answer(epoch, wants, &told);
        self.metrics.sent_bytes.add(text.len() as u64);
        self.close(key, Closed::Answered);
        Poll::Ready(text)
    }

    /// Takes what there is for a poll, as far as an answer may hold it.
    fn collect(&mut self, asked: &Asked) -> Collected {
        let Asked { key, gap, .. } = *asked;
        let bounds = self.routes[self.subscribers[key].route].bounds;
        let snapshot = asked.snapshot.clone();
        let mut found = Collected { gap, snapshot, events: Vec::new(), bytes: 0, bounds };
        self.leave_log(key);
        self.collect_past(key, &mut found);
        if found.is_empty() {
            found.gap = self.take_gap(key);
        }
        while found.has_room() {
            self.take_from_ring(key, 1);
            let Some(event) = self.taken.pop() else { break };
            self.delivered(event.accepted);
            self.sent_from_ring(key, std::slice::from_ref(&event));
            found.add(event);
        }
        found
    }

    fn collect_past(&mut self, key: StreamKey, found: &mut Collected) {
        while self.subscribers[key].remaining > 0
            && let Some(replay) = self.past_of(key)
        {
            let is_of_values = replay.place_of_events().is_none();
            if !is_of_values && !found.has_room() {
                return;
            }
            match self.next_of_past(key) {
                Next::Gap(gap, told_at) if found.is_empty() => {
                    self.tell_gap(key, &gap, told_at);
                    found.gap = Some(gap);
                }
                // It belongs before events of the next answer.
                Next::Gap(..) => return,
                Next::Cursor(_) => {}
                Next::Page(page, frames) => {
                    let taken = found.add_some(page.events(frames), is_of_values);
                    self.advance_in_past(key, &page, taken);
                }
                Next::Live => self.go_live(key),
            }
        }
    }

    fn past_of(&self, key: StreamKey) -> Option<Replay> {
        self.subscribers[key].backlog.as_ref().and_then(|backlog| backlog.replay)
    }

    /// Up to where a client has everything, once it has what was collected.
    fn cursor_of(&self, key: StreamKey) -> u64 {
        let subscriber = &self.subscribers[key];
        let Some(backlog) = &subscriber.backlog else { return self.applied };
        let is_empty = backlog.ring.as_ref().is_none_or(|ring| ring.is_empty() && !ring.owes());
        match &backlog.replay {
            Some(replay) => replay.place_of_events().unwrap_or(subscriber.sent),
            None if is_empty => self.applied,
            None => subscriber.sent,
        }
    }

    /// A poll that waits has something in its audience's log: it takes that into a ring.
    fn leave_log(&mut self, key: StreamKey) {
        let subscriber = &self.subscribers[key];
        let pending = self.audiences[subscriber.audience].log.end() > subscriber.cursor;
        if subscriber.backlog.is_none() && pending {
            self.fall_behind(key);
        }
    }

    /// The sweep has come to a poll that waits.
    pub(super) fn rouse(&mut self, key: StreamKey) {
        self.leave_log(key);
        self.queue_write(key);
    }

    /// A poll's time is over.
    pub(super) fn end_wait(&mut self, key: StreamKey) {
        let now = self.tick;
        let subscriber = &mut self.subscribers[key];
        subscriber.ends = now;
        if let Sink::Body(_, waker) = &mut subscriber.sink
            && let Some(waker) = waker.take()
        {
            waker.wake();
        }
    }
}
