//! One stream as a test sees it: open it, then say what must come next.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use flate2::write::GzDecoder;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::chunks::ChunkDecoder;
use super::deadline::{Deadline, PATIENCE};
use super::http::{Connection, Head, Received, Response, is_chunked};
use super::sse::{Decoder, Event};

/// How a stream is asked for.
#[derive(Clone, Debug)]
pub struct Subscribe {
    addr: SocketAddr,
    target: String,
    headers: Vec<(String, String)>,
    version: &'static str,
    receive_buffer: Option<usize>,
}

impl Subscribe {
    /// `GET /events?{query}` on the listener at `addr`.
    pub fn new(addr: SocketAddr, query: &str) -> Self {
        Self {
            addr,
            target: format!("/events?{query}"),
            headers: vec![("accept".into(), "text/event-stream".into())],
            version: "HTTP/1.1",
            receive_buffer: None,
        }
    }

    /// Sends one more header; `accept` replaces the default one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("accept") {
            self.headers.clear();
        }
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Resumes after this id.
    pub fn after(self, id: &str) -> Self {
        self.header("last-event-id", id)
    }

    /// Asks for another path and query than `/events`.
    pub fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Speaks HTTP/1.0: the stream is then delimited by the close.
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Bounds what the kernel receives for this stream, to make it slow when it does not read.
    pub fn receive_buffer(mut self, bytes: usize) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Opens the stream; panics unless it is one.
    #[track_caller]
    pub fn open(&self) -> Subscriber {
        self.ask().open()
    }

    /// Asks for the stream without waiting for an answer.
    #[track_caller]
    pub fn ask(&self) -> Asked {
        Asked { connection: self.send() }
    }
    /// Asks for the stream and reads the answer as a plain response: for refusals and long polls.
    #[track_caller]
    pub fn response(&self) -> Response {
        self.ask().response()
    }

    #[track_caller]
    fn send(&self) -> Connection {
        let mut connection = Connection::from(self.connect());
        let mut head = format!("GET {} {}\r\nhost: localhost\r\n", self.target, self.version);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        connection.send(head.as_bytes());
        connection
    }

    #[track_caller]
    fn connect(&self) -> TcpStream {
        let connect = || -> std::io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(self.addr), Type::STREAM, None)?;
            if let Some(bytes) = self.receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.set_tcp_nodelay(true)?;
            socket.connect(&self.addr.into())?;
            Ok(socket.into())
        };
        connect().unwrap_or_else(|error| panic!("connecting to {} failed: {error}", self.addr))
    }
}

/// A stream that is asked for.
#[derive(Debug)]
pub struct Asked {
    connection: Connection,
}

impl Asked {
    /// Waits for an answer that is no stream.
    #[track_caller]
    pub fn response(mut self) -> Response {
        self.connection.read_response("GET")
    }

    /// Waits for the stream; panics unless it is one.
    #[track_caller]
    pub fn open(self) -> Subscriber {
        let mut connection = self.connection;
        let head = connection.read_head();
        if head.status != 200 {
            let body = String::from_utf8_lossy(&connection.buffer).into_owned();
            panic!("the stream was refused: {head:?} {body}");
        }
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let chunks = is_chunked(&head).then(ChunkDecoder::default);
        let is_gzip = head.header("content-encoding") == Some("gzip");
        let gzip = is_gzip.then(|| GzDecoder::new(Vec::new()));
        let mut subscriber = Subscriber {
            connection,
            head,
            chunks,
            decoder: Decoder::new(),
            events: VecDeque::new(),
            comments: VecDeque::new(),
            gzip,
            ended: false,
        };
        subscriber.decode();
        subscriber
    }
}

/// The first event of a stream.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The gateway's clock, in milliseconds of the epoch.
    pub time: u64,
    /// Where the stream begins.
    pub cursor: String,
    /// Whether everything since the client's cursor will come.
    pub resumed: bool,
    /// Longest silence to expect, in milliseconds.
    pub heartbeat_ms: u64,
    /// The stream's id in the internal API.
    pub session: Value,
    /// The reconnect delay it carried, in milliseconds.
    pub retry_ms: Option<u64>,
    /// The id it carried, or an empty string.
    pub id: String,
}

