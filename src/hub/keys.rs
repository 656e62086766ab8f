//! Idempotency keys: what a publisher has sent once, and sends again because it did not hear the
//! answer, gets the first answer again. Kept for a while, and bounded: when there are too many, new
//! ones are refused, since to forget one early could publish something twice.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// How long keys are remembered, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyBounds {
    /// Time from a publish in which its key is recognised.
    pub window: Duration,
    /// Keys. Each takes its own length and about 130 bytes.
    pub keys_max: usize,
}

impl Default for KeyBounds {
    /// What the configuration has by default.
    fn default() -> Self {
        Self { window: Duration::from_secs(120), keys_max: 200_000 }
    }
}

/// What a key stands for: of a request or of one event of it, which are two different things.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A whole request.
    Request(Arc<[u8]>),
    /// One event.
    Event(Arc<[u8]>),
}

const REQUEST: u8 = b'r';
const EVENT: u8 = b'e';

impl Key {
    /// As the log keeps it.
    pub(super) fn to_log(&self) -> Vec<u8> {
        let (kind, key) = match self {
            Self::Request(key) => (REQUEST, key),
            Self::Event(key) => (EVENT, key),
        };
        [&[kind], &key[..]].concat()
    }

    /// What the log has kept.
    pub(super) fn from_log(text: &[u8]) -> Option<Self> {
        match text.split_first()? {
            (&REQUEST, key) => Some(Self::Request(key.into())),
            (&EVENT, key) => Some(Self::Event(key.into())),
            _ => None,
        }
    }
}

/// The events that were published with a key: consecutive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) first: u64,
    pub(super) count: usize,
}

pub(super) struct Keys {
    bounds: KeyBounds,
    published: HashMap<Key, (Published, Instant)>,
    /// By age: all are remembered for the same time.
    oldest_first: VecDeque<(Instant, Key)>,
}

impl Keys {
    pub(super) fn new(bounds: KeyBounds) -> Self {
        Self { bounds, published: HashMap::new(), oldest_first: VecDeque::new() }
    }

    /// Puts other bounds in place. More keys than they allow stay until their time is over.
    pub(super) fn set_bounds(&mut self, bounds: KeyBounds) {
        self.bounds = bounds;
    }

    pub(super) fn find(&self, key: &Key) -> Option<Published> {
        self.published.get(key).map(|(published, _)| *published)
    }

    /// Whether so many more can be remembered.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.published.len() + more <= self.bounds.keys_max
    }

    /// Remembers a key that is not known yet.
    pub(super) fn add(&mut self, key: Key, published: Published, now: Instant) {
        let replaced = self.published.insert(key.clone(), (published, now));
        debug_assert_eq!(replaced, None);
        self.oldest_first.push_back((now, key));
    }

    /// Takes a key back whose events were not published after all.
    pub(super) fn remove(&mut self, key: &Key) {
        self.published.remove(key);
    }

    /// An event that the log has kept, of a key that may have several.
    pub(super) fn recover(&mut self, key: Key, seq: u64, accepted: Instant) {
        match self.published.get_mut(&key) {
            Some((published, _)) if published.first + published.count as u64 == seq => {
                published.count += 1;
            }
            Some(_) => {}
            None => self.add(key, Published { first: seq, count: 1 }, accepted),
        }
    }

    /// Forgets the keys whose time is over.
    pub(super) fn forget_old(&mut self, now: Instant) {
        while let Some((since, _)) = self.oldest_first.front()
            && now.saturating_duration_since(*since) >= self.bounds.window
            && let Some((since, key)) = self.oldest_first.pop_front()
        {
            // It may have been taken back, and added again.
            if self.published.get(&key).is_some_and(|(_, added)| *added == since) {
                self.published.remove(&key);
            }
        }
        if self.published.is_empty() && self.oldest_first.capacity() > 0 {
            *self = Self::new(self.bounds);
        }
    }
}

#[cfg(test)]
mod tests {
    //! How long a key is known, and how many are.

    use super::*;

    fn key(text: &str) -> Key {
        Key::Event(text.as_bytes().into())
    }

    #[test]
    fn a_key_is_known_for_its_window_and_for_its_kind() {
        let mut keys = Keys::new(KeyBounds { window: Duration::from_secs(120), keys_max: 2 });
        let start = Instant::now();
        let published = Published { first: 7, count: 1 };
        keys.add(key("a"), published, start);
        keys.forget_old(start + Duration::from_secs(119));
        assert_eq!(keys.find(&key("a")), Some(published));
        assert_eq!(keys.find(&Key::Request(b"a"[..].into())), None);
        keys.forget_old(start + Duration::from_secs(120));
        assert_eq!(keys.find(&key("a")), None);
    }

    #[test]
    fn there_is_room_for_so_many() {
        let mut keys = Keys::new(KeyBounds { window: Duration::from_secs(1), keys_max: 2 });
        let start = Instant::now();
        assert!(keys.has_room(2) && !keys.has_room(3));
        keys.add(key("a"), Published { first: 1, count: 1 }, start);
        assert!(keys.has_room(1) && !keys.has_room(2));
        keys.forget_old(start + Duration::from_secs(1));
        assert!(keys.has_room(2));
    }
}
