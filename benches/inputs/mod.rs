//! What both kinds of benches work on: events, a full index, and a crowd of streams.

pub(crate) mod crowd;
pub(crate) mod past;

use std::sync::Arc;
use std::time::Instant;

use tidegate::event::{Destination, Event};
use tidegate::hub::Submission;
use tidegate::shard::bench::Matcher;
use tidegate::sse::{Draft, Epoch, EventId, Fields, Gzip};
use tidegate::topic::{Filter, Topic};

/// Bytes of data of an event, unless a bench says otherwise: a small JSON object.
pub(crate) const DATA_BYTES: usize = 128;

/// Subscriptions in the index of the matching benches, each a set of its own.
pub(crate) const SUBSCRIPTIONS: usize = 100_000;

/// Streams that want the topic `crowded` besides their own.
pub(crate) const CROWDED: usize = 1_000;

/// A draft with so many bytes of data, all on one line.
pub(crate) fn draft(data_bytes: usize) -> Draft {
    let data = "x".repeat(data_bytes);
    Draft::new(&Fields { event: Some("task.status"), retry_ms: None, data: &data })
}

/// The id of some event of a gateway that has run for a while.
pub(crate) fn id() -> EventId {
    EventId { epoch: Epoch::new(0x1691_7c3f_face), seq: 123_456_789 }
}

pub(crate) fn to_topic(topic: &str) -> Destination {
    Destination::Topics([Topic::parse(topic).expect("a valid topic")].into())
}

/// An event that nobody has ordered, with a `seq` of 0.
pub(crate) fn event(to: Destination) -> Event {
    Event {
        seq: 0,
        to,
        frame: draft(DATA_BYTES).seal(id()),
        accepted: Instant::now(),
        expires: None,
        conflate: None,
        gzip: Gzip::default(),
        is_last: false,
    }
}

pub(crate) fn shared_events(count: usize) -> Vec<Arc<Event>> {
    (0..count).map(|_| Arc::new(event(Destination::Everyone))).collect()
}

pub(crate) fn submission(to: Destination) -> Submission {
    Submission {
        to,
        draft: draft(DATA_BYTES),
        ttl: None,
        retain: None,
        key: None,
        conflate: None,
        is_last: false,
    }
}

pub(crate) fn filters<'a>(texts: impl IntoIterator<Item = &'a str>) -> Box<[Filter]> {
    let parse = |text| Filter::parse(text).expect("a valid filter");
    let mut filters: Vec<_> = texts.into_iter().map(parse).collect();
    filters.sort_unstable();
    filters.into()
}

/// An index of exact topics: `board.0`, `board.1` and so on, and `crowded`.
pub(crate) fn exact_matcher() -> Matcher {
    let mut matcher = Matcher::default();
    for number in 0..SUBSCRIPTIONS {
        let own = format!("board.{number}");
        let crowded = (number < CROWDED).then_some("crowded");
        matcher.subscribe(filters([own.as_str()].into_iter().chain(crowded)));
    }
    matcher
}

/// An index of patterns: `board.0.*`, `board.1.*` and so on, and four that catch much.
pub(crate) fn pattern_matcher() -> Matcher {
    let mut matcher = Matcher::default();
    for number in 0..SUBSCRIPTIONS {
        matcher.subscribe(filters([format!("board.{number}.*").as_str()]));
    }
    for wide in [">", "board.>", "board.*.moved", "*.*.*"] {
        matcher.subscribe(filters([wide]));
    }
    matcher
}
