//! Reading the past: what a subscription has missed since its cursor, a page at a time, and what of
//! it is gone.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

use super::topic::TopicKey;
use super::{EVERYONE, History};
use crate::event::{Event, EventNames};
use crate::sync::Weigh as _;
use crate::topic::{Filter, Topic};

/// What a reader wants of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Past {
    /// Everything that is still there.
    Events,
    /// The retained values only.
    Retained,
}

/// Where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// It has everything up to this `seq`.
    pub after: u64,
    /// It has been told of what was forgotten before this: [`Page::told_at`] of its last page.
    pub told_at: u64,
}

impl Place {
    /// That of somebody who has everything up to `after` and has been told nothing.
    pub fn after(after: u64) -> Self {
        Self { after, told_at: 0 }
    }
}

/// What a reader reads.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a> {
    /// Of these topics,
    pub filters: &'a [Filter],
    /// and whether what goes to everyone;
    pub everyone: bool,
    /// of these names only.
    pub names: &'a EventNames,
}

/// A page that a reader asks for.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// What it reads.
    pub wants: Wants<'a>,
    /// What it wants of them.
    pub past: Past,
    /// Where it is.
    pub place: Place,
    /// It gets nothing beyond this `seq`.
    pub upto: u64,
    /// How much it takes.
    pub bounds: PageBounds,
}

/// How much a page may be. One event always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// Events.
    pub events_max: usize,
    /// Bytes of their frames and topics' names.
    pub bytes_max: usize,
}

/// Events that a page leaves out before it is over, so that the order is not held up for long by a reader
/// that wants few of many.
const PASSED_MAX: usize = 4096;

/// Events that are gone: some between the reader's place and `to`, none after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The last of them.
    pub to: u64,
    /// How many, where it is known.
    pub count: Option<u64>,
    /// Whether the log was damaged there; else they were too old, or too many.
    pub by_damage: bool,
}

impl Loss {
    /// What a reader knows of it: of what is gone, nobody knows the names.
    fn told_to(self, wants: Wants<'_>) -> Self {
        let is_known = !wants.names.are_limited();
        Self { count: self.count.filter(|_| is_known), ..self }
    }
}

/// The next part of a reader's past.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// What is gone of what it reads, unless the reader has been told. It has to be told before it gets the events,
    /// although some of these may be older than the loss's end.
    pub lost: Option<Loss>,
    /// What is there, in order.
    pub events: Vec<Arc<Event>>,
    /// With this page, the reader has everything up to this `seq`,
    pub to: u64,
    /// and has been told of everything forgotten before this moment; or of no more than before, while
    /// something is gone that lies beyond what it reads.
    pub told_at: u64,
}

impl History {
    /// What a reader at `place`, who reads up to `upto`, has lost of what it wants and has not been
    /// told of.
    pub fn lost(
        &mut self,
        wants: Wants<'_>,
        place: Place,
        upto: u64,
        now: Instant,
    ) -> Option<Loss> {
        let topics = self.changed(wants, place.after);
        let (lost, _) = self.lost_of(&topics, place, upto, now);
        self.enforce_bounds(now);
        lost.map(|lost| lost.told_to(wants))
    }

    /// The next page of a reader.
    pub fn page(&mut self, request: PageRequest<'_>, now: Instant) -> Page {
        let PageRequest { wants, past, place, upto, bounds } = request;
        let (topics, (lost, beyond)) = match past {
            Past::Retained => (self.with_values(wants), (None, false)),
            Past::Events => {
                let topics = self.changed(wants, place.after);
                let lost = self.lost_of(&topics, place, upto, now);
                (topics, lost)
            }
        };
        let sources = topics.known.iter().map(|&key| self.topics[key].since(past, place.after));
        let passes = |event: &Event| wants.names.have(event) && !event.is_expired(now);
        let passed_max = if past == Past::Events { PASSED_MAX } else { usize::MAX };
        let (events, to) = merge(sources, upto, bounds, passed_max, passes);
        let lost = lost.map(|lost| lost.told_to(wants));
        // What is gone beyond `upto` has not been told.
        let told_at = if beyond { place.told_at } else { self.forgettings + 1 };
        self.enforce_bounds(now);
        Page { lost, events, to, told_at }
    }

    /// The topics that a reader wants and something may have happened to after `after`.
    fn changed(&self, wants: Wants<'_>, after: u64) -> Topics {
        let known = if wants.everyone { vec![EVERYONE] } else { Vec::new() };
        let mut topics = Topics { known, unknown: false };
        let (exact, patterns) = split(wants.filters);
        for topic in exact {
            match self.find(topic.as_str()) {
                Some(key) => topics.known.push(key),
                None => topics.unknown = true,
            }
        }
        if !patterns.is_empty() {
            topics.unknown = true;
            for list in self.recency {
                let mut next = list.last();
                while let Some(key) = next.filter(|&key| self.topics[key].touched > after) {
                    if self.is_of(key, &patterns) {
                        topics.known.push(key);
                    }
                    next = list.before(&self.topics, key);
                }
            }
        }
        topics
    }

