//! A drain with ten thousand streams, all held and read by one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::{STOP_GRACE, with_a_stuck_client};
use crate::support::{Connection, Gateway};

const STREAMS: usize = 10_000;
const DRAIN: Duration = Duration::from_secs(8);
/// The part of the drain over which ends are spread: 2 ms for each stream would be more.
const WINDOW: Duration = Duration::from_millis(6400);
/// Parts of the window that are counted.
const PARTS: usize = 8;

/// A stream that is read for its end only.
struct Held {
    socket: TcpStream,
    /// What came last: an end and what is behind it fit.
    tail: Vec<u8>,
    ended: Option<(Instant, u64)>,
    closed: bool,
}

impl Held {
    fn open(gateway: &Gateway) -> Self {
        let mut connection = Connection::open(gateway.public);
        connection.send_request("GET", "/events?topic=t", &[], b"");
        let socket = connection.stream().try_clone().expect("a descriptor more");
        Self { socket, tail: Vec::new(), ended: None, closed: false }
    }

    /// Reads what there is.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.closed = true,
                Ok(length) => self.tail.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a stream broke off: {error}"),
            }
            let text = String::from_utf8_lossy(&self.tail);
            if let Some((_, end)) = text.split_once("event: end\n")
                && let Some((data, _)) = end.split_once("\n\n")
            {
                assert!(data.contains(r#""reason":"drain""#), "{data}");
                let (_, retry) = data.split_once(r#""retry_ms":"#).expect("when to come back");
                let digits: String = retry.chars().take_while(char::is_ascii_digit).collect();
                let retry_ms = digits.parse().expect("milliseconds");
                self.ended.get_or_insert((Instant::now(), retry_ms));
            }
        }
    }
}

#[test]
fn f74_f75_ten_thousand_streams_end_one_after_the_other_and_in_time() {
    let drain = format!("{}s", DRAIN.as_secs());
    let (mut gateway, stuck) =
        with_a_stuck_client(Gateway::builder().env("TIDEGATE__SERVER__DRAIN", &drain));
    let mut held: Vec<Held> = (0..STREAMS).map(|_| Held::open(&gateway)).collect();
    gateway.expect_metric("tidegate_subscribers", &[], (STREAMS + 1) as f64);
    let mut poll = Poll::new().expect("an epoll set");
    for (index, stream) in held.iter().enumerate() {
        stream.socket.set_nonblocking(true).expect("a socket");
        let descriptor = stream.socket.as_raw_fd();
        let mut source = SourceFd(&descriptor);
        let registered = poll.registry().register(&mut source, Token(index), Interest::READABLE);
        registered.expect("room in the epoll set");
    }

    let began = Instant::now();
    gateway.terminate();
    let mut events = Events::with_capacity(1024);
    let (mut open, mut published, mut looked) = (STREAMS, 0, began);
    while open > 0 {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("it waits");
        for event in &events {
            let stream = &mut held[event.token().0];
            let was_closed = stream.closed;
            stream.read();
            open -= usize::from(stream.closed && !was_closed);
        }
        assert!(began.elapsed() < DRAIN + STOP_GRACE, "{open} streams are still open");
        if looked.elapsed() > Duration::from_millis(500) && open > STREAMS / 10 {
            looked = Instant::now();
            assert_eq!(gateway.get("/readyz").status, 503);
            assert_eq!(gateway.get("/healthz").status, 200);
            gateway.topic("t").publish("still live");
            published += 1;
        }
    }
    assert!(published >= 3, "the drain was over too soon to look at it");
    assert_eq!(gateway.wait().code(), Some(0));
    let took = began.elapsed();
    // The stuck client's turn is anywhere in the window. It is given up some seconds later, or when the drain
    // is over: whichever comes first.
    assert!(took > WINDOW / 2 && took < DRAIN + STOP_GRACE, "with a stuck client it took {took:?}");
    drop(stuck);

    let ends: Vec<_> = held.iter().map(|stream| stream.ended.expect("an end")).collect();
    let mut parts = BTreeMap::new();
    for (at, _) in &ends {
        let part = (*at - began).as_millis() * PARTS as u128 / WINDOW.as_millis();
        *parts.entry(part.min(PARTS as u128 - 1)).or_insert(0) += 1;
    }
    // Even would be an eighth in each; a busy machine reads some later.
    let even = STREAMS / PARTS;
    let is_even = |count: &usize| (even / 3..even * 5 / 2).contains(count);
    assert!(parts.len() == PARTS && parts.values().all(is_even), "not spread: {parts:?}");
    let retries: BTreeSet<u64> = ends.iter().map(|(_, retry_ms)| *retry_ms).collect();
    assert!(retries.iter().all(|retry_ms| (1000..=3000).contains(retry_ms)), "{retries:?}");
    assert!(retries.len() > 1000, "{} retries for {STREAMS} streams", retries.len());
    let all_heard =
        held.iter().filter(|stream| String::from_utf8_lossy(&stream.tail).contains("still live"));
    assert!(all_heard.count() > STREAMS / 2, "what was published during the drain went nowhere");
}
