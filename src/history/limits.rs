//! How much of the past is kept: of one topic, and of all together.

use std::time::Duration;

use crate::topic::{Filter, Topic};

/// How much of one topic's past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events.
    pub events_max: usize,
    /// Bytes: those of the frames, and about 230 for each beside them.
    pub bytes_max: usize,
    /// Age of an event.
    pub age_max: Duration,
}

/// How much of the past is kept in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of a topic that nothing in `overrides` matches.
    pub topic: Limits,
    /// Of the topics that a filter matches; the first that does counts.
    pub overrides: Box<[(Filter, Limits)]>,
    /// Bytes of all topics together, the topics' own bookkeeping included.
    pub bytes_max: usize,
    /// Topics that something is known of.
    pub topics_max: usize,
    /// Bytes of retained values, which are in no other bound: they are never evicted.
    pub retained_bytes_max: usize,
}

impl Default for Bounds {
    /// What the configuration has by default.
    fn default() -> Self {
        Self {
            topic: Limits {
                events_max: 1_000,
                bytes_max: 1 << 20,
                age_max: Duration::from_secs(3600),
            },
            overrides: Box::default(),
            bytes_max: 64 << 20,
            topics_max: 100_000,
            retained_bytes_max: 16 << 20,
        }
    }
}

impl Bounds {
    /// The limits of `topic`.
    pub(super) fn limits(&self, topic: &Topic) -> Limits {
        let of = |(filter, limits): &(Filter, Limits)| filter.matches(topic).then_some(*limits);
        self.overrides.iter().find_map(of).unwrap_or(self.topic)
    }
}
