//! A history that is full: every topic has given as many events as it keeps, and more.

use std::sync::Arc;
use std::time::Instant;

use tidegate::event::{ALL_NAMES, Event};
use tidegate::history::{Bounds, History, Limits, PageBounds, PageRequest, Past, Place, Wants};
use tidegate::sse::Gzip;
use tidegate::topic::Filter;

use super::{DATA_BYTES, draft, id, to_topic};

/// Events that each topic keeps.
const KEPT: usize = 100;

pub(crate) struct FullHistory {
    history: History,
    topics: usize,
    newest: u64,
    now: Instant,
}

impl FullHistory {
    /// Topics are called `board.0.moved`, `board.1.moved` and so on.
    pub(crate) fn new(topics: usize) -> Self {
        let limits = Limits { events_max: KEPT, ..Bounds::default().topic };
        let bounds = Bounds { topic: limits, bytes_max: 1 << 30, ..Bounds::default() };
        let history = History::new(bounds, 0);
        let mut full = Self { history, topics, newest: 0, now: Instant::now() };
        (0..2 * KEPT * topics).for_each(|_| full.append());
        full
    }

    /// Publishes to the next topic: one event comes, and one goes.
    pub(crate) fn append(&mut self) {
        let topic = self.newest as usize % self.topics;
        self.newest += 1;
        let mut to = to_topic(&format!("board.{topic}.moved"));
        self.history.share_names(&mut to);
        let (frame, accepted) = (draft(DATA_BYTES).seal(id()), self.now);
        let event = Arc::new(Event {
            seq: self.newest,
            to,
            frame,
            accepted,
            expires: None,
            conflate: None,
            gzip: Gzip::default(),
            is_last: false,
        });
        self.history.append(&event, None, self.now);
    }

    /// Reads what somebody has missed who has everything but the last `back` events. Gives how many
    /// of them are its own.
    pub(crate) fn read(&mut self, filters: &[Filter], back: usize) -> usize {
        let bounds = PageBounds { events_max: 256, bytes_max: 64 << 10 };
        let mut place = Place::after(self.newest - back as u64);
        let wants = Wants { filters, everyone: true, names: &ALL_NAMES };
        let mut events = 0;
        while place.after < self.newest {
            let page = self.history.page(
                PageRequest { wants, past: Past::Events, place, upto: self.newest, bounds },
                self.now,
            );
            events += page.events.len();
            place = Place { after: page.to, told_at: page.told_at };
        }
        events
    }
}
