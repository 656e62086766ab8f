//! `upstream`: what the proxies have behind them. One thread, one epoll, as little as an app server can
//! do: its core is the load's too. It answers a GET with the bytes that its path names (`pattern`), and a
//! POST with the beginning of what it brought, if that is what its path names, byte by byte. A request
//! without the fields in which a proxy says who asks is refused, so that none saves that work.
//!
//! Connections are kept until the proxy closes them. Requests are not pipelined, and say how long their
//! body is.

use std::convert::Infallible;
use std::io::{self, IoSlice, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::floor::accept;
use super::pattern::{Asked, Pattern};

const LISTENER: Token = Token(usize::MAX - 1);
const READ_BYTES: usize = 64 << 10;
const HEADERS_MAX: usize = 32;
const HEAD_BYTES_MAX: usize = 16 << 10;

const WANTED_FIELDS: [&str; 4] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via"];

pub(super) fn run(mut listener: TcpListener) -> io::Result<Infallible> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (pattern, mut connections) = (Pattern::new(), Slab::<Connection>::new());
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; READ_BYTES]);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Some(mut socket) = accept(&listener)? {
                    let token = Token(connections.vacant_key());
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut socket, token, interest)?;
                    connections.insert(Connection::new(socket));
                }
            } else if let Some(connection) = connections.get_mut(event.token().0)
                && let Err(error) = connection.advance(&pattern, &mut buffer)
            {
                if error.kind() == io::ErrorKind::InvalidData {
                    eprintln!("upstream: {error}");
                }
                connections.remove(event.token().0);
            }
        }
    }
}

struct Connection {
    socket: TcpStream,
    /// Of a head that is not whole yet.
    head: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// A POST's body, as far as it has come; what it should be is known.
    Body {
        asked: Asked,
        came: usize,
    },
    /// An answer's body, as far as it has gone.
    Answer {
        asked: Asked,
        is_post: bool,
        sent: usize,
    },
}

enum Method {
    Get,
    Post,
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Connection {
    fn new(socket: TcpStream) -> Self {
        Self { socket, head: Vec::new(), state: State::Head }
    }

    /// Goes on as far as the socket lets it. An error closes the connection.
    fn advance(&mut self, pattern: &Pattern, buffer: &mut [u8]) -> io::Result<()> {
        loop {
            if let State::Answer { .. } = self.state {
                match self.send_rest(pattern) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    sent => sent?,
                }
            }
            let len = match self.socket.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.take(pattern, &buffer[..len])?;
            // What came did not fill the buffer: there is no more, and if there is, epoll says so.
            if len < buffer.len() && !matches!(self.state, State::Answer { .. }) {
                return Ok(());
            }
        }
    }

    fn take(&mut self, pattern: &Pattern, mut input: &[u8]) -> io::Result<()> {
        if let State::Head = self.state {
            let before = self.head.len();
            self.head.extend_from_slice(input);
            let Some((length, method, asked)) = request(&self.head)? else { return Ok(()) };
            input = &input[length - before..];
            self.head.clear();
            self.state = match method {
                Method::Get => return self.answer(pattern, asked, false),
                Method::Post => State::Body { asked, came: 0 },
            };
        }
        let State::Body { asked, came } = &mut self.state else {
            return Err(malformed("a request before the last one was answered"));
        };
        let (asked, wanted) = (*asked, &pattern.stretch(*asked)[*came..]);
        if !wanted.starts_with(input) {
            return Err(malformed("a body is not what was sent"));
        }
        *came += input.len();
        if input.len() == wanted.len() { self.answer(pattern, asked, true) } else { Ok(()) }
    }

    fn answer(&mut self, pattern: &Pattern, asked: Asked, is_post: bool) -> io::Result<()> {
        let body = body(pattern, asked, is_post);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A socket whose last answer was read has room for a head.
        let sent =
            self.socket.write_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(body)])?;
        let sent = sent.checked_sub(head.len()).ok_or_else(|| malformed("half a head is sent"))?;
        self.state = State::Answer { asked, is_post, sent };
        if sent == body.len() {
            self.state = State::Head;
        }
        Ok(())
    }

    fn send_rest(&mut self, pattern: &Pattern) -> io::Result<()> {
        while let State::Answer { asked, is_post, sent } = &mut self.state {
            let rest = &body(pattern, *asked, *is_post)[*sent..];
            if rest.is_empty() {
                self.state = State::Head;
            } else {
                *sent += self.socket.write(rest)?;
            }
        }
        Ok(())
    }
}

fn body(pattern: &Pattern, asked: Asked, is_post: bool) -> &[u8] {
    if is_post { pattern.post_answer(asked) } else { pattern.stretch(asked) }
}

/// A request's head, once it is whole: its length, and what it asks for.
fn request(input: &[u8]) -> io::Result<Option<(usize, Method, Asked)>> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    let parsed = head.parse(input).map_err(|_| malformed("not a request"))?;
    let httparse::Status::Complete(length) = parsed else {
        let fits = input.len() <= HEAD_BYTES_MAX;
        return if fits { Ok(None) } else { Err(malformed("a head has no end")) };
    };
    let field = |name: &str| head.headers.iter().find(|one| one.name.eq_ignore_ascii_case(name));
    if WANTED_FIELDS.iter().any(|name| field(name).is_none()) {
        return Err(malformed("a proxy does not say who asks"));
    }
    let asked = head.path.and_then(Asked::parse).ok_or_else(|| malformed("no such path"))?;
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("POST") if field("content-length").is_some() => Method::Post,
        _ => return Err(malformed("neither a GET nor a POST of known length")),
    };
    Ok(Some((length, method, asked)))
}