    /// The topics that a reader wants and that have retained values.
    fn with_values(&self, wants: Wants<'_>) -> Topics {
        let mut known = Vec::new();
        let (exact, patterns) = split(wants.filters);
        known.extend(exact.filter_map(|topic| self.find(topic.as_str())));
        let is_wanted = |key: &TopicKey| match *key {
            EVERYONE => wants.everyone,
            key => self.is_of(key, &patterns),
        };
        known.extend(self.retaining.iter().copied().filter(is_wanted));
        Topics { known, unknown: false }
    }

    fn is_of(&self, key: TopicKey, patterns: &[&Filter]) -> bool {
        let name = self.topics[key].name.as_ref();
        name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
    }

    /// What of these topics is gone, and whether more is, beyond `upto`. How many is known if only
    /// one has forgotten any, and none of them can still be there as another topic's.
    fn lost_of(
        &mut self,
        topics: &Topics,
        place: Place,
        upto: u64,
        now: Instant,
    ) -> (Option<Loss>, bool) {
        let (mut lost, mut beyond) = (None::<Loss>, false);
        let is_news = self.unknown_to > place.after && self.unknown_at >= place.told_at;
        if topics.unknown && is_news {
            lost = Some(Loss { to: self.unknown_to.min(upto), count: None, by_damage: false });
            beyond = self.unknown_to > upto;
        }
        if self.damaged_to > place.after && self.damaged_at >= place.told_at {
            let to = lost.map_or(0, |lost| lost.to).max(self.damaged_to.min(upto));
            lost = Some(Loss { to, count: None, by_damage: true });
        }
        let named = topics.known.iter().filter(|&&key| key != EVERYONE).count();
        for &key in &topics.known {
            self.forget_old(key, now);
            let topic = &self.topics[key];
            beyond |= topic.forgot_beyond(upto);
            if let Some(mut of_topic) = topic.lost_since(place, upto) {
                if topic.shares_events && named > 1 {
                    of_topic.count = None;
                }
                lost = Some(match lost {
                    Some(lost) => Loss { to: lost.to.max(of_topic.to), count: None, ..lost },
                    None => of_topic,
                });
            }
        }
        (lost, beyond)
    }
}

/// The topics of a subscription.
struct Topics {
    known: Vec<TopicKey>,
    /// Whether there may be others, that nothing is known of.
    unknown: bool,
}

fn split(filters: &[Filter]) -> (impl Iterator<Item = &Topic>, Vec<&Filter>) {
    let exact = filters.iter().filter_map(|filter| match filter {
        Filter::Exact(topic) => Some(topic),
        Filter::Pattern(_) => None,
    });
    let patterns = filters.iter().filter(|filter| matches!(filter, Filter::Pattern(_)));
    (exact, patterns.collect())
}

/// The oldest events of all sources, each of which is in order, that pass, and up to where these are all.
/// A page is over when this many others have been looked at, too.
fn merge<'a>(
    sources: impl Iterator<Item = impl Iterator<Item = &'a Arc<Event>>>,
    upto: u64,
    bounds: PageBounds,
    passed_max: usize,
    passes: impl Fn(&Event) -> bool,
) -> (Vec<Arc<Event>>, u64) {
    let mut sources: Vec<_> = sources.map(Iterator::peekable).collect();
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for (at, source) in sources.iter_mut().enumerate() {
        heads.extend(source.peek().map(|event| Reverse((event.seq, at))));
    }
    let (mut events, mut bytes, mut passed) = (Vec::<Arc<Event>>::new(), 0, 0);
    while let Some(Reverse((seq, at))) = heads.pop().filter(|Reverse((seq, _))| *seq <= upto) {
        let event = sources[at].next();
        heads.extend(sources[at].peek().map(|next| Reverse((next.seq, at))));
        // An event of several topics comes once.
        let is_new = events.last().is_none_or(|last| last.seq < seq);
        let Some(event) = event.filter(|event| is_new && passes(event)) else {
            passed += 1;
            if passed == passed_max {
                return (events, seq);
            }
            continue;
        };
        bytes += event.weight();
        let last = events.last();
        let is_full = events.len() == bounds.events_max || bytes > bounds.bytes_max;
        if let Some(last) = last.filter(|_| is_full) {
            let to = last.seq;
            return (events, to);
        }
        events.push(Arc::clone(event));
    }
    (events, upto)
}
