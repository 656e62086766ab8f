//! Doubly linked lists through the table of topics, so that a topic changes its place in an order
//! in constant time and without an allocation.

use slab::Slab;

use super::topic::{TopicHistory, TopicKey};

const NONE: u32 = u32::MAX;

/// A topic's place in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    previous: u32,
    next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// Which of a topic's links a list goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Through {
    Recency = 0,
    Size = 1,
}

/// One list. A topic is in at most one list of each kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    through: Through,
    first: u32,
    last: u32,
}

impl List {
    pub(super) const fn new(through: Through) -> Self {
        Self { through, first: NONE, last: NONE }
    }

    pub(super) fn first(&self) -> Option<TopicKey> {
        (self.first != NONE).then_some(self.first as TopicKey)
    }

    pub(super) fn last(&self) -> Option<TopicKey> {
        (self.last != NONE).then_some(self.last as TopicKey)
    }

    /// The topic before `key`.
    pub(super) fn before<E>(
        &self,
        topics: &Slab<TopicHistory<E>>,
        key: TopicKey,
    ) -> Option<TopicKey> {
        let previous = topics[key].links[self.through as usize].previous;
        (previous != NONE).then_some(previous as TopicKey)
    }

    /// Appends a topic that is in no list of this kind.
    pub(super) fn push<E>(&mut self, topics: &mut Slab<TopicHistory<E>>, key: TopicKey) {
        let at = key as u32;
        topics[key].links[self.through as usize] = Link { previous: self.last, next: NONE };
        match self.last() {
            Some(last) => topics[last].links[self.through as usize].next = at,
            None => self.first = at,
        }
        self.last = at;
    }

    /// Takes a topic out that is in this list.
    pub(super) fn remove<E>(&mut self, topics: &mut Slab<TopicHistory<E>>, key: TopicKey) {
        let through = self.through as usize;
        let Link { previous, next } = std::mem::take(&mut topics[key].links[through]);
        match previous {
            NONE => self.first = next,
            previous => topics[previous as TopicKey].links[through].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => topics[next as TopicKey].links[through].previous = previous,
        }
    }

    /// Moves a topic that is in this list to its end.
    pub(super) fn move_to_end<E>(&mut self, topics: &mut Slab<TopicHistory<E>>, key: TopicKey) {
        if self.last != key as u32 {
            self.remove(topics, key);
            self.push(topics, key);
        }
    }
}
