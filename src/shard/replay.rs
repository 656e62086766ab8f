//! Replay: a stream that came back with a cursor is read to from the history, a page at a time, until
//! nothing lies between it and live. So is a new one where there are retained values, and one that
//! was too slow for its ring where streams are to catch up.
//!
//! Meanwhile the stream has no ring: what is published during its replay is in the history too, and
//! the page that comes to the last event this shard has applied is the seam. Nothing can come
//! between, since the shard does nothing else at that moment. So a replay may take as long as its
//! client does, and costs no memory but the rest of a half-written frame.

use std::io::IoSlice;
use std::rc::Rc;

use bytes::Bytes;

use super::audience::StreamKey;
use super::pages::{Encoded, PageKey};
use super::streams::Streams;
use super::subscriber::Sink;
use super::sweep::{Written, write};
use crate::history::{PageRequest, Past, Place};
use crate::metrics::{Closed, Dropped, Protocol, Replayed};
use crate::sse::{EndReason, GapReason, comment};
use crate::subscribe::control::Gap;

/// Where a stream is in its past.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replay {
    past: Past,
    place: Place,
    /// Of the retained values, those up to here: where the stream began. What came later, it gets with
    /// everything else.
    values_to: u64,
    /// Comes before everything else.
    gap: Option<Gap>,
    /// The client has been told that any event may be missing up to here.
    told_to: u64,
    /// Why something may be missing.
    reason: GapReason,
    /// Whether the client has been told of a loss.
    lossy: bool,
}

impl Replay {
    /// Of everything after `seq`.
    pub(super) fn after(seq: u64, reason: GapReason) -> Self {
        let place = Place::after(seq);
        Self {
            past: Past::Events,
            place,
            values_to: 0,
            gap: None,
            told_to: seq,
            reason,
            lossy: false,
        }
    }

    /// Of the retained values up to `head`, after a gap if there is one.
    pub(super) fn of_values(head: u64, gap: Option<Gap>) -> Self {
        let (place, reason) = (Place::after(0), GapReason::Expired);
        Self {
            past: Past::Retained,
            place,
            values_to: head,
            gap,
            told_to: 0,
            reason,
            lossy: gap.is_some(),
        }
    }

    /// Up to where the stream has all events, once it is done with the retained values.
    pub(super) fn place_of_events(&self) -> Option<u64> {
        (self.past == Past::Events).then_some(self.place.after)
    }

    /// Up to where it reads retained values, if that is what it reads: of what is not retained, it gets
    /// nothing up to there.
    pub(super) fn values_to(&self) -> Option<u64> {
        (self.past == Past::Retained).then_some(self.values_to)
    }
}

/// What a stream is to be written next.
pub(super) enum Next {
    /// A gap, and which forgettings it tells of.
    Gap(Gap, u64),
    /// The client's cursor moves here.
    Cursor(u64),
    /// So many frames of a page.
    Page(Rc<Encoded>, usize),
    /// What is published from now on.
    Live,
}

impl Streams {
    /// Has a stream read its past before it is live.
    pub(super) fn begin_replay(&mut self, key: StreamKey, replay: Replay) {
        let backlog = self.subscribers[key].backlog.get_or_insert_default();
        debug_assert!(backlog.ring.is_none() && backlog.replay.is_none());
        backlog.replay = Some(replay);
        self.metrics.replaying.add(1);
        self.queue_write(key);
    }

    /// A stream has come to the end of its past, or will never.
    pub(super) fn end_replay(&mut self, key: StreamKey, result: Replayed) {
        let backlog = self.subscribers[key].backlog.as_mut();
        if backlog.and_then(|backlog| backlog.replay.take()).is_some() {
            self.metrics.replaying.sub(1);
            self.metrics.replays[result as usize].add(1);
        }
    }

