//! What is known of a source: written by its task, read by the internal API.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::config::schema::{self, REDACTED};
use crate::metrics::{SourceEvent, SourceState};

/// Where a source is, and what it has done.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) state: SourceState,
    pub(super) since_ms: u64,
    /// Failures one after the other.
    pub(super) attempts: u32,
    pub(super) last_error: Option<String>,
    /// Why what it has read cannot be published now.
    pub(super) held: Option<String>,
    pub(super) last_event_id: String,
    /// Streams it has opened.
    pub(super) connections: u64,
    pub(super) events: Events,
    pub(super) last_refused: Option<String>,
}

/// What it has read, by what became of it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Events {
    published: u64,
    duplicate: u64,
    refused: u64,
    too_large: u64,
}

impl Events {
    pub(super) fn add(&mut self, what: SourceEvent, count: u64) {
        let counter = match what {
            SourceEvent::Published => &mut self.published,
            SourceEvent::Duplicate => &mut self.duplicate,
            SourceEvent::Refused => &mut self.refused,
            SourceEvent::TooLarge => &mut self.too_large,
        };
        *counter += count;
    }
}

/// A source as the internal API shows it. Never a secret: neither header fields nor a URL's query.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    name: String,
    url: String,
    /// Whether it is in the configuration; the others were put by the API.
    configured: bool,
    state: &'static str,
    /// When that began, in milliseconds since 1970.
    since_ms: u64,
    /// Failures one after the other.
    attempts: u32,
    /// Streams it has opened.
    connections: u64,
    /// Why it is not connected, or was not when it last was so.
    last_error: Option<String>,
    /// Why what it has read cannot be published now; it reads no further until then.
    held: Option<String>,
    last_event_id: String,
    events: Events,
    /// Why the last refused event was.
    last_refused: Option<String>,
}

impl Status {
    /// Of a source whose task has not begun. `last_event_id` is what it resumes from.
    pub(super) fn new(last_event_id: String) -> Self {
        Self {
            state: SourceState::Connecting,
            since_ms: now_ms(),
            attempts: 0,
            last_error: None,
            held: None,
            last_event_id,
            connections: 0,
            events: Events::default(),
            last_refused: None,
        }
    }

    pub(super) fn report(&self, spec: &schema::Source, configured: bool) -> Report {
        let Self { state, since_ms, attempts, connections, events, .. } = *self;
        Report {
            name: spec.name.clone(),
            url: spec.url.without_query(REDACTED).into(),
            configured,
            state: state.as_str(),
            since_ms,
            attempts,
            connections,
            last_error: self.last_error.clone(),
            held: self.held.clone(),
            last_event_id: self.last_event_id.clone(),
            events,
            last_refused: self.last_refused.clone(),
        }
    }
}

pub(super) fn now_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_epoch.as_millis() as u64
}