/// A declared loss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last id before the loss; none after a cursor that is no id.
    pub after: Option<String>,
    /// The last id lost.
    pub to: String,
    /// How many events, when that is known.
    pub count: Option<u64>,
    /// Why.
    pub reason: String,
    /// The id the gap itself carried.
    pub id: String,
}

/// The gateway's last word on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Why the stream ends.
    pub reason: String,
    /// When to come back, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// How a stream stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// With the last chunk, or in HTTP/1.0 with a close between two blocks.
    Complete,
    /// In the middle of the body.
    Cut,
}

/// One open stream.
#[derive(Debug)]
pub struct Subscriber {
    connection: Connection,
    head: Head,
    chunks: Option<ChunkDecoder>,
    decoder: Decoder,
    events: VecDeque<Event>,
    comments: VecDeque<String>,
    gzip: Option<GzDecoder<Vec<u8>>>,
    ended: bool,
}

impl Subscriber {
    /// The head of the response.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What a client would send as `Last-Event-ID` after everything received so far.
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    /// The reconnect delay that the client was told last.
    pub fn retry_ms(&self) -> Option<u64> {
        self.decoder.reconnection_time_ms()
    }

    /// The socket, for tests that close or shut it down.
    pub fn stream(&self) -> &TcpStream {
        self.connection.stream()
    }

