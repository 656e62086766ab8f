//! An app server behind the gateway that does what the test says, request by request: the test reads
//! what the gateway sends it, and answers by bytes.

use std::net::{SocketAddr, TcpListener};

use super::chunks::ChunkDecoder;
use super::deadline::{Deadline, PATIENCE, pause};
use super::http::{Connection, Received};

/// A server that waits for the test to accept.
#[derive(Debug)]
pub struct Origin {
    listener: TcpListener,
}

/// A request as the gateway sent it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The request line.
    pub line: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body, its transfer coding taken off.
    pub body: Vec<u8>,
}

impl Request {
    /// All values of this name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(sent, _)| sent == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of this name.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} was sent more than once: {all:?}");
        all.first().copied()
    }
}

impl Origin {
    /// Listens on a free port.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { listener }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }

    /// As the configuration has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Waits for the gateway to connect.
    #[track_caller]
    pub fn accept(&self) -> OriginConnection {
        self.accept_within(Deadline::patient())
            .unwrap_or_else(|| panic!("the gateway did not connect within {PATIENCE:?}"))
    }

    /// A connection, if the gateway makes one in time.
    pub fn accept_within(&self, deadline: Deadline) -> Option<OriginConnection> {
        self.listener.set_nonblocking(true).expect("a listener takes the flag");
        while deadline.left().is_some() {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("a socket takes the flag");
                stream.set_nodelay(true).expect("a socket takes the option");
                return Some(OriginConnection(Connection::from(stream)));
            }
            pause(std::time::Duration::from_millis(1));
        }
        None
    }

    /// Accepts, reads one request, answers it, and leaves the connection open.
    #[track_caller]
    pub fn answer(&self, response: &str) -> (Request, OriginConnection) {
        let mut connection = self.accept();
        let request = connection.read_request();
        connection.send(response);
        (request, connection)
    }
}

/// A connection that the gateway made.
#[derive(Debug)]
pub struct OriginConnection(pub Connection);

impl OriginConnection {
    /// Sends these bytes as they are.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.0.send(text.as_bytes());
    }

    /// Waits for the head of a request; its body is still to come.
    #[track_caller]
    pub fn read_head(&mut self) -> Request {
        loop {
            if let Some(end) = self.0.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head: Vec<u8> = self.0.buffer.drain(..end + 4).collect();
                let head = String::from_utf8(head).expect("a request head is ASCII here");
                let mut lines = head.trim_end().split("\r\n");
                let line = lines.next().unwrap_or_default().to_owned();
                let headers = lines.map(|line| {
                    let (name, value) = line.split_once(':').expect("a header has a colon");
                    (name.to_ascii_lowercase(), value.trim().to_owned())
                });
                return Request { line, headers: headers.collect(), body: Vec::new() };
            }
            self.read_more("a request's head");
        }
    }

    /// Waits for a whole request.
    #[track_caller]
    pub fn read_request(&mut self) -> Request {
        let mut request = self.read_head();
        if request.header("transfer-encoding") == Some("chunked") {
            assert_eq!(request.header("content-length"), None, "both framings");
            let mut chunks = ChunkDecoder::default();
            while !chunks.ended() {
                if self.0.buffer.is_empty() {
                    self.read_more("the rest of a chunked body");
                }
                let rest = chunks.feed(&self.0.buffer, &mut request.body).expect("well-formed");
                self.0.buffer.drain(..self.0.buffer.len() - rest);
            }
        } else if let Some(length) = request.header("content-length") {
            let length: usize = length.parse().expect("content-length is a number");
            while self.0.buffer.len() < length {
                self.read_more("the rest of a body");
            }
            request.body = self.0.buffer.drain(..length).collect();
        }
        request
    }

    #[track_caller]
    fn read_more(&mut self, what: &str) {
        match self.0.receive(Deadline::patient()) {
            Received::Bytes(_) => {}
            other => panic!("the server waited for {what}, got {other:?}"),
        }
    }
}
