//! The events of a response's body. Whoever has a response can read them: a source its own, the proxy one
//! that several clients share.

use bytes::{Buf, Bytes};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::media::EVENT_STREAM;
use crate::sse::{Item, Parser};

/// Why a response is no event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoStream {
    /// 204: "to inform the user agent to stop reconnecting".
    Stop,
    /// It is not 200. Redirections are not followed: a source has the URL it has.
    Status(StatusCode),
    /// It is not `text/event-stream`.
    Type(Option<HeaderValue>),
    /// It is compressed, which nobody asked for.
    Encoded(HeaderValue),
}

/// Whether a response is an event stream, by its head.
///
/// # Errors
/// Why it is none.
pub fn check_head(status: StatusCode, headers: &HeaderMap) -> Result<(), NoStream> {
    match status {
        StatusCode::OK => {}
        StatusCode::NO_CONTENT => return Err(NoStream::Stop),
        status => return Err(NoStream::Status(status)),
    }
    if !EVENT_STREAM.is_of_body(headers) {
        return Err(NoStream::Type(headers.get(CONTENT_TYPE).cloned()));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => Err(NoStream::Encoded(encoding.clone())),
        _ => Ok(()),
    }
}

impl std::fmt::Display for NoStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stop => {
                write!(f, "the server answered 204: it asks not to be connected to again")
            }
            Self::Status(status) if status.is_redirection() => {
                write!(f, "the server answered {status}: set `url` to where it redirects to")
            }
            Self::Status(status) => write!(f, "the server answered {status}"),
            Self::Type(None) => write!(f, "the response has no content-type"),
            Self::Type(Some(value)) => {
                write!(f, "the response is {value:?}, not text/event-stream")
            }
            Self::Encoded(value) => write!(f, "the response is encoded: {value:?}"),
        }
    }
}

/// The events of a body, one after the other. What is not pulled is not read on: back-pressure is that
/// of the body. Holds one piece of the body and what [`Parser`] holds.
#[derive(Debug)]
pub struct EventStream<B> {
    body: B,
    piece: Bytes,
    parser: Parser,
}

impl<B: Body<Data = Bytes> + Unpin> EventStream<B> {
    /// The events of a body that was resumed from `last_event_id`; empty for one that was not. An
    /// event's name, data and id have at most `event_bytes_max` bytes.
    pub fn new(body: B, event_bytes_max: usize, last_event_id: &str) -> Self {
        let parser = Parser::new(event_bytes_max, last_event_id);
        Self { body, piece: Bytes::new(), parser }
    }

    /// The next item of what has come; `None` when all of it has been pulled.
    pub fn pull(&mut self) -> Option<Item<'_>> {
        let mut input = &self.piece[..];
        let item = self.parser.pull(&mut input);
        let read = self.piece.len() - input.len();
        self.piece.advance(read);
        item
    }

    /// Waits for more. False at the end of the body.
    ///
    /// # Errors
    /// The body broke off.
    pub async fn read(&mut self) -> Result<bool, B::Error> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(piece) = frame?.into_data() {
                self.piece = piece;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The id to resume from.
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// Whether an event would be cut in two if the body ended here.
    pub fn is_within_event(&self) -> bool {
        self.parser.is_within_event()
    }
}
