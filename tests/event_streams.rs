//! Event streams of others: the parser beside the one that most JavaScript clients are built on, the npm
//! package eventsource-parser, on ten thousand streams cut at random bytes. `make deps` installs it.
//!
//! The two differ in what is theirs to decide, and nowhere else:
//! - An event without an id has none there, and the id that was given last here: "the buffer does not get
//!   reset, so the last event ID string of the event source remains set to this value until the next time
//!   it is set by the server" (WHATWG HTML 9.2.6). The package leaves that to its callers. A property test
//!   in `src/sse/parse.rs` holds ours to the standard.
//! - A CR at the end of what has come is an end of line here, "a single U+000D CARRIAGE RETURN (CR)
//!   character"; there it waits for the next end of line, since LF may belong to it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;

use fastrand::Rng;
use serde_json::{Value, json};
use tidegate::sse::{Item, Parser};

const STREAMS: u64 = 10_000;

/// Above any event here.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// What JavaScript's numbers hold exactly.
const EXACT_MAX: u64 = 1 << 53;

/// Of what streams are made: more of what ends lines and events than of anything else.
const WORDS: &[&[u8]] = &[
    b"data",
    b"data: ",
    b"data:",
    b"event: ",
    b"event:",
    b"id: ",
    b"id:",
    b"retry: ",
    b"other: ",
    b": comment",
    b":",
    b" ",
    b"\n",
    b"\n",
    b"\n",
    b"\n\n",
    b"\n\n",
    b"\n\n",
    b"\r",
    b"\r",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\r\r",
    b"12",
    b"7",
    b"token",
    b"{\"a\":1}",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x98\x80",
    b"\xf0\x9f",
    b"\xc3\xa9",
    b"\xc3",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x80\xa8",
    b"\x85",
];

#[test]
fn ten_thousand_streams_are_read_as_eventsource_parser_reads_them() {
    let streams: Vec<Vec<Vec<u8>>> =
        (0..STREAMS).map(|seed| pieces(&mut Rng::with_seed(seed))).collect();
    let expected = eventsource_parser(&streams);
    let mut events = 0;
    for ((seed, pieces), expected) in (0..).zip(&streams).zip(expected) {
        let ours = read(pieces);
        let expected = expected.as_array().expect("a list");
        let same = ours.len() == expected.len()
            && ours.iter().zip(expected).all(|(ours, theirs)| is_same(ours, theirs));
        let shown: Vec<_> = pieces.iter().map(|piece| piece.escape_ascii().to_string()).collect();
        assert!(same, "seed {seed}: {shown:?}\nours:   {ours:?}\ntheirs: {expected:?}");
        events += ours.len();
    }
    assert!(events > STREAMS as usize, "only {events} events: the streams say too little");
}

/// A stream, cut at random bytes.
fn pieces(rng: &mut Rng) -> Vec<Vec<u8>> {
    let words = (0..rng.usize(1..200)).map(|_| WORDS[rng.usize(..WORDS.len())]);
    let stream = words.collect::<Vec<_>>().concat();
    let mut rest = &stream[..];
    let mut pieces = Vec::new();
    let longest = rng.usize(1..=stream.len().max(1));
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rng.usize(1..=longest.min(rest.len())));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

fn read(pieces: &[Vec<u8>]) -> Vec<Value> {
    let mut parser = Parser::new(EVENT_BYTES_MAX, "");
    let mut said = Vec::new();
    for piece in pieces {
        let mut input = &piece[..];
        while let Some(item) = parser.pull(&mut input) {
            said.push(match item {
                Item::Event(message) => json!({
                    "event": message.event, "data": message.data, "id": message.last_event_id,
                }),
                Item::Retry(ms) => json!({ "retry": ms }),
                Item::TooLarge => panic!("no event is that large"),
            });
        }
    }
    said
}

/// The id counts where theirs has one.
fn is_same(ours: &Value, theirs: &Value) -> bool {
    if let Some(retry) = ours["retry"].as_u64() {
        let theirs = theirs["retry"].as_f64();
        return theirs.is_some_and(|ms| ms == retry as f64 || retry.min(ms as u64) > EXACT_MAX);
    }
    let is_same_id = theirs["id"].is_null() || theirs["id"] == ours["id"];
    is_same_id && ours["event"] == theirs["event"] && ours["data"] == theirs["data"]
}

/// What the package says, in one process for all.
fn eventsource_parser(streams: &[Vec<Vec<u8>>]) -> Vec<Value> {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
    let mut node = Command::new("node")
        .arg("eventsource_parser.mjs")
        .current_dir(clients)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is installed: run `make deps`");
    let mut input = node.stdin.take().expect("stdin is piped");
    let output = node.stdout.take().expect("stdout is piped");
    let lines = thread::scope(|scope| {
        scope.spawn(move || {
            for pieces in streams {
                let latin1 = |piece: &Vec<u8>| piece.iter().map(|&byte| char::from(byte)).collect();
                let pieces: Vec<String> = pieces.iter().map(latin1).collect();
                writeln!(input, "{}", json!(pieces)).expect("node reads its input");
            }
        });
        let lines = BufReader::new(output).lines().map(|line| line.expect("node writes text"));
        let parsed = lines.map(|line| serde_json::from_str(&line).expect("node writes JSON"));
        parsed.collect::<Vec<Value>>()
    });
    let status = node.wait().expect("node ends");
    assert!(status.success(), "{status}: run `make deps`");
    assert_eq!(lines.len(), streams.len());
    lines
}
