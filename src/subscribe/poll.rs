//! The answer to a long poll: what a stream would have been sent, as one JSON text.

use std::sync::Arc;

use serde::Serialize;

use super::control::{Gap, GapData};
use crate::event::{Destination, Event};
use crate::history::Wants;
use crate::sse::{Epoch, EventId, Frame, Item, Parser};
use crate::topic::BROADCAST;

#[derive(Serialize)]
struct Answer<'a> {
    events: Vec<PolledEvent<'a>>,
    cursor: String,
    gap: Option<GapData>,
}

/// An event of a snapshot has no topic, and no id where a stream is not told one.
#[derive(Serialize)]
struct PolledEvent<'a> {
    id: Option<String>,
    topic: Option<&'a str>,
    event: Option<String>,
    data: String,
}

/// What a poll is told, in the order of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What is lost before everything else.
    pub gap: Option<&'a Gap>,
    /// The frame of a snapshot, as a stream is sent it.
    pub snapshot: Option<&'a Frame>,
    /// What was published.
    pub events: &'a [Arc<Event>],
    /// Up to where the client has everything then.
    pub cursor: u64,
}

/// Encodes an answer to a client who `wants` these events.
pub fn answer(epoch: Epoch, wants: Wants<'_>, told: &Told<'_>) -> String {
    let id = |seq| EventId { epoch, seq }.to_string();
    let mut events = Vec::with_capacity(told.events.len());
    if let Some(snapshot) = told.snapshot {
        add_snapshot(snapshot, &mut events);
    }
    events.extend(told.events.iter().map(|event| PolledEvent {
        id: Some(id(event.seq)),
        topic: Some(topic_of(event, wants)),
        event: event.frame.name().map(|name| String::from_utf8_lossy(name).into_owned()),
        data: event.frame.data(),
    }));
    let gap = told.gap.map(|gap| GapData::new(gap, epoch));
    let answer = Answer { events, cursor: id(told.cursor), gap };
    serde_json::to_string(&answer).expect("an answer is strings and numbers")
}

/// Adds the events that the clients of streams read from a frame, by the algorithm that they do it by.
fn add_snapshot(frame: &Frame, events: &mut Vec<PolledEvent<'_>>) {
    let bytes = frame.bare();
    let mut rest = &*bytes;
    let mut parser = Parser::new(bytes.len(), "");
    while let Some(item) = parser.pull(&mut rest) {
        if let Item::Event(message) = item {
            events.push(PolledEvent {
                id: message.has_id.then(|| message.last_event_id.to_owned()),
                topic: None,
                event: message.event.map(str::to_owned),
                data: message.data.to_owned(),
            });
        }
    }
}

/// By which of its topics an event reaches who wants these: of the others they may not know.
fn topic_of<'a>(event: &'a Event, wants: Wants<'_>) -> &'a str {
    let Destination::Topics(topics) = &event.to else { return BROADCAST };
    let wanted = |topic: &&_| wants.filters.iter().any(|filter| filter.matches(topic));
    topics.iter().find(wanted).map_or(BROADCAST, |topic| topic.as_str())
}
