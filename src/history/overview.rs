//! What is held, topic by topic, for who looks after the gateway. A page looks at a bounded number of
//! topics, since the hub's lock is held meanwhile.

use std::sync::Arc;

use super::History;
use super::topic::TopicHistory;
use crate::event::Event;
use crate::topic::Topic;

/// What is held of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicReport {
    /// `None` is what goes to everyone.
    pub topic: Option<Topic>,
    /// Events.
    pub events: usize,
    /// Bytes that they count for.
    pub bytes: usize,
    /// `seq` of the oldest event that is held.
    pub first: Option<u64>,
    /// `seq` of the last event there was; 0 where there was none.
    pub last: u64,
    /// Retained values.
    pub retained: usize,
}

/// A page of topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicPage {
    /// In no order that means anything.
    pub topics: Vec<TopicReport>,
    /// Where to go on; `None` behind the last topic.
    pub next: Option<usize>,
}

impl History {
    /// The next `most` topics that are `wanted` by their names (`*` is what goes to everyone), from a
    /// place on: 0, or what the page before gave. Looks at `visits` topics at most. A topic that is there
    /// while all pages are read is on exactly one of them. The gateway's own topics are on none.
    pub fn topics_from(
        &self,
        from: usize,
        visits: usize,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> TopicPage {
        let mut topics = Vec::new();
        for (visited, key) in (from..self.topics.capacity()).enumerate() {
            if visited == visits || topics.len() == most {
                return TopicPage { topics, next: Some(key) };
            }
            let Some(topic) = self.topics.get(key) else { continue };
            if !Topic::is_private_name(topic.text()) && wanted(topic.text()) {
                topics.push(topic.report());
            }
        }
        TopicPage { topics, next: None }
    }

    /// What is held of one topic, if anything is known of it.
    pub fn topic(&self, topic: &Topic) -> Option<TopicReport> {
        self.find(topic.as_str()).map(|key| self.topics[key].report())
    }
}

impl TopicHistory<Arc<Event>> {
    fn report(&self) -> TopicReport {
        TopicReport {
            topic: self.name.clone(),
            events: self.len(),
            bytes: self.bytes,
            first: self.oldest().map(|event| event.seq),
            last: self.last,
            retained: self.retained.len(),
        }
    }
}