    /// The next event of any kind, control events too.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        self.wait("an event", |this| this.events.pop_front())
    }

    /// The next event, which must be a published one.
    #[track_caller]
    pub fn expect_event(&mut self) -> Event {
        let event = self.next();
        let control = matches!(event.event.as_str(), "hello" | "gap" | "end" | "heartbeat");
        assert!(!control, "waited for a published event, got {event:?}");
        event
    }

    /// The next event, which must be this one.
    #[track_caller]
    pub fn expect_data(&mut self, data: &str) -> Event {
        let event = self.expect_event();
        assert_eq!(event.data, data, "the wrong event came: {event:?}");
        event
    }

    /// The next event, which must have this name.
    #[track_caller]
    pub fn expect_named(&mut self, name: &str) -> Event {
        let event = self.wait(&format!("event {name:?}"), |this| this.events.pop_front());
        assert_eq!(event.event, name, "the wrong event came: {event:?}");
        event
    }

    /// The `hello`, which must come next.
    #[track_caller]
    pub fn expect_hello(&mut self) -> Hello {
        let event = self.expect_named("hello");
        let data = control_data(&event);
        let number = |field: &str| data[field].as_u64().unwrap_or_else(|| lacks(field, &event));
        Hello {
            time: number("time"),
            cursor: text(&data["cursor"]).unwrap_or_else(|| lacks("cursor", &event)),
            resumed: data["resumed"].as_bool().unwrap_or_else(|| lacks("resumed", &event)),
            heartbeat_ms: number("heartbeat_ms"),
            session: data["session"].clone(),
            retry_ms: event.retry,
            id: event.id,
        }
    }

    /// A `gap`, which must come next.
    #[track_caller]
    pub fn expect_gap(&mut self) -> Gap {
        let event = self.expect_named("gap");
        let data = control_data(&event);
        let field = |name: &str| text(&data[name]).unwrap_or_else(|| lacks(name, &event));
        let gap = Gap {
            after: text(&data["after"]),
            to: field("to"),
            count: data["count"].as_u64(),
            reason: field("reason"),
            id: event.id.clone(),
        };
        assert_eq!(gap.id, gap.to, "a gap carries the last id lost: {event:?}");
        gap
    }

    /// The `end`, which must come next and give this reason.
    #[track_caller]
    pub fn expect_end(&mut self, reason: &str) -> End {
        let cursor = self.last_event_id().to_owned();
        let event = self.expect_named("end");
        assert_eq!(event.id, cursor, "an end carries no id of its own: {event:?}");
        let data = control_data(&event);
        let end = End {
            reason: text(&data["reason"]).unwrap_or_else(|| lacks("reason", &event)),
            retry_ms: data["retry_ms"].as_u64(),
        };
        assert_eq!(end.reason, reason, "the stream ended for another reason: {event:?}");
        end
    }

    /// The next comment's text; events that come before it stay waiting.
    #[track_caller]
    pub fn expect_comment(&mut self) -> String {
        self.wait_beside("a comment", PATIENCE, |this| this.comments.pop_front())
    }

    /// Nothing but comments for this long, on a stream that stays open.
    #[track_caller]
    pub fn expect_silence(&mut self, time: Duration) {
        let deadline = Deadline::after(time);
        loop {
            assert!(self.events.is_empty(), "waited for silence, got {:?}", self.events);
            assert!(!self.ended, "waited for silence, the stream was completed");
            match self.receive(deadline) {
                Received::Bytes(_) => {}
                Received::Nothing => return,
                stopped => panic!("waited for silence, got {stopped:?}"),
            }
        }
    }

    /// The stream's orderly end, with no event before it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let stop = self.expect_stop();
        assert_eq!(stop, Stop::Complete, "the stream was cut off");
    }

    /// The stream's end of any kind, with no event before it.
    #[track_caller]
    pub fn expect_stop(&mut self) -> Stop {
        let deadline = Deadline::patient();
        loop {
            assert!(self.events.is_empty(), "waited for a close, got {:?}", self.events);
            match self.receive(deadline) {
                Received::Bytes(_) => {}
                Received::Nothing => panic!("waited {PATIENCE:?} for the stream to close"),
                _ if self.ended => return Stop::Complete,
                Received::Closed if self.chunks.is_none() && self.decoder.at_block_boundary() => {
                    return Stop::Complete;
                }
                Received::Closed | Received::Reset => return Stop::Cut,
            }
        }
    }

    /// Every event received until nothing has come for `quiet`, or until the stream stops.
    #[track_caller]
    pub fn drain(&mut self, quiet: Duration) -> Vec<Event> {
        while let Received::Bytes(_) = self.receive(Deadline::after(quiet)) {}
        self.events.drain(..).collect()
    }

    #[track_caller]
    fn wait<T>(&mut self, what: &str, take: impl FnMut(&mut Self) -> Option<T>) -> T {
        self.wait_beside(what, PATIENCE, take)
    }

    #[track_caller]
    fn wait_beside<T>(
        &mut self,
        what: &str,
        time: Duration,
        mut take: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let deadline = Deadline::after(time);
        loop {
            if let Some(taken) = take(self) {
                return taken;
            }
            match self.receive(deadline) {
                Received::Bytes(_) => {}
                Received::Nothing => panic!("waited {time:?} for {what}, the stream is quiet"),
                stopped => panic!("waited for {what}, the stream stopped: {stopped:?}"),
            }
        }
    }

    #[track_caller]
    fn receive(&mut self, deadline: Deadline) -> Received {
        let received = self.connection.receive(deadline);
        self.decode();
        received
    }

    #[track_caller]
    fn decode(&mut self) {
        let bytes = std::mem::take(&mut self.connection.buffer);
        let mut data = Vec::new();
        match &mut self.chunks {
            None => data = bytes,
            Some(chunks) => {
                let rest = chunks.feed(&bytes, &mut data).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(rest, 0, "bytes after the last chunk of a stream");
                self.ended = chunks.ended();
            }
        }
        if let Some(gzip) = &mut self.gzip {
            // It never ends, so its checksum never comes.
            gzip.write_all(&data).and_then(|()| gzip.flush()).expect("a gzip stream");
            data = std::mem::take(gzip.get_mut());
        }
        self.events.extend(self.decoder.feed(&data));
        self.comments.extend(self.decoder.comments.drain(..));
    }
}

#[track_caller]
fn control_data(event: &Event) -> Value {
    serde_json::from_str(&event.data)
        .unwrap_or_else(|error| panic!("a control event's data is not JSON ({error}): {event:?}"))
}

#[track_caller]
fn lacks<T>(field: &str, event: &Event) -> T {
    panic!("{field} is missing or of another type: {event:?}")
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
