//! What a source has published last: some servers begin with the last event again when a client resumes.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::sse::Message;

/// Events that are remembered, and that are looked at after a reconnect. Eight bytes each.
const EVENTS_MAX: usize = 256;

/// The last events that had an id of their own, by a hash of all they say. Equal ids alone are not
/// enough: some servers give several events the same.
#[derive(Debug, Default)]
pub(super) struct Recent {
    hashes: VecDeque<u64>,
    /// Events that may still be repeated ones.
    suspects: usize,
}

impl Recent {
    /// The stream begins anew.
    pub(super) fn reconnected(&mut self) {
        self.suspects = self.hashes.len();
    }

    /// Whether an event came before the reconnect already; if not, it is remembered.
    pub(super) fn is_repeated(&mut self, message: &Message<'_>) -> bool {
        if !message.has_id || message.last_event_id.is_empty() {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        (message.last_event_id, message.event, message.data).hash(&mut hasher);
        let hash = hasher.finish();
        if self.suspects > 0 {
            self.suspects -= 1;
            if self.hashes.contains(&hash) {
                return true;
            }
        }
        if self.hashes.len() == EVENTS_MAX {
            self.hashes.pop_front();
        }
        self.hashes.push_back(hash);
        false
    }
}

/// What belongs here: what counts as repeated.
#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(id: &'a str, data: &'a str) -> Message<'a> {
        Message { event: None, data, last_event_id: id, has_id: true }
    }

    #[test]
    fn only_what_comes_again_after_a_reconnect_is_repeated() {
        let mut recent = Recent::default();
        let sent = [("1", "a"), ("2", "b"), ("2", "b"), ("2", "c")];
        assert!(sent.iter().all(|(id, data)| !recent.is_repeated(&message(id, data))));
        recent.reconnected();
        assert!(recent.is_repeated(&message("2", "c")));
        assert!(!recent.is_repeated(&message("2", "d")), "the same id, and another event");
        let without = Message { has_id: false, ..message("2", "c") };
        assert!(!recent.is_repeated(&without), "no id of its own");
        assert!(!recent.is_repeated(&message("3", "c")));
        assert!(recent.is_repeated(&message("1", "a")));
        assert!(!recent.is_repeated(&message("1", "a")), "as many as could be repeated have come");
    }

    #[test]
    fn no_more_is_remembered_than_may() {
        let mut recent = Recent::default();
        for id in 0..2000 {
            assert!(!recent.is_repeated(&message(&id.to_string(), "")));
        }
        assert!(recent.hashes.len() <= EVENTS_MAX);
        recent.reconnected();
        assert!(recent.is_repeated(&message("1999", "")));
        assert!(!recent.is_repeated(&message("1", "")));
    }
}
