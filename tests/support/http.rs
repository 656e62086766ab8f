//! HTTP/1.1 by hand, for tests that look at the bytes: one connection, strict about what the
//! gateway sends. It shares no code with the gateway, so that both cannot be wrong alike.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::chunks::ChunkDecoder;
use super::deadline::Deadline;

/// One header to send.
pub type Header<'a> = (&'a str, &'a str);

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The value of the one header of this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        one_header(&self.headers, name)
    }
}

/// A whole response.
#[derive(Clone, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, its transfer coding taken off.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the one header of this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        one_header(&self.headers, name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.lossy()))
    }

    /// Panics with the body unless the status is `status`.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "unexpected status, body {:?}", self.lossy());
        self
    }

    /// Checks an RFC 9457 answer: status, media type, the same status in the body. Gives its `type`.
    #[track_caller]
    pub fn expect_problem(self, status: u16) -> String {
        let response = self.expect_status(status);
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let problem = response.json();
        assert_eq!(problem["status"], status, "the body's status: {problem}");
        assert!(problem["title"].is_string(), "a problem has a title: {problem}");
        problem["type"].as_str().unwrap_or_else(|| panic!("no type: {problem}")).to_owned()
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.status, self.headers, self.lossy())
    }
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// This many more bytes are in the buffer.
    Bytes(usize),
    /// The gateway closed its side in order.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing before the deadline.
    Nothing,
}

/// One connection to the gateway, kept open between requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Received and not yet used.
    pub buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr)
            .unwrap_or_else(|error| panic!("connecting to {addr} failed: {error}"));
        stream.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        Self::from(stream)
    }

    /// The socket, for what this type does not do.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes as they are. A peer that has closed already is no failure of the send:
    /// what it said before closing is what tests look at.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        let patience = Deadline::patient().left();
        self.stream.set_write_timeout(patience).expect("a time above zero");
        match self.stream.write_all(bytes) {
            Err(error) if !is_reset(error.kind()) => panic!("sending failed: {error}"),
            _ => {}
        }
    }

    /// Sends a request with `host` and, for a body, `content-length`.
    #[track_caller]
    pub fn send_request(&mut self, method: &str, path: &str, headers: &[Header<'_>], body: &[u8]) {
        self.send(&request_bytes(method, path, headers, body));
    }

    /// Sends a request and waits for its response.
    #[track_caller]
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: &[u8],
    ) -> Response {
        self.send_request(method, path, headers, body);
        self.read_response(method)
    }

    /// Waits for the next response, interim ones (1xx) included. `method` is the request's, since a
    /// response to HEAD has no body whatever its headers say.
    #[track_caller]
    pub fn read_response(&mut self, method: &str) -> Response {
        let head = self.read_head();
        let mut body = Vec::new();
        let empty = method == "HEAD" || matches!(head.status, 100..=199 | 204 | 304);
        if empty {
        } else if is_chunked(&head) {
            let mut chunks = ChunkDecoder::default();
            while !chunks.ended() {
                if self.buffer.is_empty() {
                    self.read_more("the rest of a chunked body");
                }
                let rest = chunks.feed(&self.buffer, &mut body).expect("a well-formed body");
                self.buffer.drain(..self.buffer.len() - rest);
            }
        } else if let Some(length) = head.header("content-length") {
            let length: usize = length.parse().expect("content-length is a number");
            while self.buffer.len() < length {
                self.read_more("the rest of a body");
            }
            body = self.buffer.drain(..length).collect();
        } else {
            while matches!(self.receive(Deadline::patient()), Received::Bytes(_)) {}
            body = std::mem::take(&mut self.buffer);
        }
        Response { status: head.status, headers: head.headers, body }
    }

    /// Waits for the head of a response.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return parse_head(&head[..end]);
            }
            self.read_more("a response head");
        }
    }

    /// Waits for the gateway to close the connection; panics if it sends anything more.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        match self.receive(Deadline::patient()) {
            Received::Closed | Received::Reset if self.buffer.is_empty() => {}
            other => panic!("waited for a close, got {other:?}: {:?}", self.lossy()),
        }
    }

    /// Reads once into the buffer.
    #[track_caller]
    pub fn receive(&mut self, deadline: Deadline) -> Received {
        let mut part = [0; 65536];
        loop {
            let Some(left) = deadline.left() else {
                return Received::Nothing;
            };
            self.stream.set_read_timeout(Some(left)).expect("a time above zero");
            match self.stream.read(&mut part) {
                Ok(0) => return Received::Closed,
                Ok(length) => {
                    self.buffer.extend_from_slice(&part[..length]);
                    return Received::Bytes(length);
                }
                Err(error) if is_reset(error.kind()) => return Received::Reset,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => panic!("reading failed: {error}"),
                },
            }
        }
    }

    #[track_caller]
    fn read_more(&mut self, what: &str) {
        match self.receive(Deadline::patient()) {
            Received::Bytes(_) => {}
            other => panic!("waited for {what}, got {other:?} after {:?}", self.lossy()),
        }
    }

    fn lossy(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }
}

impl From<TcpStream> for Connection {
    fn from(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn http(
    method: &str,
    addr: SocketAddr,
    path: &str,
    headers: &[Header<'_>],
    body: &[u8],
) -> Response {
    let headers = [headers, &[("connection", "close")]].concat();
    Connection::open(addr).request(method, path, &headers, body)
}

/// The bytes of a request, `host` first.
pub fn request_bytes(method: &str, path: &str, headers: &[Header<'_>], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Whether the body is chunked; panics on any other transfer coding.
#[track_caller]
pub fn is_chunked(head: &Head) -> bool {
    match head.header("transfer-encoding") {
        None => false,
        Some("chunked") => {
            assert!(head.header("content-length").is_none(), "both framings: {head:?}");
            true
        }
        Some(other) => panic!("unexpected transfer-encoding {other:?}"),
    }
}

/// Escapes everything a path segment or a query value may not hold.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[track_caller]
fn parse_head(bytes: &[u8]) -> Head {
    let text = std::str::from_utf8(bytes).expect("a response head is ASCII");
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| status_line.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
    let headers = lines.map(|line| {
        assert!(!line.contains(['\r', '\n', '\0']), "a bare control byte in {line:?}");
        let (name, value) =
            line.split_once(':').unwrap_or_else(|| panic!("not a header: {line:?}"));
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "not a header name: {name:?}");
        (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned())
    });
    Head { status, headers: headers.collect() }
}

#[track_caller]
fn one_header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = headers.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name));
    let value = values.next().map(|(_, value)| value.as_str());
    assert!(values.next().is_none(), "header {name} was sent more than once: {headers:?}");
    value
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

impl Response {
    /// Checks a refusal as the contract has it: a problem with every member, whose `field` is the
    /// one that is wrong. Gives the last part of its `type`.
    #[track_caller]
    pub fn expect_refused(self, status: u16, field: &str) -> String {
        let problem = self.clone().expect_status(status).json();
        assert_eq!(problem["field"], field, "another field is blamed: {problem}");
        self.expect_whole_problem(status)
    }

    /// Checks a problem that no one field is to blame for: every other member is there. Gives the
    /// last part of its `type`.
    #[track_caller]
    pub fn expect_whole_problem(self, status: u16) -> String {
        let kind = self.clone().expect_problem(status);
        let problem = self.json();
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(!detail.is_empty(), "a problem says what is wrong: {problem}");
        let slug = kind.strip_prefix("urn:tidegate:problem:");
        slug.unwrap_or_else(|| panic!("not a stable type: {problem}")).to_owned()
    }
}
