//! A small SSE server for the witness's own tests: one thread, one epoll, the contract
//! as far as the witness looks at it, and on request one precise misbehaviour.
//!
//! Misbehaviour strikes the first stream that opens, the victim, at its
//! `FAULT_AT`th event.

#![allow(missing_docs, unreachable_pub, dead_code)]

mod faults;
mod publish;
mod resume;
pub mod verdict;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

pub use faults::Fault;
use faults::take_pending;
use wire::{EPOCH, Request, chunk, control};

const PUBLIC: Token = Token(usize::MAX - 1);
const INTERNAL: Token = Token(usize::MAX - 2);

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub fault: Fault,
    /// A server that is no gateway: it greets by a comment.
    pub plain: bool,
    pub ring_frames: usize,
    pub sndbuf: usize,
    pub heartbeat: Option<Duration>,
    /// The first and the last stream's lifetime; those between lie between.
    pub life: Option<(Duration, Duration)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            fault: Fault::None,
            plain: false,
            ring_frames: 256,
            sndbuf: 64 << 10,
            heartbeat: None,
            life: None,
        }
    }
}

pub struct Fake {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(options: Options) -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (public, internal) = (bind(), bind());
        let (public_at, internal_at) =
            (public.local_addr().unwrap(), internal.local_addr().unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            Server::new(options, public, internal).run(&seen);
        });
        Self { public: public_at, internal: internal_at, stop, thread: Some(thread) }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().unwrap().join();
        assert!(result.is_ok() || std::thread::panicking(), "the fake server panicked");
    }
}

struct Conn {
    socket: TcpStream,
    internal: bool,
    input: Vec<u8>,
    /// Bytes begun and not yet taken by the socket.
    out: Vec<u8>,
    stream: Option<Stream>,
    close_when_flushed: bool,
    dirty: bool,
}

#[derive(Default)]
struct Stream {
    topics: Vec<String>,
    ring: VecDeque<(u64, Rc<[u8]>)>,
    /// `(after, to, count)` of what the ring lost.
    gap: Option<(u64, u64, u64)>,
    last_out: u64,
    events: u64,
    victim: bool,
    held: Option<(u64, Rc<[u8]>)>,
    dies_at: Option<Instant>,
}

struct Server {
    options: Options,
    poll: Poll,
    public: TcpListener,
    internal: TcpListener,
    conns: Slab<Conn>,
    subscribers: HashMap<String, Vec<usize>>,
    streams_opened: u64,
    /// Streams that came with a cursor.
    returned: u64,
    /// The one misbehaviour towards them has happened.
    wronged: bool,
    /// Everything published: seq, topic, frame.
    past: Vec<(u64, String, Rc<[u8]>)>,
    publishes: u64,
    seq: u64,
    dirty: Vec<usize>,
    beat_at: Instant,
}

