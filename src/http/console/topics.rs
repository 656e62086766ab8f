//! `/topics` and `/topics/{topic}`: what the history holds of topics, and how many streams get them.

use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tokio::task::yield_now;

use super::parameters::{Parameters, bad};
use super::{Answered, Console, json};
use crate::error::Problem;
use crate::history::TopicReport;
use crate::inspect::VISITS;
use crate::topic::{BROADCAST, Filter, Topic};

/// A topic as it is shown.
#[derive(Serialize)]
struct Shown {
    topic: String,
    subscribers: u64,
    events: usize,
    bytes: usize,
    first_id: Option<String>,
    last_id: Option<String>,
    retained: usize,
}

#[derive(Serialize)]
struct List {
    topics: Vec<Shown>,
    next: Option<String>,
}

impl Console {
    pub(super) async fn list_topics<S>(&self, head: &Parts) -> Answered<S> {
        let parameters = Parameters::read(head, &["prefix", "pattern", "after", "limit"])?;
        let prefix = parameters.get("prefix").unwrap_or_default();
        let pattern = parameters.get("pattern").map(Filter::parse).transpose();
        let pattern = pattern.map_err(|error| bad("pattern", error.to_string()))?;
        let is_wanted = |name: &str| {
            let matches =
                |pattern: &Filter| Topic::parse(name).is_ok_and(|it| pattern.matches(&it));
            name.starts_with(prefix) && pattern.as_ref().is_none_or(matches)
        };
        let limit = parameters.limit()?;
        let from = parameters.parsed("after", "the `next` of a page before")?;
        let (mut found, mut next) = (Vec::new(), Some(from.unwrap_or_default()));
        while let Some(from) = next.filter(|_| found.len() < limit) {
            let page = self.hub.topics_from(from, VISITS, limit - found.len(), is_wanted);
            found.extend(page.topics);
            next = page.next;
            // The shard turns, and others have the hub's lock.
            yield_now().await;
        }
        let next = next.map(|place| place.to_string());
        Ok(json(&List { topics: self.with_subscribers(found).await, next }))
    }

    pub(super) async fn show_topic<S>(&self, encoded: &str, head: &Parts) -> Answered<S> {
        Parameters::read(head, &[])?;
        let name = percent_decode_str(encoded).decode_utf8();
        let bad = |detail: String| Problem::new(400, "bad-topic", "Bad topic", detail);
        let name = name.map_err(|_| bad("it is not UTF-8".into()))?;
        let topic = Topic::parse(&name).map_err(|error| bad(error.to_string()))?;
        let unknown = TopicReport {
            topic: Some(topic.clone()),
            events: 0,
            bytes: 0,
            first: None,
            last: 0,
            retained: 0,
        };
        let report = self.hub.topic(&topic).unwrap_or(unknown);
        let shown = self.with_subscribers(vec![report]).await;
        Ok(json(&shown[0]))
    }

    async fn with_subscribers(&self, reports: Vec<TopicReport>) -> Vec<Shown> {
        let names = reports.iter().map(|report| report.topic.clone()).collect();
        let subscribers = self.inspector.subscribers(names).await;
        let id = |seq: u64| self.hub.id(seq).to_string();
        let shown = reports.into_iter().zip(subscribers).map(|(report, subscribers)| Shown {
            topic: report.topic.as_ref().map_or(BROADCAST, Topic::as_str).to_owned(),
            subscribers,
            events: report.events,
            bytes: report.bytes,
            first_id: report.first.map(id),
            last_id: Some(report.last).filter(|last| *last > 0).map(id),
            retained: report.retained,
        });
        shown.collect()
    }
}
