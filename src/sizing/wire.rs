//! What one stream's events are on the wire, layer by layer. Down to the chunk it is the gateway's own encoder
//! that says so, to the byte; below that it is what TLS 1.3 and TCP add at the least.

use http::Version;

use super::memory::TOPIC_NAME;
use super::{Case, Protocol};
use crate::config::schema::TopicField;
use crate::http::public::STREAM_HEADERS;
use crate::inspect::StreamId;
use crate::sse::{Draft, EndReason, Epoch, EventId, Fields, Frame, remark};
use crate::subscribe::control::{ControlEvents, Hello, heartbeat_ms};

/// Frame header of HTTP/2 (RFC 9113, 4.1).
const DATA_FRAME_BYTES: usize = 9;
/// Header, content type and tag of a record of TLS 1.3 (RFC 8446, 5.2).
const RECORD_BYTES: usize = 5 + 1 + 16;
/// Plaintext of a record, at most.
const RECORD_MAX: usize = 16 * 1024;
/// Headers of IPv4 and of TCP with timestamps; IPv6 takes 20 bytes more.
pub(super) const PACKET_BYTES: usize = 20 + 32;
/// What a packet carries where the MTU is 1500.
const SEGMENT_MAX: usize = 1500 - PACKET_BYTES;
/// What a head over HTTP/2 is about, once both sides know its fields.
const HTTP2_HEAD_BYTES: usize = 40;
/// Any time of this century has as many digits.
const TIME_MS: u64 = 1_800_000_000_000;

/// Bytes of something that is written to a stream at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// As the stream's parser sees it.
    pub(super) frame: usize,
    /// As HTTP delimits it, the frame included.
    pub(super) delimited: usize,
    /// What TLS adds.
    pub(super) tls: usize,
    /// What TCP and IP add.
    pub(super) network: usize,
}

impl Written {
    fn new(frame: usize, delimited: usize, protocol: Protocol) -> Self {
        let tls = match protocol {
            Protocol::H1 => 0,
            Protocol::Tls | Protocol::H2 => delimited.div_ceil(RECORD_MAX) * RECORD_BYTES,
        };
        let packets = (delimited + tls).div_ceil(SEGMENT_MAX);
        Self { frame, delimited, tls, network: packets * PACKET_BYTES }
    }

    fn of(frame: &Frame, protocol: Protocol) -> Self {
        let bare = frame.bare_bytes().len();
        let delimited = match protocol {
            Protocol::H1 | Protocol::Tls => frame.chunk().len(),
            Protocol::H2 => bare + DATA_FRAME_BYTES,
        };
        Self::new(bare, delimited, protocol)
    }

    /// What `tidegate_sent_bytes_total` counts of it: over HTTP/2 the frames are hyper's, and not counted.
    pub(super) fn counted(self, protocol: Protocol) -> usize {
        match protocol {
            Protocol::H1 | Protocol::Tls => self.delimited,
            Protocol::H2 => self.frame,
        }
    }

    /// All of it.
    pub(super) fn on_the_wire(self) -> usize {
        self.delimited + self.tls + self.network
    }

    /// Packets that it takes.
    pub(super) fn packets(self) -> usize {
        self.network / PACKET_BYTES
    }
}

/// The bytes of a load's streams.
pub(super) struct Wire {
    /// One event.
    pub(super) event: Written,
    /// The event as the gateway keeps it.
    pub(super) chunk: Vec<u8>,
    /// One heartbeat; `None` without any.
    pub(super) heartbeat: Option<Written>,
    /// The response's head and `hello`.
    pub(super) opening: Written,
    /// What `tidegate_sent_bytes_total` counts of that: heads are hyper's or the connection's own, but over
    /// HTTP/1 in the clear.
    pub(super) opening_counted: usize,
    /// `end`, if there is one.
    pub(super) end: Option<Written>,
}

impl Wire {
    pub(super) fn new(case: &Case<'_>) -> Self {
        let (load, stream, protocol) = (case.load, &case.stream, case.load.protocol);
        // Every epoch has as many digits.
        let epoch = Epoch::new(0);
        let data = "x".repeat(load.data_bytes);
        let fields = Fields { event: load.event_name.as_deref(), retry_ms: None, data: &data };
        let event = Draft::new(&fields).seal(EventId { epoch, seq: load.published });
        let written = match stream.topic_field {
            TopicField::None => Written::of(&event, protocol),
            TopicField::Comment => with_topic(&event, protocol),
        };
        // Without the jitter, which has as many digits as the delay itself, most of the time.
        let mut still = stream.clone();
        still.retry.0 = std::time::Duration::ZERO;
        let retry_digits = stream.retry.0.as_millis().max(1).ilog10() as usize;
        let control = ControlEvents::new(&still, epoch);
        let hello = Hello {
            time_ms: TIME_MS,
            head: load.published,
            resumed: false,
            session: StreamId::new(0, 0, 0),
            metadata: None,
        };
        let longer = |frame: &Frame, by: usize| {
            let Written { frame, delimited, .. } = Written::of(frame, protocol);
            Written::new(frame + by, delimited + by, protocol)
        };
        let hello = longer(&control.hello(&hello, true), retry_digits);
        let head = head_bytes(protocol);
        let head_counted = if protocol == Protocol::H1 { head } else { 0 };
        Self {
            event: written,
            chunk: event.chunk().to_vec(),
            heartbeat: heartbeat_ms(stream)
                .map(|_| Written::of(&control.heartbeat(load.published), protocol)),
            opening: Written::new(hello.frame, head + hello.delimited, protocol),
            opening_counted: head_counted + hello.counted(protocol),
            // `retry:` and `retry_ms`.
            end: control.end(EndReason::MaxLifetime).map(|end| longer(&end, 2 * retry_digits)),
        }
    }
}

/// An event behind the comment that tells its topic.
fn with_topic(event: &Frame, protocol: Protocol) -> Written {
    let [topic, event] = [&remark(TOPIC_NAME), event].map(|frame| Written::of(frame, protocol));
    let delimited = match protocol {
        Protocol::H1 | Protocol::Tls => topic.delimited + event.delimited,
        // One DATA frame for both.
        Protocol::H2 => topic.frame + event.delimited,
    };
    Written::new(topic.frame + event.frame, delimited, protocol)
}

/// The head of a stream's response.
fn head_bytes(protocol: Protocol) -> usize {
    if protocol == Protocol::H2 {
        return HTTP2_HEAD_BYTES;
    }
    let line = |(name, value): (&str, &str)| name.len() + value.len() + ": \r\n".len();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let own = [("date", date), ("connection", "close"), ("transfer-encoding", "chunked")];
    let fields: usize = STREAM_HEADERS.into_iter().chain(own).map(line).sum();
    format!("{:?} 200 OK\r\n", Version::HTTP_11).len() + fields + "\r\n".len()
}
