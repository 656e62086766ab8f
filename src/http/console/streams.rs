//! `/streams` and `/streams/{id}`: who is connected, and the way to end one.

use http::request::Parts;
use serde::Serialize;

use super::parameters::{Parameters, bad};
use super::{Answered, Console, json};
use crate::error::Problem;
use crate::http::response::no_content;
use crate::inspect::{About, Search, StreamId, StreamReport};
use crate::sse::Cursor;
use crate::topic::{Filter, Topic};

#[derive(Serialize)]
struct List {
    streams: Vec<StreamReport>,
    next: Option<String>,
}

impl Console {
    pub(super) async fn list_streams<S>(&self, head: &Parts) -> Answered<S> {
        let known = ["topic", "address", "session", "after", "limit"];
        let parameters = Parameters::read(head, &known)?;
        let topic = parameters.get("topic").map(Filter::parse).transpose();
        let topic = topic.map_err(|error| {
            Problem::new(400, "bad-topic", "Bad topic", error.to_string()).in_field("topic")
        })?;
        let text = |name| parameters.get(name).map(str::to_owned);
        let search = Search { topic, address: text("address"), session: text("session") };
        let from = parameters.parsed("after", "the `next` of a page before")?.unwrap_or_default();
        let page = self.inspector.streams(search, from, parameters.limit()?).await;
        let next = page.next.map(|place| place.to_string());
        Ok(json(&List { streams: page.streams, next }))
    }

    pub(super) async fn show_stream<S>(&self, id: &str) -> Answered<S> {
        let stream = self.inspector.stream(parse(id)?).await;
        Ok(json(&stream.ok_or_else(gone)?))
    }

    pub(super) async fn explain<S>(&self, id: &str, head: &Parts) -> Answered<S> {
        let (id, about) = (parse(id)?, parse_about(head)?);
        Ok(json(&self.inspector.explain(id, about).await.ok_or_else(gone)?))
    }

    pub(super) async fn end_stream<S>(&self, id: &str) -> Answered<S> {
        match self.inspector.end(parse(id)?).await {
            true => Ok(no_content()),
            false => Err(gone()),
        }
    }
}

fn parse_about(head: &Parts) -> Result<About, Problem> {
    let parameters = Parameters::read(head, &["event", "topic"])?;
    match (parameters.get("event"), parameters.get("topic")) {
        (Some(event), None) => match Cursor::parse(event.as_bytes()) {
            Cursor::At(id) if id.seq > 0 => Ok(About::Event(id)),
            _ => Err(bad("event", "it is the id of an event")),
        },
        (None, Some(topic)) => {
            let topic = Topic::parse(topic).map_err(|error| {
                Problem::new(400, "bad-topic", "Bad topic", error.to_string()).in_field("topic")
            })?;
            Ok(About::Topic(topic))
        }
        _ => Err(bad("event", "say either an event by its id, or a topic")),
    }
}

fn parse(id: &str) -> Result<StreamId, Problem> {
    // What is no id is nobody's id.
    id.parse().map_err(|_| gone())
}

fn gone() -> Problem {
    let detail = "no stream has this id, or not any more; GET /streams lists those that are open";
    Problem::new(404, "no-stream", "No such stream", detail)
}
