//! Audiences: the streams of one shard and one route that have the same subscription set, of topics and of
//! names. Everything that depends
//! only on what was asked for (matching, the log of pending events, the concatenated buffers) is
//! done once an audience and not once a stream.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;

use super::framing::{Framing, Writer};
use super::index::{AudienceKey, Index};
use super::log::Log;
use super::ring::RingBounds;
use crate::event::{Destination, Event, EventNames};
use crate::history::Wants;
use crate::subscribe::RouteId;
use crate::topic::{Filter, Topic};

pub(super) type StreamKey = usize;

/// What the streams of an audience have asked for.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Selection {
    /// Events to these topics,
    pub(super) filters: Box<[Filter]>,
    /// with these names.
    pub(super) names: EventNames,
}

impl Selection {
    /// Everything that goes to these topics.
    #[cfg(any(all(test, not(tidegate_loom)), feature = "bench"))]
    pub(super) fn all_of(filters: impl Into<Box<[Filter]>>) -> Self {
        Self { filters: filters.into(), names: EventNames::default() }
    }
}

/// What differs between audiences with the same filters. Here and not only with the route, since every
/// delivery looks at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The route of its streams.
    pub(super) route: RouteId,
    /// Whether they get what goes to everyone.
    pub(super) broadcast: bool,
    /// Whether they are told the topic of each event.
    pub(super) tells_topics: bool,
    /// What may wait in its log, and in the ring of one of its streams.
    pub(super) bounds: RingBounds,
}

pub(super) struct Audience {
    selection: Rc<Selection>,
    /// Whether its names leave any out: here, since every event that matches looks at it.
    names_are_limited: bool,
    pub(super) kind: Kind,
    /// What not every member has been sent.
    pub(super) log: Log,
    /// Streams that read from `log`, and those in `behind`.
    pub(super) members: Vec<StreamKey>,
    /// Members that have a ring of their own, because their socket was full or they are bodies in
    /// hyper. The sweep passes over them.
    pub(super) behind: Vec<StreamKey>,
    /// Visits that the sweep still owes, going round `members` from `at`.
    pub(super) owed: usize,
    pub(super) at: usize,
    /// Whether the audience is in the sweep's queue.
    pub(super) queued: bool,
    /// The last event that matched: one event with several topics is delivered once.
    last_matched: u64,
}

impl Audience {
    /// What its streams get.
    pub(super) fn wants(&self) -> Wants<'_> {
        let Selection { filters, names } = &*self.selection;
        Wants { filters, everyone: self.kind.broadcast, names }
    }

    fn wants_name_of(&self, event: &Event) -> bool {
        !self.names_are_limited || self.selection.names.have(event)
    }

    /// What writes its events in one form.
    pub(super) fn writer(&self, framing: Framing) -> Writer {
        Writer { framing, told: self.told() }
    }

    /// What its streams want, if they are told each event's topic.
    pub(super) fn told(&self) -> Option<Rc<Selection>> {
        self.kind.tells_topics.then(|| Rc::clone(&self.selection))
    }

    /// Has every member visited. Those not yet visited in a round that is under way come first.
    pub(super) fn owe_visits(&mut self) {
        if self.owed == 0 {
            // A new round begins anywhere, so that no stream is always last.
            self.at = fastrand::usize(..self.members.len().max(1));
        }
        self.owed = self.members.len();
    }

    /// After a change of `members` in the middle of a round, nobody knows who has been visited:
    /// everybody is visited again, which costs little where nothing is pending.
    fn members_changed(&mut self) {
        if self.owed > 0 {
            self.owed = self.members.len();
        }
        if self.at >= self.members.len() {
            self.at = 0;
        }
    }

    /// Adds a stream, which starts with the next event. Returns its seat.
    pub(super) fn join(&mut self, stream: StreamKey) -> usize {
        self.members.push(stream);
        self.members_changed();
        self.members.len() - 1
    }

    /// Takes the stream in `seat` out. Returns the stream that has moved into the seat.
    pub(super) fn leave(&mut self, seat: usize) -> Option<StreamKey> {
        self.members.swap_remove(seat);
        self.members_changed();
        self.members.get(seat).copied()
    }

    /// The next member to visit, while visits are owed.
    pub(super) fn next_visit(&mut self) -> Option<StreamKey> {
        self.owed = self.owed.checked_sub(1)?;
        let stream = self.members.get(self.at).copied();
        self.at = (self.at + 1) % self.members.len().max(1);
        stream
    }

    /// Whether any member reads from the log.
    pub(super) fn has_readers(&self) -> bool {
        self.members.len() > self.behind.len()
    }
}

