//! The answer to a long poll: what a stream would have been sent, as one JSON text.

use std::sync::Arc;

use serde::Serialize;

use super::control::{Gap, GapData};
use crate::event::{Destination, Event};
use crate::history::Wants;
use crate::sse::{Epoch, EventId};
use crate::topic::BROADCAST;

#[derive(Serialize)]
struct Answer<'a> {
    events: Vec<PolledEvent<'a>>,
    cursor: String,
    gap: Option<GapData>,
}

#[derive(Serialize)]
struct PolledEvent<'a> {
    id: String,
    topic: &'a str,
    event: Option<String>,
    data: String,
}

/// Encodes an answer to a client who `wants` these events: they come after `gap`, if there is one, and
/// after them the client has everything up to `cursor`.
pub fn answer(
    epoch: Epoch,
    wants: Wants<'_>,
    events: &[Arc<Event>],
    gap: Option<&Gap>,
    cursor: u64,
) -> String {
    let id = |seq| EventId { epoch, seq }.to_string();
    let polled = events.iter().map(|event| PolledEvent {
        id: id(event.seq),
        topic: topic_of(event, wants),
        event: event.frame.name().map(|name| String::from_utf8_lossy(name).into_owned()),
        data: event.frame.data(),
    });
    let answer = Answer {
        events: polled.collect(),
        cursor: id(cursor),
        gap: gap.map(|gap| GapData::new(gap, epoch)),
    };
    serde_json::to_string(&answer).expect("an answer is strings and numbers")
}

/// By which of its topics an event reaches who wants these: of the others they may not know.
fn topic_of<'a>(event: &'a Event, wants: Wants<'_>) -> &'a str {
    let Destination::Topics(topics) = &event.to else { return BROADCAST };
    let wanted = |topic: &&_| wants.filters.iter().any(|filter| filter.matches(topic));
    topics.iter().find(wanted).map_or(BROADCAST, |topic| topic.as_str())
}
