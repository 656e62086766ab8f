//! One stream's life on the client: connecting → head → body → closed.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use crate::check::StreamCheck;
use crate::check::tally::Tally;
use crate::clock::{nanos, now_ns};
use crate::dialect::Dialect;
use crate::run::Run;
use crate::wire::chunk::ChunkDecoder;
use crate::wire::head::HeadReader;
use crate::wire::sse::SseParser;

enum State {
    Connecting,
    Head(HeadReader),
    /// Without chunks the body ends with the connection; only plain servers do that.
    Body {
        chunks: Option<ChunkDecoder>,
        frames: SseParser,
    },
}

/// How a stream ended, as far as its bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Close {
    /// It did not: the run was over first.
    Open,
    /// The client closed it, because it was told to leave.
    Left,
    /// The last chunk came, at the end of a frame.
    Clean,
    Broken(String),
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => write!(f, "open"),
            Self::Left => write!(f, "left"),
            Self::Clean => write!(f, "a clean end of the body"),
            Self::Broken(what) => write!(f, "{what}"),
        }
    }
}

/// Clock points of a stream, CLOCK_MONOTONIC ns; 0 when it did not come to that.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect_ns: u64,
    pub(crate) head_ns: u64,
    pub(crate) end_ns: u64,
}

/// What is left of a stream after the run.
pub(crate) struct StreamEnd {
    pub(crate) check: StreamCheck,
    pub(crate) times: Times,
    pub(crate) close: Close,
    /// The events it had to wait for before it left are numbered below this.
    pub(crate) left_at: Option<u64>,
}

/// What a stream that was told to leave waits for, and no longer than until when.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    /// It has to be past every event below this: those answered when it was told.
    past: u64,
    deadline_ns: u64,
}

pub(super) enum Turn {
    Goes,
    Closed(Close),
}

pub(super) struct Stream {
    socket: TcpStream,
    state: State,
    check: StreamCheck,
    times: Times,
    leaving: Option<Leaving>,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, check: StreamCheck) -> Self {
        let times = Times { connect_ns: now_ns(), ..Times::default() };
        Self { socket, state: State::Connecting, check, times, leaving: None }
    }

    /// What outlives the connection.
    pub(super) fn into_check(self) -> StreamCheck {
        self.check
    }

    pub(super) fn number(&self) -> u32 {
        self.check.stream
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn check(&self) -> &StreamCheck {
        &self.check
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.check.is_greeted()
    }

    pub(super) fn into_end(self, close: Close) -> StreamEnd {
        let left_at = self.leaving.map(|leaving| leaving.past);
        StreamEnd { check: self.check, times: self.times, close, left_at }
    }

    pub(super) fn connect_ns(&self) -> u64 {
        self.times.connect_ns
    }

    /// The stream is told to leave; true once it has what was published before, or has
    /// waited for it long enough.
    pub(super) fn leave(&mut self, run: &Run, now_ns: u64) -> bool {
        let leaving = self.leaving.get_or_insert_with(|| Leaving {
            past: run.answered_below(),
            deadline_ns: now_ns + nanos(run.leave_timeout),
        });
        self.check.is_past(leaving.past) || now_ns >= leaving.deadline_ns
    }

    /// The connect is over: sends the request, which a fresh socket takes in one write.
    pub(super) fn send_request(&mut self, request: &[u8]) -> io::Result<()> {
        if let Some(error) = self.socket.take_error()? {
            return Err(error);
        }
        let sent = self.socket.write(request)?;
        if sent < request.len() {
            return Err(io::Error::other("the request did not fit into the send buffer"));
        }
        self.state = State::Head(HeadReader::default());
        Ok(())
    }

    /// Reads what there is. A short read has emptied the socket (epoll(7), on
    /// edge-triggered stream sockets), which saves the read that would say so, unless
    /// the peer has closed: then the end of file must be read too.
    pub(super) fn read(&mut self, hung_up: bool, buffer: &mut [u8], tally: &mut Tally) -> Turn {
        if self.is_connecting() {
            return match self.socket.take_error() {
                Ok(None) => Turn::Goes,
                Ok(Some(error)) | Err(error) => broken(format!("connect: {error}")),
            };
        }
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return broken(format!("end of file {}", self.place())),
                Ok(len) => {
                    tally.arrived_ns = now_ns();
                    if let Some(close) = self.on_bytes(&buffer[..len], tally) {
                        let _ = self.socket.shutdown(Shutdown::Write);
                        return Turn::Closed(close);
                    }
                    if len < buffer.len() && !hung_up {
                        return Turn::Goes;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Goes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return broken(format!("{error} {}", self.place())),
            }
        }
    }

    fn place(&self) -> String {
        match (&self.state, &self.check.ended) {
            (State::Connecting | State::Head(_), _) => "before the response head".to_owned(),
            (_, Some(reason)) => format!("after end({reason}), without the last chunk"),
            (State::Body { frames, .. }, None) if frames.is_mid_frame() => {
                "within a frame".to_owned()
            }
            (State::Body { .. }, None) => "without `end` and without the last chunk".to_owned(),
        }
    }

    fn on_bytes(&mut self, mut input: &[u8], tally: &mut Tally) -> Option<Close> {
        if let State::Head(reader) = &mut self.state {
            let head = match reader.feed(&mut input) {
                Err(what) => return Some(Close::Broken(what)),
                Ok(None) => return None,
                Ok(Some(head)) => head,
            };
            let framed = head.chunked || tally.run.dialect == Dialect::Plain;
            if head.status != 200 || !head.event_stream || !framed {
                let what = format!("refused or not a chunked event stream: {head:?}");
                return Some(Close::Broken(what));
            }
            self.times.head_ns = tally.arrived_ns;
            self.check.on_head(tally.run.dialect);
            let chunks = head.chunked.then(ChunkDecoder::new);
            self.state = State::Body { chunks, frames: SseParser::default() };
        }
        let State::Body { chunks, frames } = &mut self.state else {
            return None;
        };
        let check = &mut self.check;
        let Some(chunks) = chunks else {
            let fed = frames.feed(input, |frame| check.on_frame(frame, tally));
            return fed.is_err().then(|| without_end(check, tally));
        };
        loop {
            match chunks.next(&mut input) {
                Ok(None) => break,
                Ok(Some(data)) => {
                    let fed = frames.feed(data, |frame| check.on_frame(frame, tally));
                    if fed.is_err() {
                        return Some(without_end(check, tally));
                    }
                }
                Err(error) => {
                    check.protocol(tally, &error.to_string());
                    return Some(Close::Broken(error.to_string()));
                }
            }
        }
        if check.ended.is_some() && self.times.end_ns == 0 {
            self.times.end_ns = tally.arrived_ns;
        }
        if !chunks.is_done() {
            return None;
        }
        if !input.is_empty() {
            check.protocol(tally, "bytes after the last chunk");
        }
        Some(if frames.is_mid_frame() {
            Close::Broken("the body ended within a frame".to_owned())
        } else {
            Close::Clean
        })
    }
}

fn without_end(check: &StreamCheck, tally: &mut Tally) -> Close {
    let what = "a frame without end";
    check.protocol(tally, what);
    Close::Broken(what.to_owned())
}

fn broken(what: String) -> Turn {
    Turn::Closed(Close::Broken(what))
}