    /// Writes the next part of a stream's past to its socket. True when there is more to be written
    /// that is no part of a page.
    pub(super) fn replay(&mut self, key: StreamKey) -> bool {
        let (page, frames) = match self.next_of_past(key) {
            Next::Gap(gap, told_at) => {
                self.backlog(key).unfinished = self.tell_gap(key, &gap, told_at);
                return true;
            }
            Next::Cursor(seq) => {
                self.backlog(key).unfinished = self.tell_cursor(key, seq);
                return true;
            }
            Next::Live => {
                self.go_live(key);
                return false;
            }
            Next::Page(page, frames) => (page, frames),
        };
        let Sink::Socket { socket, .. } = &mut self.subscribers[key].sink else { return false };
        let bytes = page.first(frames);
        match write(socket, &[IoSlice::new(bytes)]) {
            Written::All => {
                self.metrics.sent_bytes.add(bytes.len() as u64);
                self.advance_in_past(key, &page, frames);
                if self.subscribers[key].remaining == 0 {
                    self.finish(key, EndReason::Limit);
                } else {
                    // Others take their turns between two pages.
                    self.queue_write(key);
                }
            }
            Written::Some(count) => {
                self.metrics.sent_bytes.add(count as u64);
                let (whole, rest) = page.cut(count);
                // A copy: the page is not kept for as long as one client does not read.
                let rest = Bytes::copy_from_slice(rest);
                let half = usize::from(!rest.is_empty());
                self.advance_in_past(key, &page, whole + half);
                self.backlog(key).unfinished = rest;
            }
            Written::Failed => self.close(key, Closed::Client),
        }
        false
    }

    /// What comes next for a stream that nothing else waits for.
    pub(super) fn next_of_past(&mut self, key: StreamKey) -> Next {
        loop {
            let subscriber = &self.subscribers[key];
            let Some(replay) = subscriber.backlog.as_ref().and_then(|backlog| backlog.replay)
            else {
                return Next::Live;
            };
            let at_head = replay.past == Past::Events && replay.place.after >= self.applied;
            if at_head && replay.gap.is_none() {
                return Next::Live;
            }
            let page = self.page(key, &replay);
            if let Some(gap) = gap_before(&page, &replay) {
                return Next::Gap(gap, page.place.told_at);
            }
            let frames = page.len().min(self.subscribers[key].remaining as usize);
            if frames > 0 {
                return Next::Page(page, frames);
            }
            if let Some(seq) = self.finish_page(key, &page) {
                return Next::Cursor(seq);
            }
        }
    }

    /// The page at a stream's place, shared with all streams at the same place.
    fn page(&mut self, key: StreamKey, replay: &Replay) -> Rc<Encoded> {
        let subscriber = &self.subscribers[key];
        let (audience, framing) = (subscriber.audience, subscriber.framing);
        let Replay { past, place, values_to, .. } = *replay;
        let wanted = PageKey { audience, framing, past, place, values_to };
        if let Some(page) = self.pages.find(&wanted, self.tick) {
            return page;
        }
        let of = &self.audiences[audience];
        let (wants, writer) = (of.wants(), of.writer(framing));
        let upto = if past == Past::Retained { values_to } else { self.applied };
        let now = self.now;
        let page =
            self.hub.page(PageRequest { wants, past, place, upto, bounds: Encoded::BOUNDS }, now);
        self.pages.add(Encoded::new(wanted, page, &writer, self.tick))
    }

    /// Notes that a gap is told; its bytes.
    pub(super) fn tell_gap(&mut self, key: StreamKey, gap: &Gap, told_at: u64) -> Bytes {
        self.note_gap(key, self.subscribers[key].generation, *gap, false);
        if gap.reason == GapReason::Slow {
            self.metrics.events_dropped[Dropped::Slow as usize].add(gap.count.unwrap_or(0));
        }
        let subscriber = &mut self.subscribers[key];
        let frame = self.routes[subscriber.route].control.gap(gap, true);
        let bytes = subscriber.framing.control(&frame);
        let backlog = subscriber.backlog.as_mut();
        let Some(replay) = backlog.and_then(|backlog| backlog.replay.as_mut()) else {
            return bytes;
        };
        replay.lossy = true;
        // A gap of another epoch says nothing of this one's.
        if replay.gap.take().is_none() {
            replay.place = Place { after: gap.cursor.max(replay.place.after), told_at };
            if gap.count.is_none() {
                replay.told_to = replay.told_to.max(gap.to);
            }
        }
        bytes
    }