impl Server {
    fn new(options: Options, mut public: TcpListener, mut internal: TcpListener) -> Self {
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut public, PUBLIC, Interest::READABLE).unwrap();
        poll.registry().register(&mut internal, INTERNAL, Interest::READABLE).unwrap();
        Self {
            options,
            poll,
            public,
            internal,
            conns: Slab::new(),
            subscribers: HashMap::new(),
            streams_opened: 0,
            returned: 0,
            wronged: false,
            past: Vec::new(),
            publishes: 0,
            seq: 1000,
            dirty: Vec::new(),
            beat_at: Instant::now(),
        }
    }

    fn run(mut self, stop: &AtomicBool) {
        let mut events = Events::with_capacity(1024);
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(Duration::from_millis(5))).unwrap();
            for event in &events {
                match event.token() {
                    PUBLIC => self.accept(false),
                    INTERNAL => self.accept(true),
                    Token(key) => {
                        if event.is_readable() {
                            self.read(key);
                        }
                        if event.is_writable() {
                            self.mark(key);
                        }
                    }
                }
            }
            self.time();
            for key in std::mem::take(&mut self.dirty) {
                self.flush(key);
            }
        }
    }

    fn accept(&mut self, internal: bool) {
        loop {
            let listener = if internal { &self.internal } else { &self.public };
            let Ok((mut socket, _)) = listener.accept() else {
                return;
            };
            socket.set_nodelay(true).unwrap();
            if !internal {
                let socket = socket2::SockRef::from(&socket);
                socket.set_send_buffer_size(self.options.sndbuf).unwrap();
            }
            let entry = self.conns.vacant_entry();
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(entry.key()), both).unwrap();
            entry.insert(Conn {
                socket,
                internal,
                input: Vec::new(),
                out: Vec::new(),
                stream: None,
                close_when_flushed: false,
                dirty: false,
            });
        }
    }

    fn mark(&mut self, key: usize) {
        if let Some(conn) = self.conns.get_mut(key).filter(|conn| !conn.dirty) {
            conn.dirty = true;
            self.dirty.push(key);
        }
    }

    fn remove(&mut self, key: usize) {
        let conn = self.conns.remove(key);
        for topic in conn.stream.into_iter().flat_map(|stream| stream.topics) {
            self.subscribers.get_mut(&topic).unwrap().retain(|other| *other != key);
        }
    }

    fn read(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let mut buffer = [0; 64 << 10];
        loop {
            match conn.socket.read(&mut buffer) {
                Ok(0) => return self.remove(key),
                Ok(len) => conn.input.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.remove(key),
            }
        }
        let mut input = std::mem::take(&mut self.conns[key].input);
        let mut used = 0;
        while let Some((request, len)) = Request::read(&input[used..]) {
            used += len;
            if self.conns[key].internal {
                let answer = self.publish(&request);
                self.conns[key].out.extend_from_slice(&answer);
                self.mark(key);
            } else {
                self.subscribe(key, &request);
            }
        }
        input.drain(..used);
        self.conns[key].input = input;
    }

    fn subscribe(&mut self, key: usize, request: &Request) {
        let topics = request.topics();
        let number = self.streams_opened;
        self.streams_opened += 1;
        let life = self.options.life.map(|(first, last)| if number == 0 { first } else { last });
        let conn = &mut self.conns[key];
        conn.out.extend_from_slice(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n\
              transfer-encoding: chunked\r\n\r\n",
        );
        if let Some(cursor) = request.cursor {
            return self.resume(key, topics, cursor);
        }
        let plain = self.options.plain.then(|| chunk(b": hi\n\n"));
        let hello = plain.unwrap_or_else(|| control::hello(self.seq, false));
        conn.out.extend_from_slice(&hello);
        let topics = self.join(key, topics);
        self.conns[key].stream = Some(Stream {
            topics,
            victim: number == 0,
            last_out: self.seq,
            dies_at: life.map(|life| Instant::now() + life),
            ..Stream::default()
        });
        self.mark(key);
    }

    fn join(&mut self, key: usize, topics: Vec<String>) -> Vec<String> {
        for topic in &topics {
            self.subscribers.entry(topic.clone()).or_default().push(key);
        }
        topics
    }

    fn time(&mut self) {
        let now = Instant::now();
        if let Some(every) = self.options.heartbeat.filter(|every| now - self.beat_at >= *every) {
            self.beat_at += every;
            let beat = chunk(format!(": hb\nid: {EPOCH}-{}\n\n", self.seq).as_bytes());
            for (_, conn) in &mut self.conns {
                // Behind queued frames, or the cursor would be ahead of them.
                if conn.stream.as_ref().is_some_and(|s| s.ring.is_empty()) {
                    conn.out.extend_from_slice(&beat);
                }
            }
            self.mark_all();
        }
        if self.options.life.is_none() {
            return;
        }
        for (_, conn) in &mut self.conns {
            let Some(stream) = &mut conn.stream else {
                continue;
            };
            if stream.dies_at.is_none_or(|at| now < at) {
                continue;
            }
            stream.dies_at = None;
            conn.close_when_flushed = true;
            let fault = if stream.victim { self.options.fault } else { Fault::None };
            let reason = if fault == Fault::CapWrongReason { "limit" } else { "max_lifetime" };
            if fault != Fault::CapWithoutEnd {
                let end =
                    format!("event: end\ndata: {{\"reason\":\"{reason}\",\"retry_ms\":9}}\n\n");
                conn.out.extend_from_slice(&chunk(end.as_bytes()));
            }
            if fault != Fault::CapWithoutLastChunk {
                conn.out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        self.mark_all();
    }

    fn mark_all(&mut self) {
        let keys: Vec<usize> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.mark(key);
        }
    }

    fn flush(&mut self, key: usize) {
        let fault = self.options.fault;
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        conn.dirty = false;
        loop {
            if conn.out.is_empty()
                && let Some(stream) = &mut conn.stream
            {
                take_pending(stream, fault, &mut conn.out);
            }
            if conn.out.is_empty() {
                break;
            }
            match conn.socket.write(&conn.out) {
                Ok(len) => drop(conn.out.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.remove(key),
            }
        }
        if conn.close_when_flushed {
            self.remove(key);
        }
    }
}
