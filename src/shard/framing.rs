//! How a stream's events are written: delimited as its HTTP version has it, compressed where its client
//! and its route have that, and with their topics where its route has that. All that depends on the event
//! alone is made once for all streams.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::{BufMut, Bytes};
use http::Version;

use super::audience::Selection;
use crate::event::{Destination, Event};
use crate::hook::Snapshot;
use crate::sse::{Frame, gzip_header, remark, stored};

/// How frames are delimited on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Transfer {
    /// HTTP/1.1 chunks.
    #[default]
    Chunked,
    /// As they are: HTTP/1.0, which ends with the connection, and HTTP/2, which frames by itself.
    Bare,
}

impl Transfer {
    /// That of a stream over this version of HTTP/1.
    pub(super) fn over(version: Version) -> Self {
        if version == Version::HTTP_10 { Self::Bare } else { Self::Chunked }
    }

    fn of(self, frame: &Frame) -> &[u8] {
        match self {
            Self::Chunked => frame.chunk(),
            Self::Bare => frame.bare_bytes(),
        }
    }

    fn shared(self, frame: &Frame) -> Bytes {
        match self {
            Self::Chunked => frame.chunk().clone(),
            Self::Bare => frame.bare(),
        }
    }
}

/// The form of a stream's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Framing {
    /// How frames are delimited.
    pub(super) transfer: Transfer,
    /// Whether they are compressed.
    pub(super) gzip: bool,
}

impl Framing {
    /// What comes before all frames.
    pub(super) fn begin(self) -> Bytes {
        if self.gzip { self.transfer.shared(&gzip_header()) } else { Bytes::new() }
    }

    /// The bytes of a control event.
    pub(super) fn control(self, frame: &Frame) -> Bytes {
        if self.gzip { self.transfer.shared(&stored(frame)) } else { self.transfer.shared(frame) }
    }

    /// The bytes of a snapshot that moves the client's cursor, or leaves it where it is.
    pub(super) fn snapshot(self, snapshot: &Snapshot, moves_cursor: bool) -> Option<Bytes> {
        let frame = match self.gzip {
            true => snapshot.gzip_frame(moves_cursor),
            false => snapshot.frame(moves_cursor),
        };
        frame.map(|frame| self.transfer.shared(frame))
    }

    fn frame_of(self, event: &Event) -> &Frame {
        if self.gzip { event.gzip.of(&event.frame) } else { &event.frame }
    }
}

/// Writes the events of one audience in one form.
#[derive(Clone)]
pub(super) struct Writer {
    /// The form.
    pub(super) framing: Framing,
    /// What the streams want, where they are told each event's topic.
    pub(super) told: Option<Rc<Selection>>,
}

impl Writer {
    /// What is written of an event.
    pub(super) fn bytes<'e>(&self, event: &'e Event) -> Cow<'e, [u8]> {
        if self.told.is_none() {
            return Cow::Borrowed(self.framing.transfer.of(self.framing.frame_of(event)));
        }
        let mut bytes = Vec::new();
        self.append(event, &mut bytes);
        Cow::Owned(bytes)
    }

    /// How many bytes are written of an event.
    pub(super) fn len(&self, event: &Event) -> usize {
        let frame = self.framing.transfer.of(self.framing.frame_of(event));
        self.topic(event).map_or(0, |topic| topic.len()) + frame.len()
    }

    /// Appends what is written of an event.
    pub(super) fn append(&self, event: &Event, to: &mut impl BufMut) {
        if let Some(topic) = self.topic(event) {
            to.put_slice(&topic);
        }
        to.put_slice(self.framing.transfer.of(self.framing.frame_of(event)));
    }

    /// What is written of an event behind the first `written` bytes.
    pub(super) fn rest(&self, event: &Event, written: usize) -> Bytes {
        let frame = self.framing.transfer.shared(self.framing.frame_of(event));
        let Some(topic) = self.topic(event) else { return frame.slice(written..) };
        match written.checked_sub(topic.len()) {
            Some(of_frame) => frame.slice(of_frame..),
            None => [&topic[written..], &frame].concat().into(),
        }
    }

    /// Tells the topic that brings an event to these streams. Of its other topics they may not know.
    fn topic(&self, event: &Event) -> Option<Bytes> {
        let filters = &self.told.as_ref()?.filters;
        let topic = match &event.to {
            Destination::Everyone => "*",
            Destination::Topics(topics) => topics
                .iter()
                .find(|topic| filters.iter().any(|filter| filter.matches(topic)))?
                .as_str(),
        };
        Some(self.framing.control(&remark(topic)))
    }
}
