//! The rules of sources. The internal API asks for those of one source too.

use std::collections::HashSet;

use super::{Broken, MILLISECOND};
use crate::config::schema::{Config, Source};
use crate::config::units::Interval;
use crate::topic::Topic;

/// Longest name: part of topics.
const NAME_BYTES_MAX: usize = 128;

/// As for those of publishers.
const CONFLATE_KEY_BYTES_MAX: usize = 256;

/// Delay before a reconnect, at least: a server that closes each connection must not become a loop.
const RETRY_MIN: Interval = Interval(std::time::Duration::from_millis(10));

/// More sources than one process has descriptors for.
const SOURCES_MAX: usize = 1_000_000;

/// Fields that are not the operator's to set: they would break the request, or are ours.
const FIELDS_REFUSED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn sources(config: &Config, broken: &mut Broken) {
    let sources = &config.sources;
    broken.within("sources.sources_max", sources.sources_max, 1, SOURCES_MAX);
    broken.at_most("source", config.source.len(), sources.sources_max);
    // With the longest name behind it.
    let below = format!("{}.{}", sources.topic, "n".repeat(NAME_BYTES_MAX));
    if !sources.topic.is_empty()
        && let Err(error) = Topic::parse(&below)
    {
        let topic = &sources.topic;
        let message = format!("`sources.topic` is {topic:?}; with a source's name: {error}");
        broken.add(&["sources.topic"], message);
    }
    let mut names = HashSet::new();
    for (index, entry) in config.source.iter().enumerate() {
        for fault in entry.faults() {
            broken.add(&["source"], format!("`source[{index}].{fault}"));
        }
        if !names.insert(entry.name.as_str()) {
            let name = &entry.name;
            let message = format!(
                "`source[{index}].name` is {name:?}, like that of a source before it; give each a \
                 name of its own"
            );
            broken.add(&["source"], message);
        }
    }
}

impl Source {
    /// What is wrong with it alone: each begins with the field's name and a backtick.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_word) {
            let name = &self.name;
            faults.push(format!(
                "name` is {name:?}; give it 1 to {NAME_BYTES_MAX} letters, digits, `-` and `_`"
            ));
        }
        if self.topics.is_empty() {
            faults.push("topics` is empty; name at least one topic".into());
        }
        let is_key = |name: &String| (1..=CONFLATE_KEY_BYTES_MAX).contains(&name.len());
        if let Some(name) = self.conflate.iter().find(|name| !is_key(name)) {
            faults.push(format!(
                "conflate` has {name:?}; name events, with 1 to {CONFLATE_KEY_BYTES_MAX} bytes each"
            ));
        }
        let refused = self.headers.keys().find(|name| FIELDS_REFUSED.contains(&name.0.as_str()));
        if let Some(name) = refused {
            faults.push(format!("headers` has {:?}, which is not to be set", name.0.as_str()));
        }
        if self.connect_timeout < MILLISECOND {
            let time = self.connect_timeout;
            faults.push(format!("connect_timeout` is {time}; it must be at least {MILLISECOND}"));
        }
        if self.event_bytes_max.0 == 0 {
            faults.push("event_bytes_max` is 0B; it must be at least 1B".into());
        }
        if self.retry < RETRY_MIN {
            faults.push(format!("retry` is {}; it must be at least {RETRY_MIN}", self.retry));
        }
        if self.retry_max < self.retry {
            let (max, retry) = (self.retry_max, self.retry);
            faults.push(format!("retry_max` is {max}; it must be at least `retry`, {retry}"));
        }
        if !(1.0..=100.0).contains(&self.retry_factor) {
            faults.push(format!("retry_factor` is {}; it must be 1 to 100", self.retry_factor));
        }
        if !(0.0..=1.0).contains(&self.retry_jitter) {
            faults.push(format!("retry_jitter` is {}; it must be 0 to 1", self.retry_jitter));
        }
        faults
    }
}
