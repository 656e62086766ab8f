//! The fake server's bytes: requests in, chunks and frames out.

use serde_json::Value;

pub const EPOCH: &str = "f4ke";

pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out
}

fn frame(seq: u64, data: &[u8]) -> Vec<u8> {
    let mut frame = format!("id: {EPOCH}-{seq}\ndata: ").into_bytes();
    frame.extend_from_slice(data);
    frame.extend_from_slice(b"\n\n");
    frame
}

pub fn event(seq: u64, data: &[u8]) -> Vec<u8> {
    chunk(&frame(seq, data))
}

/// The same event in chunks of 1 to 7 bytes.
pub fn event_in_pieces(seq: u64, data: &[u8]) -> Vec<u8> {
    let frame = frame(seq, data);
    let (mut out, mut rest, mut size) = (Vec::new(), &frame[..], seq as usize);
    while !rest.is_empty() {
        size = (size * 5 + 3) % 7;
        let (piece, tail) = rest.split_at(rest.len().min(size + 1));
        out.extend_from_slice(&chunk(piece));
        rest = tail;
    }
    out
}

pub mod control {
    use super::{EPOCH, chunk};

    pub fn hello(cursor: u64, resumed: bool) -> Vec<u8> {
        let hello = format!(
            "event: hello\nretry: 3000\ndata: {{\"time\":1,\"cursor\":\"{EPOCH}-{cursor}\",\
             \"resumed\":{resumed},\"heartbeat_ms\":15000,\"session\":\"s\"}}\n\n"
        );
        chunk(hello.as_bytes())
    }

    pub fn gap(after: u64, to: u64, count: u64, reason: &str) -> Vec<u8> {
        let gap = format!(
            "id: {EPOCH}-{to}\nevent: gap\ndata: {{\"after\":\"{EPOCH}-{after}\",\
             \"to\":\"{EPOCH}-{to}\",\"count\":{count},\"reason\":\"{reason}\"}}\n\n"
        );
        chunk(gap.as_bytes())
    }

    pub fn end(reason: &str) -> Vec<u8> {
        let end = format!("event: end\ndata: {{\"reason\":\"{reason}\",\"retry_ms\":9}}\n\n");
        chunk(end.as_bytes())
    }

    pub fn with_size_off_by_one(chunk: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(chunk).unwrap();
        let (size, rest) = text.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap() - 1;
        format!("{size:x}\r\n{rest}").into_bytes()
    }
}

pub struct Request {
    path: String,
    /// The sequence number of `last-event-id`.
    pub cursor: Option<u64>,
    body: Vec<u8>,
}

impl Request {
    /// The first request in `input` and its length, once it is whole.
    pub fn read(input: &[u8]) -> Option<(Self, usize)> {
        let head_len = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&input[..head_len]).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let cursor = head.lines().find_map(|line| {
            let id = line.strip_prefix("last-event-id: ")?;
            Some(id.strip_prefix(EPOCH).unwrap().strip_prefix('-').unwrap().parse().unwrap())
        });
        let body = input.get(head_len..head_len + length)?.to_vec();
        Some((Self { path, cursor, body }, head_len + length))
    }

    pub fn topics(&self) -> Vec<String> {
        let (path, query) = self.path.split_once('?').unwrap();
        assert_eq!(path, "/events");
        query.split('&').map(|pair| pair.strip_prefix("topic=").unwrap().to_owned()).collect()
    }

    /// `(topic, data)` of each event, and whether they came as an array.
    pub fn events(&self) -> (Vec<(String, Vec<u8>)>, bool) {
        if let Some(topic) = self.path.strip_prefix("/topics/") {
            return (vec![(topic.to_owned(), self.body.clone())], false);
        }
        assert_eq!(self.path, "/publish");
        let value: Value = serde_json::from_slice(&self.body).unwrap();
        let read = |event: &Value| {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            (text("topic"), text("data").into_bytes())
        };
        match &value {
            Value::Array(events) => (events.iter().map(read).collect(), true),
            event => (vec![read(event)], false),
        }
    }
}