/// All audiences of a shard, and the index that finds them.
#[derive(Default)]
pub(super) struct Audiences {
    /// Boxed: with many topics there is one for nearly every stream, and a table that grows by copying
    /// itself leaves holes of its own size in the heap.
    slab: Slab<Box<Audience>>,
    by_selection: HashMap<RouteId, HashMap<Rc<Selection>, AudienceKey>>,
    index: Index,
}

impl Audiences {
    /// The audience of this kind that asks for this, made if there is none.
    pub(super) fn find_or_make(&mut self, kind: Kind, selection: Selection) -> AudienceKey {
        let of_route = self.by_selection.entry(kind.route).or_default();
        if let Some(&key) = of_route.get(&selection) {
            return key;
        }
        let selection = Rc::new(selection);
        let key = self.slab.insert(Box::new(Audience {
            selection: Rc::clone(&selection),
            names_are_limited: selection.names.are_limited(),
            kind,
            log: Log::default(),
            members: Vec::new(),
            behind: Vec::new(),
            owed: 0,
            at: 0,
            queued: false,
            last_matched: 0,
        }));
        for filter in &selection.filters {
            self.index.add(filter, key);
        }
        of_route.insert(selection, key);
        key
    }

    /// Removes an audience without members, and with it every topic that nobody else wants.
    pub(super) fn remove(&mut self, key: AudienceKey) {
        let audience = self.slab.remove(key);
        debug_assert!(audience.members.is_empty());
        for filter in &audience.selection.filters {
            self.index.remove(filter, key);
        }
        if let Some(of_route) = self.by_selection.get_mut(&audience.kind.route) {
            of_route.remove(&audience.selection);
        }
        if self.slab.is_empty() {
            *self = Self::default();
        }
    }

    /// Appends the audiences that `event` goes to, each once.
    pub(super) fn matching(&mut self, event: &Event, matching: &mut Vec<AudienceKey>) {
        match &event.to {
            Destination::Everyone => {
                let wanting = self.slab.iter().filter(|(_, audience)| {
                    audience.kind.broadcast && audience.wants_name_of(event)
                });
                matching.extend(wanting.map(|(key, _)| key));
            }
            Destination::Topics(topics) => {
                for topic in topics {
                    self.index.matches(topic, |key| {
                        let audience = &mut self.slab[key];
                        if audience.last_matched != event.seq {
                            audience.last_matched = event.seq;
                            if audience.wants_name_of(event) {
                                matching.push(key);
                            }
                        }
                    });
                }
            }
        }
    }

    /// How many streams get events of a topic, or what goes to everyone, and how many audiences were
    /// looked at for that.
    pub(super) fn count_members(&self, topic: Option<&Topic>) -> (u64, usize) {
        let mut keys = Vec::new();
        match topic {
            Some(topic) => self.index.matches(topic, |key| keys.push(key)),
            None => {
                let wanting = self.slab.iter().filter(|(_, audience)| audience.kind.broadcast);
                keys.extend(wanting.map(|(key, _)| key));
            }
        }
        let visits = keys.len();
        keys.sort_unstable();
        keys.dedup();
        let members = keys.iter().map(|&key| self.slab[key].members.len() as u64);
        (members.sum(), visits)
    }

