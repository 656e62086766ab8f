//! One connection, its request and the check of its answer.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::RequestsArgs;
use crate::clock::now_ns;
use crate::serve::{Asked, Pattern};
use crate::wire::head::HeadReader;

/// What a connection asks again and again.
pub(super) struct Question {
    bytes: Vec<u8>,
    /// What the answer is made of; `None` when success will do.
    answer: Option<(Asked, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Get,
    Post,
}

impl Question {
    /// That of the `nth` connection.
    pub(super) fn new(args: &RequestsArgs, pattern: &Pattern, nth: usize) -> Self {
        let (method, asked, kind) = match args.post {
            None => ("GET", Asked::nth(args.get, nth), Kind::Get),
            Some(bytes) => ("POST", Asked::nth(bytes, nth), Kind::Post),
        };
        let path = args.path.clone().unwrap_or_else(|| asked.to_string());
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", args.target.host);
        if args.reconnect {
            bytes.push_str("connection: close\r\n");
        }
        let body: &[u8] = match kind {
            Kind::Get => &[],
            Kind::Post => pattern.stretch(asked),
        };
        if let Kind::Post = kind {
            bytes.push_str("content-type: text/plain\r\n");
            bytes.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        bytes.push_str("\r\n");
        let answer = args.path.is_none().then_some((asked, kind));
        Self { bytes: [bytes.as_bytes(), body].concat(), answer }
    }

    fn expected<'a>(&self, pattern: &'a Pattern) -> Option<&'a [u8]> {
        self.answer.map(|(asked, kind)| match kind {
            Kind::Get => pattern.stretch(asked),
            Kind::Post => pattern.post_answer(asked),
        })
    }
}

pub(super) struct Connection {
    socket: TcpStream,
    question: Question,
    /// Of the request, in bytes.
    sent: usize,
    asked_ns: Option<u64>,
    head: HeadReader,
    /// The answer's body; `None` within its head.
    body: Option<Body>,
}

struct Body {
    length: usize,
    came: usize,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, question: Question) -> io::Result<Self> {
        Ok(Self {
            socket: connect(address)?,
            question,
            sent: 0,
            asked_ns: None,
            head: HeadReader::default(),
            body: None,
        })
    }

    /// A new connection in place of this one.
    pub(super) fn reopen(&mut self, address: SocketAddr) -> io::Result<()> {
        self.socket = connect(address)?;
        Ok(())
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn has_asked(&self) -> bool {
        self.asked_ns.is_some()
    }

    /// Sends the request, as far as the socket takes it. It counts from `now_ns`.
    pub(super) fn ask(&mut self, now_ns: u64) -> io::Result<()> {
        self.asked_ns = Some(now_ns);
        self.sent = 0;
        self.send_rest()
    }

    fn send_rest(&mut self) -> io::Result<()> {
        while self.sent < self.question.bytes.len() {
            match self.socket.write(&self.question.bytes[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Goes on as far as the socket lets it. When that completes the answer: how long it took.
    pub(super) fn advance(
        &mut self,
        pattern: &Pattern,
        buffer: &mut [u8],
    ) -> io::Result<Option<u64>> {
        let Some(asked_ns) = self.asked_ns else { return Ok(None) };
        self.send_rest()?;
        loop {
            let len = match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            };
            if self.take(pattern, &buffer[..len])? {
                return Ok(Some(now_ns() - asked_ns));
            }
        }
    }

    /// Whether the answer is complete.
    fn take(&mut self, pattern: &Pattern, mut input: &[u8]) -> io::Result<bool> {
        let expected = self.question.expected(pattern);
        if self.body.is_none() {
            let Some(head) = self.head.feed(&mut input).map_err(io::Error::other)? else {
                return Ok(false);
            };
            if !(200..300).contains(&head.status) {
                return Err(io::Error::other(format!("answered {}", head.status)));
            }
            let length = head.content_length.ok_or(io::ErrorKind::InvalidData)?;
            if expected.is_some_and(|expected| expected.len() != length) {
                return Err(io::Error::other(format!("an answer has {length} bytes")));
            }
            self.body = Some(Body { length, came: 0 });
        }
        let Some(Body { length, came }) = &mut self.body else { return Ok(false) };
        if input.len() > *length - *came {
            return Err(io::Error::other("an answer goes on behind its end"));
        }
        if expected.is_some_and(|expected| !expected[*came..].starts_with(input)) {
            return Err(io::Error::other("an answer's body is not the upstream's"));
        }
        *came += input.len();
        let is_complete = *came == *length;
        if is_complete {
            self.body = None;
        }
        Ok(is_complete)
    }
}

/// Waits for the kernel alone, which answers on loopback while there is room in the backlog.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = std::net::TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpStream::from_std(socket))
}
