//! How a stream's events are written: delimited as its HTTP version has it, compressed where its client
//! and its route have that, and with their topics where its route has that. All that depends on the event
//! alone is made once for all streams.

use std::borrow::Cow;
use std::rc::Rc;

use bytes::Bytes;
use http::Version;

use super::audience::Selection;
use crate::event::{Destination, Event};
use crate::hook::Snapshot;
use crate::sse::{Frame, gzip_header, remark, stored};
use crate::topic::Topic;

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
        let frame = self.framing.transfer.of(self.framing.frame_of(event));
        match &self.told {
            None => Cow::Borrowed(frame),
            Some(told) => Cow::Owned([&self.topic(event, told), frame].concat()),
        }
    }

    /// What is written of an event behind the first `written` bytes.
    pub(super) fn rest(&self, event: &Event, written: usize) -> Bytes {
        let frame = self.framing.transfer.shared(self.framing.frame_of(event));
        let Some(told) = &self.told else { return frame.slice(written..) };
        let topic = self.topic(event, told);
        match written.checked_sub(topic.len()) {
            Some(of_frame) => frame.slice(of_frame..),
            None => [&topic[written..], &frame].concat().into(),
        }
    }

    /// Tells the topic that brings an event to these streams. Of its other topics they may not know.
    #[cold]
    fn topic(&self, event: &Event, told: &Selection) -> Bytes {
        let is_wanted = |topic: &&Topic| told.filters.iter().any(|filter| filter.matches(topic));
        let topic = match &event.to {
            Destination::Everyone => "*",
            Destination::Topics(topics) => topics.iter().find(is_wanted).map_or("", Topic::as_str),
        };
        self.framing.control(&remark(topic))
    }
}
