//! Server-Sent Events on the wire: ids and frames, and streams of others. Encodes each event once, into
//! bytes that every stream shares; refuses nothing (callers have validated names). Called by the hub for
//! events and by shards for control events. Parses what upstream servers send, for
//! `event_stream` and `hook`.
//!
//! The format is WHATWG HTML 9.2.5; the reference decoder that holds the encoder to it lives in
//! `tests/support/sse.rs`, apart from this code.

mod cursor;
mod frame;
mod gzip;
mod parse;
mod reason;

pub use cursor::{Cursor, Epoch, EventId};
pub use frame::{Draft, Fields, Frame, comment, encoded_len, remark, retry};
pub use gzip::{Gzip, gzip_header, stored};
pub use parse::{Item, Message, Parser};
pub use reason::{EndReason, GapReason};

/// The header field by which a client says what it has already.
pub const LAST_EVENT_ID: &str = "last-event-id";
