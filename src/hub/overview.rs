//! What the hub shows of what it holds, to who looks after the gateway.

use super::Hub;
use crate::history::{TopicPage, TopicReport};
use crate::topic::Topic;

impl Hub {
    /// What is held of the topics that are `wanted`, a page at a time: see
    /// [`History::topics_from`](crate::history::History::topics_from).
    pub fn topics_from(
        &self,
        from: usize,
        visits: usize,
        most: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> TopicPage {
        self.order().history.topics_from(from, visits, most, wanted)
    }

    /// What is held of one topic, if anything is known of it.
    pub fn topic(&self, topic: &Topic) -> Option<TopicReport> {
        self.order().history.topic(topic)
    }

    /// Events that wait in a shard's mailbox.
    pub fn waiting_for(&self, shard: usize) -> usize {
        self.mailboxes[shard].len()
    }
}
