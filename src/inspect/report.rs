//! A stream as the internal API shows it. Computed when somebody asks: streams keep nothing for it.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use super::StreamId;
use crate::sse::EventId;
use crate::topic::Filter;

/// Topics of one stream that a list shows. A stream by itself is shown with all.
pub const TOPICS_SHOWN: usize = 16;

/// What a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It gets events as they come.
    Live,
    /// Its client does not read fast enough: events wait for it.
    Behind,
    /// It is read to from the history.
    Replaying,
    /// It gets what still waits for it, and its `end`.
    Ending,
}

/// Events that a stream has lost and has not been told of yet.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GapOwed {
    /// The last of them.
    #[serde(serialize_with = "as_text")]
    pub to: EventId,
    /// How many.
    pub count: u64,
}

/// One stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    /// Its name.
    pub id: StreamId,
    /// The shard that has it.
    pub shard: usize,
    /// What it is doing.
    pub state: State,
    /// `http1`, `http2`, or `poll` for a long poll over either.
    pub protocol: &'static str,
    /// Whether its events are compressed.
    pub compressed: bool,
    /// The path of its route, with the names of its parameters; `None` for an app server's stream that
    /// clients share.
    pub route: Option<Box<str>>,
    /// Who is at the other end of the connection; `None` where the shard does not have the socket.
    pub address: Option<SocketAddr>,
    /// Topics and patterns that it has asked for: in a list the first [`TOPICS_SHOWN`].
    #[serde(serialize_with = "as_texts")]
    pub topics: Vec<Filter>,
    /// How many it has asked for.
    pub topics_count: usize,
    /// Names of the events that it has asked for; `None` for all.
    pub names: Option<Box<[Box<str>]>>,
    /// When it opened, in milliseconds since 1970, to 50 ms.
    pub opened_ms: u64,
    /// Up to where it has been sent everything, or been told that it is lost.
    #[serde(serialize_with = "as_text")]
    pub cursor: EventId,
    /// Events that wait for it; `None` while it reads the history, which nobody counts.
    pub waiting: Option<u64>,
    /// What it has lost and not been told of.
    pub gap_owed: Option<GapOwed>,
    /// The session that the app server has named.
    pub session: Option<Box<str>>,
}

pub(super) fn as_text<S: Serializer>(id: &EventId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

pub(super) fn as_texts<S: Serializer>(topics: &[Filter], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(topics.iter().map(Filter::as_str))
}