    pub(super) fn get(&self, key: AudienceKey) -> Option<&Audience> {
        self.slab.get(key).map(|audience| &**audience)
    }

    pub(super) fn get_mut(&mut self, key: AudienceKey) -> Option<&mut Audience> {
        self.slab.get_mut(key).map(|audience| &mut **audience)
    }

    /// Topics and patterns that somebody wants.
    pub(super) fn topics(&self) -> usize {
        self.index.len()
    }
}

impl std::ops::Index<AudienceKey> for Audiences {
    type Output = Audience;

    fn index(&self, key: AudienceKey) -> &Audience {
        &self.slab[key]
    }
}

impl std::ops::IndexMut<AudienceKey> for Audiences {
    fn index_mut(&mut self, key: AudienceKey) -> &mut Audience {
        &mut self.slab[key]
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Rounds of visits: everyone is visited after the last event, whatever joins and leaves.

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Event,
        Join,
        Leave { nth: usize },
        Visit,
    }

    proptest! {
        #[test]
        fn a_finished_round_has_visited_everyone_since_the_last_event(
            operations in prop::collection::vec(prop_oneof![
                1 => Just(Operation::Event),
                1 => Just(Operation::Join),
                1 => (0..8usize).prop_map(|nth| Operation::Leave { nth }),
                6 => Just(Operation::Visit),
            ], 1..300),
        ) {
            let mut audiences = Audiences::default();
            let filters = [Filter::parse("t").unwrap()];
            let key = audiences.find_or_make(super::super::testing::kind(), Selection::all_of(filters));
            let audience = &mut audiences[key];
            let mut pending = BTreeSet::new();
            let mut joined = 0;
            for operation in operations {
                match operation {
                    Operation::Event => {
                        audience.owe_visits();
                        pending.extend(audience.members.iter().copied());
                    }
                    Operation::Join => {
                        joined += 1;
                        let seat = audience.join(joined);
                        prop_assert_eq!(audience.members[seat], joined);
                    }
                    Operation::Leave { nth } => {
                        if let Some(&stream) = audience.members.get(nth) {
                            pending.remove(&stream);
                            let moved = audience.leave(nth);
                            prop_assert_eq!(moved, audience.members.get(nth).copied());
                        }
                    }
                    Operation::Visit => {
                        if let Some(stream) = audience.next_visit() {
                            pending.remove(&stream);
                        }
                    }
                }
                if audience.owed == 0 {
                    prop_assert!(pending.is_empty(), "{:?} were passed over", pending);
                }
            }
        }
    }

    #[test]
    fn an_event_with_two_matching_topics_is_matched_once() {
        let mut audiences = Audiences::default();
        let filters = ["a", "b", "*"].map(|text| Filter::parse(text).unwrap());
        let key = audiences.find_or_make(super::super::testing::kind(), Selection::all_of(filters));
        let mut matching = Vec::new();
        let event = super::super::testing::event_to(1, &["a", "b"]);
        audiences.matching(&event, &mut matching);
        assert_eq!(matching, [key]);
    }

    #[test]
    fn an_audience_hears_of_the_names_that_it_has_asked_for() {
        let mut audiences = Audiences::default();
        let mut audience = |names: &[&str]| {
            let filters = Box::from([Filter::parse("a").unwrap()]);
            let names = EventNames::only(names.iter().map(|&name| name.into()).collect());
            audiences.find_or_make(super::super::testing::kind(), Selection { filters, names })
        };
        let (unnamed, other) = (audience(&["message", "x"]), audience(&["x"]));
        assert_eq!(audience(&["x", "message", "x"]), unnamed);
        let event = super::super::testing::event_to(1, &["a"]);
        let mut matching = Vec::new();
        audiences.matching(&event, &mut matching);
        assert_eq!(matching, [unnamed]);
        assert_ne!(unnamed, other);
    }
}
