//! Snapshots: what a stream's client is told first, in the app server's words.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;

use super::answers::Bytes;
use super::ask::{Answered, Client, Question, Server};
use super::error::{HookError, HookFault};
use crate::config::schema::{self, OnFailure};
use crate::config::web::OptionalUrl;
use crate::media;
use crate::sse::{Draft, EventId, Fields, Frame, Gzip, Item, Parser, comment};
use crate::tls::TlsError;

const ACCEPT: &str = "application/json, application/x-ndjson, text/event-stream";

/// The first events of streams.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    after: u64,
    /// All of its events, the last with the place in the order that the snapshot is of. One that breaks
    /// off leaves its client's cursor where it was, and the client gets a whole one when it comes back.
    moving: Forms,
    /// The same without an id, for streams that are told more before their cursor moves there.
    staying: Option<Forms>,
}

/// A frame for streams that are not compressed, and for those that are.
#[derive(Debug, PartialEq, Eq)]
struct Forms {
    frame: Frame,
    gzip: Gzip,
}

impl From<Frame> for Forms {
    fn from(frame: Frame) -> Self {
        Self { frame, gzip: Gzip::default() }
    }
}

impl Snapshot {
    /// Everything that was published up to here is in it: events after this come behind it.
    pub fn after(&self) -> u64 {
        self.after
    }

    /// Its frame, which moves the client's cursor or leaves it where it is.
    pub fn frame(&self, moves_cursor: bool) -> Option<&Frame> {
        self.forms(moves_cursor).map(|forms| &forms.frame)
    }

    /// Like [`Snapshot::frame`], for a compressed stream.
    pub fn gzip_frame(&self, moves_cursor: bool) -> Option<&Frame> {
        self.forms(moves_cursor).map(|forms| forms.gzip.of(&forms.frame))
    }

    fn forms(&self, moves_cursor: bool) -> Option<&Forms> {
        if moves_cursor { Some(&self.moving) } else { self.staying.as_ref() }
    }

    fn new(events: &[Event], after: EventId) -> Self {
        let draft = |event: &Event| {
            let event_name = event.name.as_deref();
            Draft::new(&Fields { event: event_name, retry_ms: None, data: &event.data })
        };
        let staying: Vec<_> = events.iter().map(|event| draft(event).seal_without_id()).collect();
        let Some((last, others)) = events.split_last() else {
            return Self { after: after.seq, moving: comment(after).into(), staying: None };
        };
        let mut moving = staying[..others.len()].to_vec();
        moving.push(draft(last).seal(after));
        Self {
            after: after.seq,
            moving: Frame::joined(&moving).into(),
            staying: Some(Frame::joined(&staying).into()),
        }
    }
}

struct Event {
    name: Option<String>,
    data: String,
}

/// What has become of a fetch, to be shared.
pub(super) type Fetched = Result<Arc<Snapshot>, HookError>;

impl Bytes for Fetched {
    fn bytes(&self) -> usize {
        match self {
            Ok(snapshot) => {
                let sizes = [true, false].map(|moves| snapshot.frame(moves).map_or(0, Frame::size));
                sizes.iter().sum()
            }
            Err(HookError::Denied(denial)) => denial.body.len(),
            Err(_) => 0,
        }
    }
}

/// The snapshots of one route.
pub(super) struct SnapshotHook {
    spec: schema::Snapshot,
    server: Server,
    /// The names of the route's control events.
    reserved: HashSet<String>,
}

impl SnapshotHook {
    pub(super) fn new(
        spec: &schema::Snapshot,
        upstream: &OptionalUrl,
        reserved: HashSet<String>,
    ) -> Result<Self, TlsError> {
        let url = spec.url.server(upstream).expect("a valid configuration has it");
        let ca = ("stream.routes.snapshot.ca", &*spec.ca);
        let server = Server::new(url, ca, ACCEPT, spec.timeout.0, spec.bytes_max.0)?;
        Ok(Self { spec: spec.clone(), server, reserved })
    }

    pub(super) fn question(&self, client: &Client<'_>) -> Question {
        Question::new(&self.spec.url, &self.spec.headers, client)
    }

    pub(super) fn ttl(&self) -> Duration {
        self.spec.ttl.0
    }

    pub(super) fn on_failure(&self) -> OnFailure {
        self.spec.on_failure
    }

    /// Asks for the snapshot of everything up to `after`.
    pub(super) async fn fetch(
        &self,
        question: &Question,
        after: EventId,
        turns: &Semaphore,
    ) -> Fetched {
        let answered = self.server.ask(question, turns).await?;
        match answered.status {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => return Ok(Snapshot::new(&[], after).into()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                return Err(answered.denial());
            }
            status => return Err(HookFault::bad(format!("it is {status}, and not 200")).into()),
        }
        let events = self.events(&answered)?;
        for name in events.iter().filter_map(|event| event.name.as_deref()) {
            if self.reserved.contains(name) {
                let why = format!("an event is named {name:?}, as a control event is");
                return Err(HookFault::bad(why).into());
            }
            if name.chars().any(char::is_control) {
                return Err(HookFault::bad("an event's name has control characters").into());
            }
        }
        Ok(Snapshot::new(&events, after).into())
    }

    fn events(&self, answered: &Answered) -> Result<Vec<Event>, HookFault> {
        let media = media::of_body(&answered.headers).to_ascii_lowercase();
        if media == "text/event-stream" {
            return Ok(self.events_of_stream(&answered.body));
        }
        let text = std::str::from_utf8(&answered.body);
        let text = text.map_err(|_| HookFault::bad("its body is not UTF-8"))?;
        let name = Some(&self.spec.event).filter(|name| !name.is_empty());
        let event = |data: &str| Event { name: name.cloned(), data: data.to_owned() };
        match &*media {
            "application/x-ndjson" | "application/jsonl" => {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                Ok(lines.map(event).collect())
            }
            media if media == "application/json" || media.ends_with("+json") => {
                Ok(vec![event(text.trim())])
            }
            _ => Err(HookFault::bad(format!(
                "its content-type is {media:?}; a snapshot is application/json, \
                 application/x-ndjson or text/event-stream"
            ))),
        }
    }

    /// Their ids are another order's, and go.
    fn events_of_stream(&self, body: &[u8]) -> Vec<Event> {
        // No event is larger than the body.
        let mut parser = Parser::new(self.spec.bytes_max.0, "");
        let mut rest = body;
        let mut events = Vec::new();
        while let Some(item) = parser.pull(&mut rest) {
            if let Item::Event(message) = item {
                let name = message.event.map(str::to_owned);
                events.push(Event { name, data: message.data.to_owned() });
            }
        }
        events
    }
}