    /// `frames` of a page are written.
    pub(super) fn advance_in_past(&mut self, key: StreamKey, page: &Encoded, frames: usize) {
        let Some(last) = frames.checked_sub(1).map(|last| page.seq(last)) else { return };
        let heard = self.tick;
        self.metrics.events_delivered.add(frames as u64);
        let subscriber = &mut self.subscribers[key];
        subscriber.heard = heard;
        subscriber.sent = last;
        if subscriber.remaining < u32::MAX {
            subscriber.remaining -= frames as u32;
        }
        if let Some(replay) = &mut self.backlog(key).replay {
            let is_all = replay.past == Past::Events && frames == page.len();
            let after = if is_all { page.place.after } else { last };
            replay.place = Place { after, told_at: page.place.told_at };
        }
    }

    /// Nothing of a page is left. After the last retained value the client's cursor moves to where
    /// these were read, and what has come since then follows.
    fn finish_page(&mut self, key: StreamKey, page: &Encoded) -> Option<u64> {
        let replay = self.backlog(key).replay.as_mut()?;
        if replay.past == Past::Events {
            replay.place = page.place;
            return None;
        }
        (replay.past, replay.place) = (Past::Events, Place::after(page.place.after));
        self.subscribers[key].sent = page.place.after;
        Some(page.place.after)
    }

    /// What moves a client's cursor.
    pub(super) fn tell_cursor(&self, key: StreamKey, seq: u64) -> Bytes {
        self.subscribers[key].framing.control(&comment(self.hub.id(seq)))
    }

    /// Nothing lies between a stream and live any more.
    pub(super) fn go_live(&mut self, key: StreamKey) {
        let backlog = &self.subscribers[key].backlog;
        let replay = backlog.as_ref().and_then(|backlog| backlog.replay);
        let lossy = replay.is_some_and(|replay| replay.lossy);
        self.end_replay(key, if lossy { Replayed::Gap } else { Replayed::Complete });
        let subscriber = &mut self.subscribers[key];
        subscriber.sent = self.applied;
        subscriber.cursor = self.audiences[subscriber.audience].log.end();
        match subscriber.sink {
            Sink::Socket { .. } | Sink::Body(Protocol::Poll, _) => self.catch_up(key),
            // A body has its events in a ring.
            Sink::Body(..) => self.fall_behind(key),
        }
    }

    /// A stream's ring has overflowed: what it was not sent is read from the history.
    pub(super) fn refill_from_history(&mut self, key: StreamKey) {
        self.leave_behind(key);
        let sent = self.subscribers[key].sent;
        if let Some(ring) = self.backlog(key).ring.take() {
            self.recycle(ring);
        }
        self.begin_replay(key, Replay::after(sent, GapReason::Slow));
    }
}

/// The gap that a page begins with, if any. Its cursor stays before what comes next, which may be
/// older than the last lost event: topics forget at different times.
fn gap_before(page: &Encoded, replay: &Replay) -> Option<Gap> {
    let owed = replay.gap.or_else(|| {
        let Replay { place, told_to, .. } = *replay;
        // What is lost beside a loss of unknown extent has been told with it.
        let lost = page.lost.filter(|lost| lost.count.is_some() || lost.to > told_to)?;
        let reason = if lost.by_damage { GapReason::Corrupt } else { replay.reason };
        let after = if lost.to > told_to { place.after.max(told_to) } else { place.after };
        Some(Gap { after: Some(after), to: lost.to, cursor: lost.to, count: lost.count, reason })
    })?;
    let before_next = page.first_seq().map_or(page.place.after, |seq| seq - 1);
    Some(Gap { cursor: owed.cursor.min(before_next), ..owed })
}
