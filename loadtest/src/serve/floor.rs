//! `floor`: the fan-out that does nothing but send. One thread, one epoll; an event is
//! encoded once and given to each socket by one `send`. There is no queue: a socket that
//! does not take an event whole is closed and counted. What is below this figure is not
//! to be had one send at a time; what is above it is a server's own cost.
//!
//! Every stream gets every event: topics are not looked at. A subscriber's request must
//! come in one segment, as the witness sends it.

use std::convert::Infallible;
use std::io::{self, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::serve::contract;

const PUBLIC: Token = Token(usize::MAX - 1);
const INTERNAL: Token = Token(usize::MAX - 2);
/// Sockets' tokens are their keys with this bit, the lowest, set for publishers.
const PUBLISHER: usize = 1;

const READ_BYTES: usize = 64 << 10;
const HEADERS_MAX: usize = 32;

struct Stream {
    socket: TcpStream,
    /// Its request was read and answered.
    open: bool,
}

struct Publisher {
    socket: TcpStream,
    /// Bytes of requests that are not whole yet.
    input: Vec<u8>,
}

struct Floor {
    poll: Poll,
    public: TcpListener,
    internal: TcpListener,
    streams: Slab<Stream>,
    publishers: Slab<Publisher>,
    /// Events so far, and the last one's sequence number.
    seq: u64,
    /// Streams closed because their socket was full.
    overrun: usize,
}

pub(super) fn run(public: TcpListener, internal: TcpListener) -> io::Result<Infallible> {
    let mut floor = Floor::new(public, internal)?;
    let mut events = Events::with_capacity(1024);
    loop {
        match floor.poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                PUBLIC => floor.accept_streams()?,
                INTERNAL => floor.accept_publishers()?,
                Token(at) if at & PUBLISHER == 0 => floor.on_stream(at >> 1),
                Token(at) => floor.on_publisher(at >> 1),
            }
        }
    }
}

impl Floor {
    fn new(mut public: TcpListener, mut internal: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut public, PUBLIC, Interest::READABLE)?;
        poll.registry().register(&mut internal, INTERNAL, Interest::READABLE)?;
        let (streams, publishers) = (Slab::new(), Slab::new());
        Ok(Self { poll, public, internal, streams, publishers, seq: 0, overrun: 0 })
    }

    fn accept_streams(&mut self) -> io::Result<()> {
        while let Some(mut socket) = accept(&self.public)? {
            let token = Token(self.streams.vacant_key() << 1);
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            self.streams.insert(Stream { socket, open: false });
        }
        Ok(())
    }

    fn accept_publishers(&mut self) -> io::Result<()> {
        while let Some(mut socket) = accept(&self.internal)? {
            let token = Token(self.publishers.vacant_key() << 1 | PUBLISHER);
            self.poll.registry().register(&mut socket, token, Interest::READABLE)?;
            self.publishers.insert(Publisher { socket, input: Vec::new() });
        }
        Ok(())
    }

    /// A subscriber's request, or its end.
    fn on_stream(&mut self, key: usize) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let mut buffer = [0; 4096];
        let goes_on = match stream.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(len) if !stream.open => {
                stream.open = buffer[..len].ends_with(b"\r\n\r\n");
                stream.open && takes(&mut stream.socket, &greeting(self.seq))
            }
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if !goes_on {
            self.streams.remove(key);
        }
    }

    /// Requests, pipelined as they come; their answers go out in one write.
    fn on_publisher(&mut self, key: usize) {
        let Some(publisher) = self.publishers.get_mut(key) else { return };
        let goes_on = read_all(&mut publisher.socket, &mut publisher.input);
        let input = std::mem::take(&mut publisher.input);
        let (mut used, mut answers) = (0, Vec::new());
        let mut readable = true;
        loop {
            match request(&input[used..]) {
                Ok(Some((length, Request::Publish(data)))) => {
                    used += length;
                    self.fan_out(data);
                    answers.extend_from_slice(&accepted(self.seq));
                }
                Ok(Some((length, Request::Health))) => {
                    used += length;
                    answers.extend_from_slice(HEALTHY);
                }
                Ok(None) => break,
                Err(_) => {
                    readable = false;
                    break;
                }
            }
        }
        let publisher = &mut self.publishers[key];
        publisher.input.extend_from_slice(&input[used..]);
        if !(goes_on && readable && takes(&mut publisher.socket, &answers)) {
            self.publishers.remove(key);
        }
    }

    /// What is measured.
    fn fan_out(&mut self, data: &[u8]) {
        self.seq += 1;
        let chunk = chunk(&contract::event(self.seq, data));
        let before = self.streams.len();
        self.streams.retain(|_, stream| !stream.open || takes(&mut stream.socket, &chunk));
        let closed = before - self.streams.len();
        if closed > 0 {
            self.overrun += closed;
            eprintln!("floor: {} streams closed so far: their sockets were full", self.overrun);
        }
    }
}

pub(super) fn accept(listener: &TcpListener) -> io::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((socket, _)) => socket.set_nodelay(true).map(|()| Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// One `send`; whether the socket took all of it.
fn takes(socket: &mut TcpStream, bytes: &[u8]) -> bool {
    socket.write(bytes).is_ok_and(|sent| sent == bytes.len())
}

/// Reads what there is; false when the peer is gone.
fn read_all(socket: &mut TcpStream, input: &mut Vec<u8>) -> bool {
    loop {
        let before = input.len();
        input.resize(before + READ_BYTES, 0);
        let read = socket.read(&mut input[before..]);
        input.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

enum Request<'a> {
    Publish(&'a [u8]),
    /// Any GET: the server is up.
    Health,
}

/// The first request in `input` and its length, once it is whole.
fn request(input: &[u8]) -> Result<Option<(usize, Request<'_>)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(body) = head.parse(input)? else { return Ok(None) };
    if head.method == Some("GET") {
        return Ok(Some((body, Request::Health)));
    }
    let length = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok())
        .ok_or(httparse::Error::HeaderValue)?;
    let data = input.get(body..body.saturating_add(length));
    Ok(data.map(|data| (body + length, Request::Publish(data))))
}

fn chunk(frame: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", frame.len()).into_bytes();
    chunk.extend_from_slice(frame);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

fn greeting(head: u64) -> Vec<u8> {
    let mut greeting = String::from("HTTP/1.1 200 OK\r\n");
    for (name, value) in contract::STREAM_HEADERS {
        greeting.extend([name, ": ", value, "\r\n"]);
    }
    greeting.push_str("connection: close\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut greeting = greeting.into_bytes();
    greeting.extend_from_slice(&chunk(contract::hello(head).as_bytes()));
    greeting
}

fn accepted(seq: u64) -> Vec<u8> {
    let body = contract::accepted(seq);
    let length = body.len();
    format!(
        "HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         \r\n{body}"
    )
    .into_bytes()
}

const HEALTHY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";
