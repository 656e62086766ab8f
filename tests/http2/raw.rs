//! An HTTP/2 connection for clients that do not behave: frames are sent as they are, and what comes
//! back is looked at frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use super::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
    take_frame,
};
use super::support::{Connection, Deadline, PATIENCE, Received};

pub(crate) const PRIORITY: u8 = 2;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const CONTINUATION: u8 = 9;

/// RFC 9113, 7.
pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What the gateway made of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The connection is over, for this reason.
    GoAway(u32),
    /// This stream is over, for this reason.
    Reset(u32, u32),
    /// This stream was answered; the first byte of its header block.
    Answer(u32, u8),
    /// The connection is closed without a word.
    Closed,
}

/// A connection that sends what it is told to.
#[derive(Debug)]
pub(crate) struct Raw {
    connection: Connection,
    /// Why the gateway has said that the connection ends.
    going_away: Option<u32>,
    /// Whether PINGs are answered.
    pub(crate) answers_pings: bool,
}

impl Raw {
    /// Connects, and sends the preface with empty SETTINGS.
    #[track_caller]
    pub(crate) fn open(addr: SocketAddr) -> Self {
        let mut raw =
            Self { connection: Connection::open(addr), going_away: None, answers_pings: true };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.send(&frame(SETTINGS, 0, 0, &[]));
        raw
    }

    /// Sends these bytes, whoever still listens.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.connection.send(bytes);
    }

    /// What the gateway says next, but for SETTINGS, DATA, and the like; PINGs are answered.
    #[track_caller]
    pub(crate) fn verdict(&mut self) -> Verdict {
        self.verdict_of(|_| true)
    }

    /// The same, if it comes in time.
    #[track_caller]
    pub(crate) fn verdict_within(&mut self, time: Duration) -> Option<Verdict> {
        self.find_verdict(Deadline::after(time), |_| true)
    }

    /// Why the connection ends.
    #[track_caller]
    pub(crate) fn expect_goaway(&mut self) -> u32 {
        if self.going_away.is_none() {
            self.verdict_of(|verdict| matches!(verdict, Verdict::GoAway(_) | Verdict::Closed));
        }
        self.going_away.expect("the connection closed without GOAWAY")
    }

    /// Waits for the end of the connection.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        self.verdict_of(|verdict| *verdict == Verdict::Closed);
    }

    /// The next PING's payload, which is not answered.
    #[track_caller]
    pub(crate) fn expect_ping(&mut self) -> Vec<u8> {
        loop {
            match take_frame(&mut self.connection.buffer) {
                Some((PING, flags, _, payload)) if flags & ACK == 0 => return payload,
                Some(_) => {}
                None => {
                    assert!(matches!(
                        self.connection.receive(Deadline::patient()),
                        Received::Bytes(_)
                    ));
                }
            }
        }
    }

    /// The gateway's first SETTINGS: identifiers and values.
    #[track_caller]
    pub(crate) fn expect_settings(&mut self) -> Vec<(u16, u32)> {
        loop {
            match take_frame(&mut self.connection.buffer) {
                Some((SETTINGS, 0, 0, payload)) => {
                    let pair = |bytes: &[u8]| {
                        let (id, value) = bytes.split_at(2);
                        let value = value.try_into().expect("four bytes");
                        (u16::from_be_bytes([id[0], id[1]]), u32::from_be_bytes(value))
                    };
                    return payload.chunks_exact(6).map(pair).collect();
                }
                Some(_) => {}
                None => {
                    assert!(matches!(
                        self.connection.receive(Deadline::patient()),
                        Received::Bytes(_)
                    ));
                }
            }
        }
    }

    #[track_caller]
    fn verdict_of(&mut self, is_wanted: impl Fn(&Verdict) -> bool) -> Verdict {
        let found = self.find_verdict(Deadline::patient(), is_wanted);
        found.unwrap_or_else(|| panic!("waited {PATIENCE:?} for a verdict"))
    }

    #[track_caller]
    fn find_verdict(
        &mut self,
        deadline: Deadline,
        is_wanted: impl Fn(&Verdict) -> bool,
    ) -> Option<Verdict> {
        loop {
            while let Some((kind, flags, id, payload)) = take_frame(&mut self.connection.buffer) {
                let code = |at: usize| {
                    let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
                    u32::from_be_bytes(bytes.expect("an error code"))
                };
                let verdict = match kind {
                    GOAWAY => {
                        self.going_away = Some(code(4));
                        Verdict::GoAway(code(4))
                    }
                    RST_STREAM => Verdict::Reset(id, code(0)),
                    HEADERS => Verdict::Answer(id, payload[0]),
                    PING if flags & ACK == 0 && self.answers_pings => {
                        self.send(&frame(PING, ACK, 0, &payload));
                        continue;
                    }
                    _ => continue,
                };
                if is_wanted(&verdict) {
                    return Some(verdict);
                }
            }
            match self.connection.receive(deadline) {
                Received::Bytes(_) => {}
                Received::Closed | Received::Reset if is_wanted(&Verdict::Closed) => {
                    return Some(Verdict::Closed);
                }
                Received::Nothing => return None,
                other => panic!("waited for a verdict, got {other:?}"),
            }
        }
    }
}

/// The fields of a request for a path, behind its method.
pub(crate) fn fields<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
}

/// HEADERS with these fields and flags.
pub(crate) fn headers(id: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, id, &block(fields))
}

/// A whole request without a body.
pub(crate) fn get(id: u32, path: &str) -> Vec<u8> {
    headers(id, END_HEADERS | END_STREAM, &fields("GET", path))
}

/// The head of a request whose body is to come.
pub(crate) fn post(id: u32, path: &str) -> Vec<u8> {
    headers(id, END_HEADERS, &fields("POST", path))
}

/// DATA.
pub(crate) fn data(id: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, id, payload)
}
