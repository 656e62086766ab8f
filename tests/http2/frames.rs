//! HTTP/2 by hand (RFC 9113): a client with prior knowledge that decides itself how much window it
//! gives, which ready-made clients do not let a test do. It shares no code with the gateway.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::support::{Connection, Deadline, Decoder, Event, PATIENCE, Received};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
/// RFC 7541, appendix A: the static table's `:status: 200` and `:status: 400`, as one byte each.
pub(crate) const STATUS_200: u8 = 0x88;
pub(crate) const STATUS_400: u8 = 0x8c;
/// RFC 9113, 7.
const CANCEL: u32 = 8;

/// One connection with the streams it has asked for.
#[derive(Debug)]
pub(crate) struct Http2 {
    connection: Connection,
    streams: BTreeMap<u32, Exchange>,
    next: u32,
    /// Whether the gateway has said GOAWAY.
    pub(crate) going_away: bool,
}

/// One request and what has come for it.
#[derive(Debug, Default)]
struct Exchange {
    /// The first byte of the response's header block.
    status: Option<u8>,
    decoder: Decoder,
    events: VecDeque<Event>,
    data_bytes: usize,
    ended: bool,
    reset: Option<u32>,
    /// Whether what is read is given back as window.
    reads: bool,
}

impl Http2 {
    /// Connects and gives each stream this much window to begin with.
    #[track_caller]
    pub(crate) fn open(addr: SocketAddr, window: u32) -> Self {
        let mut connection = Connection::open(addr);
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut setting = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        setting.extend(window.to_be_bytes());
        connection.send(&frame(SETTINGS, 0, 0, &setting));
        // The connection's own window is never what a test is about.
        connection.send(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes()));
        Self { connection, streams: BTreeMap::new(), next: 1, going_away: false }
    }

    /// Asks for this path; gives the stream's number.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> u32 {
        self.request(path, END_STREAM)
    }

    /// Asks for this path with a body, which a GET should not have.
    #[track_caller]
    pub(crate) fn get_with_body(&mut self, path: &str, body: &[u8]) -> u32 {
        let id = self.request(path, 0);
        self.connection.send(&frame(DATA, END_STREAM, id, body));
        id
    }

    #[track_caller]
    fn request(&mut self, path: &str, flags: u8) -> u32 {
        let block = block(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
            ("accept", "text/event-stream"),
        ]);
        let id = self.next;
        self.next += 2;
        self.streams.insert(id, Exchange { reads: true, ..Exchange::default() });
        self.connection.send(&frame(HEADERS, flags | END_HEADERS, id, &block));
        id
    }

    /// Subscribes and waits until the gateway has accepted.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, query: &str) -> u32 {
        let id = self.get(&format!("/events?{query}"));
        assert_eq!(self.expect_status(id), STATUS_200);
        id
    }

    /// The status of the response, as the first byte of its header block has it.
    #[track_caller]
    pub(crate) fn expect_status(&mut self, id: u32) -> u8 {
        self.wait(id, "a status", |stream| stream.status)
    }

    /// From now on what comes on this stream gives it no new window.
    pub(crate) fn stop_reading(&mut self, id: u32) {
        self.stream(id).reads = false;
    }

    /// Gives the stream this much window at once, and from now on what it uses of it.
    #[track_caller]
    pub(crate) fn read_again(&mut self, id: u32, window: u32) {
        self.stream(id).reads = true;
        self.connection.send(&frame(WINDOW_UPDATE, 0, id, &window.to_be_bytes()));
    }

    /// RST_STREAM.
    #[track_caller]
    pub(crate) fn cancel(&mut self, id: u32) {
        self.streams.remove(&id);
        self.connection.send(&frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes()));
    }

    /// The next event of this stream, control events too.
    #[track_caller]
    pub(crate) fn next(&mut self, id: u32) -> Event {
        self.wait(id, "an event", |stream| stream.events.pop_front())
    }

    /// The stream's next event, which must have this name.
    #[track_caller]
    pub(crate) fn expect_named(&mut self, id: u32, name: &str) -> Event {
        let event = self.next(id);
        assert_eq!(event.event, name, "the wrong event came: {event:?}");
        event
    }

    /// The stream's next event, which must be a published one with this data.
    #[track_caller]
    pub(crate) fn expect_data(&mut self, id: u32, data: &str) -> Event {
        let event = self.next(id);
        assert_eq!(event.data, data, "the wrong event came: {event:?}");
        event
    }

    /// The next comment of this stream.
    #[track_caller]
    pub(crate) fn expect_comment(&mut self, id: u32) -> String {
        self.wait(id, "a comment", |stream| stream.decoder.comments.pop())
    }

    /// END_STREAM, with no event before it.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self, id: u32) {
        self.wait(id, "the end of the stream", |stream| stream.ended.then_some(()));
        let stream = &self.streams[&id];
        assert!(stream.events.is_empty(), "waited for the end, got {:?}", stream.events);
    }

    /// RST_STREAM by the gateway; gives its error code.
    #[track_caller]
    pub(crate) fn expect_reset(&mut self, id: u32) -> u32 {
        self.wait(id, "a reset", |stream| stream.reset)
    }

    /// Reads until the gateway has closed the connection.
    #[track_caller]
    pub(crate) fn expect_connection_closed(&mut self) {
        loop {
            match self.receive(Deadline::patient()) {
                Received::Bytes(_) => {}
                Received::Closed | Received::Reset => return,
                Received::Nothing => panic!("waited {PATIENCE:?} for the connection to close"),
            }
        }
    }

    /// The stream's `Last-Event-ID`.
    pub(crate) fn last_event_id(&self, id: u32) -> &str {
        self.streams[&id].decoder.last_event_id()
    }

    /// The events that have come on this stream and were not waited for.
    pub(crate) fn events(&self, id: u32) -> Vec<Event> {
        self.streams[&id].events.iter().cloned().collect()
    }

    /// DATA bytes that have come on this stream.
    pub(crate) fn data_bytes(&self, id: u32) -> usize {
        self.streams[&id].data_bytes
    }

    /// Takes in what comes for as long as something does within this time.
    #[track_caller]
    pub(crate) fn settle(&mut self, quiet: std::time::Duration) {
        while matches!(self.receive(Deadline::after(quiet)), Received::Bytes(_)) {}
    }

    fn stream(&mut self, id: u32) -> &mut Exchange {
        self.streams.get_mut(&id).expect("a stream that was asked for")
    }

    #[track_caller]
    fn wait<T>(
        &mut self,
        id: u32,
        what: &str,
        mut take: impl FnMut(&mut Exchange) -> Option<T>,
    ) -> T {
        let deadline = Deadline::patient();
        loop {
            if let Some(taken) = take(self.stream(id)) {
                return taken;
            }
            match self.receive(deadline) {
                Received::Bytes(_) => {}
                other => panic!("waited for {what} on stream {id}, got {other:?}"),
            }
        }
    }

    #[track_caller]
    fn receive(&mut self, deadline: Deadline) -> Received {
        let received = self.connection.receive(deadline);
        while let Some((kind, flags, id, payload)) = take_frame(&mut self.connection.buffer) {
            self.on_frame(kind, flags, id, &payload);
        }
        received
    }

    #[track_caller]
    fn on_frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        match kind {
            SETTINGS if flags & ACK == 0 => self.connection.send(&frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => self.connection.send(&frame(PING, ACK, 0, payload)),
            GOAWAY => self.going_away = true,
            DATA | HEADERS | RST_STREAM => {
                // A stream that was cancelled here may go on for a moment there.
                let Some(stream) = self.streams.get_mut(&id) else { return };
                // "A server MAY request that the client abort transmission of a request without
                // error by sending a RST_STREAM with an error code of NO_ERROR after sending a
                // complete response" (RFC 9113, 8.1).
                let abort = kind == RST_STREAM && payload == [0; 4];
                assert!(!stream.ended || abort, "a frame after the end of stream {id}");
                match kind {
                    DATA => {
                        stream.data_bytes += payload.len();
                        stream.events.extend(stream.decoder.feed(payload));
                    }
                    HEADERS => stream.status = stream.status.or(payload.first().copied()),
                    _ => stream.reset = payload.try_into().ok().map(u32::from_be_bytes),
                }
                stream.ended = kind != RST_STREAM && flags & END_STREAM != 0;
                if kind == DATA && stream.reads && !stream.ended && !payload.is_empty() {
                    let used = (payload.len() as u32).to_be_bytes();
                    self.connection.send(&frame(WINDOW_UPDATE, 0, id, &used));
                }
            }
            _ => {}
        }
    }
}

/// A header block of literals without indexing, with new names, not Huffman coded (RFC 7541, 6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte holds the length of {text:?}");
            block.push(text.len() as u8);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// RFC 9113, 4.1.
pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn take_frame(buffer: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head: [u8; 9] = buffer.get(..9)?.try_into().ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = buffer.get(9..9 + length)?.to_vec();
    buffer.drain(..9 + length);
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & (u32::MAX >> 1);
    Some((head[3], head[4], id, payload))
}
