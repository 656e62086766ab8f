//! One stream: its socket or its body in hyper, its cursor, and, only when it is behind, its backlog.
//! There may be tens of thousands, so what an idle stream holds is counted in bytes.

use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use mio::net::TcpStream;

use super::audience::Selection;
use super::framing::Framing;
use super::index::AudienceKey;
use super::places::Permit;
use super::replay::Replay;
use super::ring::Ring;
use super::wheel::Tick;
use crate::metrics::Protocol;
use crate::sse::EndReason;
use crate::subscribe::RouteId;

/// A stream's life. Transitions: `Live` → `Ending` → `Lingering` → gone, and any of them → gone when
/// the client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Events arrive.
    Live,
    /// What waits and then `end` is being written; no more events arrive.
    Ending(EndReason),
    /// All is written and our side is shut; the client has a moment to read it and close.
    Lingering(EndReason),
}

/// Where a stream's bytes go.
pub(super) enum Sink {
    /// A socket that the shard owns.
    Socket {
        /// The socket, registered with the shard's poll set.
        socket: TcpStream,
        /// Its place among the connections.
        _permit: Permit,
    },
    /// Somebody who pulls: hyper, the task of a stream over TLS, or a long poll. The waker is there while
    /// they wait.
    Body(Protocol, Option<Waker>),
}

/// What waits for a stream that could not be written at once.
#[derive(Default)]
pub(super) struct Backlog {
    /// What comes before everything else: the rest of a half-written frame, or a control event.
    /// Never dropped.
    pub(super) unfinished: Bytes,
    /// Of a body: what comes behind `unfinished`, shared with other streams. Never dropped.
    pub(super) snapshot: Bytes,
    /// When the event that `unfinished` is the rest of was accepted, if it is one.
    pub(super) unfinished_event: Option<Instant>,
    /// What it still has to be told of the past. Then it has no ring.
    pub(super) replay: Option<Replay>,
    /// Events that wait; absent where none ever had to.
    pub(super) ring: Option<Ring>,
    /// Its place in the audience's `behind`, while the stream is live and has a ring.
    pub(super) behind_seat: usize,
    /// The stream's last bytes, once it is to end.
    pub(super) closing: Option<Bytes>,
    /// What it had asked for, once it is to end and has left its audience, if it is told topics.
    pub(super) told: Option<Rc<Selection>>,
    /// Whether it is in the queue of streams to be written.
    pub(super) queued: bool,
}

impl Backlog {
    /// Events that would be lost if the stream closed now.
    pub(super) fn waiting(&self) -> usize {
        self.ring.as_ref().map_or(0, Ring::len) + usize::from(self.unfinished_event.is_some())
    }
}

pub(super) struct Subscriber {
    pub(super) sink: Sink,
    pub(super) framing: Framing,
    pub(super) phase: Phase,
    pub(super) route: RouteId,
    pub(super) audience: AudienceKey,
    /// Its place in the audience's `members`, while it is `Live`.
    pub(super) seat: u32,
    /// Events it may still get before it ends by its own `limit`.
    pub(super) remaining: u32,
    /// Distinguishes streams that had the same key.
    pub(super) generation: u32,
    /// Bytes the client has sent after its request.
    pub(super) unsolicited: u32,
    /// Position in the audience's log; meaningless while there is a ring.
    pub(super) cursor: u64,
    /// `seq` of the last event or gap put on the wire: what a gap comes after.
    pub(super) sent: u64,
    /// Present only while the stream is behind (for a body in hyper: always).
    pub(super) backlog: Option<Box<Backlog>>,
    pub(super) opened: Tick,
    /// When it was last sent anything.
    pub(super) heard: Tick,
    /// When it ends, or when it is given up once it is ending.
    pub(super) ends: Tick,
    /// Why it will end then.
    pub(super) end_reason: EndReason,
}

impl Subscriber {
    /// Whether it reads from the audience's log.
    pub(super) fn keeps_up(&self) -> bool {
        self.backlog.is_none() && self.phase == Phase::Live
    }

    /// Whether it is a long poll. That has no end to be told of: it is answered.
    pub(super) fn is_poll(&self) -> bool {
        matches!(self.sink, Sink::Body(Protocol::Poll, _))
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Size.

    use super::*;

    #[test]
    fn a_stream_that_keeps_up_is_small() {
        assert!(size_of::<Subscriber>() <= 104, "{} bytes", size_of::<Subscriber>());
    }
}
