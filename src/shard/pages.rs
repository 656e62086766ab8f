//! Pages of the past, encoded once for all streams that read the same: after an outage, thousands of
//! clients come back with one cursor.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::framing::{Framing, Writer};
use super::index::AudienceKey;
use super::wheel::Tick;
use crate::event::Event;
use crate::history::{Loss, Page, PageBounds, Past, Place};

/// Pages kept. Worst case a shard: this times twice `Encoded::BOUNDS.bytes_max`, or the largest event.
const PAGES: usize = 64;

/// How long a page is kept: what it says stays true, but gets old.
const KEPT_MS: u64 = 1_000;

/// What a page is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageKey {
    pub(super) audience: AudienceKey,
    pub(super) framing: Framing,
    pub(super) past: Past,
    pub(super) place: Place,
    /// Up to where retained values are read; 0 of events.
    pub(super) values_to: u64,
}

/// One page, as it is written.
pub(super) struct Encoded {
    key: PageKey,
    made: Tick,
    /// What is gone of it.
    pub(super) lost: Option<Loss>,
    /// Where a stream is once it has the page.
    pub(super) place: Place,
    bytes: Vec<u8>,
    /// Where each frame ends in `bytes`, and whose it is.
    frames: Vec<(usize, Arc<Event>)>,
}

impl Encoded {
    /// How much is read and written at a time.
    pub(super) const BOUNDS: PageBounds = PageBounds { events_max: 256, bytes_max: 16 * 1024 };

    pub(super) fn new(key: PageKey, page: Page, writer: &Writer, made: Tick) -> Self {
        let Page { lost, events, to, told_at } = page;
        let (mut bytes, mut frames) = (Vec::new(), Vec::with_capacity(events.len()));
        for event in events {
            bytes.extend_from_slice(&writer.bytes(&event));
            frames.push((bytes.len(), event));
        }
        let place = Place { after: to, told_at };
        Self { key, made, lost, place, bytes, frames }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// `seq` of a frame.
    pub(super) fn seq(&self, frame: usize) -> u64 {
        self.frames[frame].1.seq
    }

    /// The events of the first `frames` frames.
    pub(super) fn events(&self, frames: usize) -> impl Iterator<Item = &Arc<Event>> {
        self.frames[..frames].iter().map(|(_, event)| event)
    }

    pub(super) fn first_seq(&self) -> Option<u64> {
        self.frames.first().map(|(_, event)| event.seq)
    }

    /// The bytes of the first `frames` frames.
    pub(super) fn first(&self, frames: usize) -> &[u8] {
        let end = frames.checked_sub(1).map_or(0, |last| self.frames[last].0);
        &self.bytes[..end]
    }

    /// After a write of `written` bytes: how many frames are whole, and the rest of one that is not.
    pub(super) fn cut(&self, written: usize) -> (usize, &[u8]) {
        let whole = self.frames.partition_point(|(end, _)| *end <= written);
        let is_between = whole.checked_sub(1).map_or(0, |last| self.frames[last].0) == written;
        let end = self.frames.get(whole).filter(|_| !is_between).map_or(written, |(end, _)| *end);
        (whole, &self.bytes[written..end])
    }
}

/// The pages that were made last.
#[derive(Default)]
pub(super) struct Pages {
    pages: VecDeque<Rc<Encoded>>,
}

impl Pages {
    pub(super) fn find(&mut self, key: &PageKey, now: Tick) -> Option<Rc<Encoded>> {
        while self.pages.front().is_some_and(|page| page.made.plus_ms(KEPT_MS) <= now) {
            self.pages.pop_front();
        }
        self.pages.iter().rev().find(|page| page.key == *key).cloned()
    }

    pub(super) fn add(&mut self, page: Encoded) -> Rc<Encoded> {
        if self.pages.len() == PAGES {
            self.pages.pop_front();
        }
        let page = Rc::new(page);
        self.pages.push_back(Rc::clone(&page));
        page
    }

    /// Forgets an audience that is gone, whose key may come back with other topics.
    pub(super) fn forget(&mut self, audience: AudienceKey) {
        self.pages.retain(|page| page.key.audience != audience);
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Where a short write cuts a page, and how long pages are shared.

    use super::super::framing::Transfer;
    use super::super::testing::event;
    use super::*;

    const BARE: Framing = Framing { transfer: Transfer::Bare, gzip: false };

    fn page(place: Place, seqs: &[u64], made: Tick) -> Encoded {
        let key = PageKey { audience: 1, framing: BARE, past: Past::Events, place, values_to: 0 };
        let writer = Writer { framing: BARE, told: None };
        let events = seqs.iter().map(|&seq| event(seq, 5)).collect();
        Encoded::new(key, Page { events, to: 9, ..Page::default() }, &writer, made)
    }

    #[test]
    fn a_short_write_is_cut_at_frames() {
        let page = page(Place::after(0), &[3, 5, 8], Tick(0));
        let (one, two) = (page.first(1).len(), page.first(2).len());
        assert_eq!(page.cut(0), (0, &b""[..]));
        assert_eq!(page.cut(one), (1, &b""[..]));
        assert_eq!(page.cut(one + 2), (1, &page.bytes[one + 2..two]));
        assert_eq!(page.cut(1), (0, &page.bytes[1..one]));
        assert_eq!((page.seq(1), page.first_seq()), (5, Some(3)));
    }

    #[test]
    fn a_page_is_shared_for_a_while_and_by_its_own_kind() {
        let mut pages = Pages::default();
        let added = pages.add(page(Place::after(2), &[3], Tick(0)));
        let wanted = added.key;
        let now = Tick(0).plus_ms(KEPT_MS - 100);
        assert!(pages.find(&wanted, now).is_some());
        assert!(pages.find(&PageKey { framing: Framing::default(), ..wanted }, now).is_none());
        assert!(pages.find(&PageKey { place: Place::after(3), ..wanted }, now).is_none());
        assert!(pages.find(&wanted, Tick(0).plus_ms(KEPT_MS)).is_none());
        let added = pages.add(page(Place::after(2), &[3], now));
        pages.forget(added.key.audience);
        assert!(pages.find(&added.key, now).is_none());
    }
}
