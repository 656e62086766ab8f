//! The publisher's keep-alive connection: requests gathered and written at once,
//! answers read one by one.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Deserialize;

use crate::dialect::Dialect;
use crate::payload::Payload;
use crate::run::Run;
use crate::wire::chunk::ChunkDecoder;
use crate::wire::head::{HeadReader, ResponseHead};

/// A publish that takes longer has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A burst's answers must fit into the socket buffers while it is still being written, or
/// both sides would wait for each other.
const BURST_REQUESTS_MAX: u64 = 256;
/// Room for the answers to one burst.
const RECV_BUFFER_BYTES: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PublishApi {
    /// `POST /topics/{topic}`, the raw body is the data.
    Topics,
    /// `POST /publish`, a JSON object, or an array of them with `--batch`.
    Publish,
    /// `POST /publish`, a JSON object a line.
    Ndjson,
    /// `POST /publish/`, GRIP items whose content is a frame. No pipelining: pushpin closes
    /// the connection after each answer.
    Pushpin,
}

#[derive(Debug, Clone)]
pub(crate) struct PublishTarget {
    pub(crate) address: SocketAddr,
    pub(crate) host: String,
    pub(crate) api: PublishApi,
    pub(crate) dialect: Dialect,
    /// Send arrays, also of one event.
    pub(crate) arrays: bool,
    /// Further header lines, each ended by CRLF.
    pub(crate) headers: String,
}

#[derive(Debug)]
pub(super) enum Reply {
    Accepted(Vec<String>),
    /// By a plain server, whose ids nobody looks at.
    AcceptedPlain,
    /// 429 or 503.
    Refused,
}

#[derive(Deserialize)]
struct AcceptedBody {
    id: Option<String>,
    ids: Option<Vec<String>>,
    durability: Option<String>,
}

pub(super) struct Connection {
    socket: TcpStream,
    /// The last answer said that the server closes.
    closing: bool,
    target: PublishTarget,
    /// Requests not yet written.
    output: Vec<u8>,
    /// The body of the request at hand, and the topic it is for.
    body: Vec<u8>,
    topic: u32,
    nonce_topic: String,
    input: Vec<u8>,
    /// Bytes of `input` already used.
    used: usize,
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let fail = |error| format!("publish connection to {address}: {error}");
    let socket = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).map_err(fail)?;
    socket.set_nodelay(true).map_err(fail)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(fail)?;
    socket.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(fail)?;
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECV_BUFFER_BYTES);
    Ok(socket)
}

impl Connection {
    pub(super) fn open(target: PublishTarget) -> Result<Self, String> {
        Ok(Self {
            socket: connect(target.address)?,
            closing: false,
            target,
            output: Vec::new(),
            body: Vec::new(),
            topic: 0,
            nonce_topic: String::new(),
            input: Vec::new(),
            used: 0,
        })
    }

    /// Adds an event to the request at hand.
    pub(super) fn add_event(&mut self, topic: u32, payload: Payload, run: &Run) {
        self.topic = topic;
        self.nonce_topic = run.plan.topic_name(topic);
        let (opening, separator): (&[u8], &[u8]) = match self.target.api {
            PublishApi::Topics => (b"", b""),
            PublishApi::Publish if self.target.arrays => (b"[", b","),
            PublishApi::Publish | PublishApi::Ndjson => (b"", b"\n"),
            PublishApi::Pushpin => (b"{\"items\":[", b","),
        };
        self.body.extend_from_slice(if self.body.is_empty() { opening } else { separator });
        // Neither the topic nor the data has a character that JSON would escape.
        let topic = &self.nonce_topic;
        let (before, after): (_, &[u8]) = match self.target.api {
            PublishApi::Topics => (String::new(), b""),
            PublishApi::Publish | PublishApi::Ndjson => {
                (format!("{{\"topic\":\"{topic}\",\"data\":\""), b"\"}")
            }
            PublishApi::Pushpin => (
                format!(
                    "{{\"channel\":\"{topic}\",\"formats\":{{\"http-stream\":{{\"content\":\"data: "
                ),
                br#"\n\n"}}}"#,
            ),
        };
        self.body.extend_from_slice(before.as_bytes());
        run.format.write(payload, &mut self.body);
        self.body.extend_from_slice(after);
    }

    pub(super) fn end_request(&mut self) {
        let (path, kind) = match self.target.api {
            PublishApi::Topics => (format!("/topics/{}", self.nonce_topic), "text/plain"),
            PublishApi::Publish => ("/publish".to_owned(), "application/json"),
            PublishApi::Ndjson => ("/publish".to_owned(), "application/x-ndjson"),
            PublishApi::Pushpin => ("/publish/".to_owned(), "application/json"),
        };
        match self.target.api {
            PublishApi::Publish if self.target.arrays => self.body.push(b']'),
            PublishApi::Topics | PublishApi::Publish | PublishApi::Ndjson => {}
            PublishApi::Pushpin => self.body.extend_from_slice(b"]}"),
        }
        let mut head = String::with_capacity(256);
        let _ = write!(
            head,
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n{}\r\n",
            self.target.host,
            self.body.len(),
            self.target.headers
        );
        self.output.extend_from_slice(head.as_bytes());
        self.output.append(&mut self.body);
    }

    /// Requests that may be written before their answers are read.
    pub(super) fn pipelined_max(&self) -> u64 {
        match self.target.api {
            PublishApi::Topics | PublishApi::Publish | PublishApi::Ndjson => BURST_REQUESTS_MAX,
            PublishApi::Pushpin => 1,
        }
    }

    pub(super) fn send(&mut self) -> Result<(), String> {
        if self.closing {
            self.socket = connect(self.target.address)?;
            self.closing = false;
        }
        let written = self.socket.write_all(&self.output);
        self.output.clear();
        written.map_err(|error| format!("writing a publish: {error}"))
    }

    pub(super) fn read_reply(&mut self) -> Result<Reply, String> {
        let mut reader = HeadReader::default();
        let head = loop {
            let mut input = &self.input[self.used..];
            let head = reader.feed(&mut input)?;
            self.used = self.input.len() - input.len();
            match head {
                Some(head) => break head,
                None => self.read_more()?,
            }
        };
        let body = self.read_body(&head)?;
        self.closing = head.close;
        match head.status {
            200..=202 if self.target.dialect == Dialect::Plain => Ok(Reply::AcceptedPlain),
            202 => {
                let shown = || String::from_utf8_lossy(&body).into_owned();
                let answer: AcceptedBody = serde_json::from_slice(&body)
                    .map_err(|error| format!("202 with body {:?}: {error}", shown()))?;
                if answer.durability.is_none() {
                    return Err(format!("202 without durability: {:?}", shown()));
                }
                let ids = answer.ids.or(answer.id.map(|id| vec![id]));
                ids.map(Reply::Accepted).ok_or_else(|| format!("202 without id: {:?}", shown()))
            }
            429 | 503 => Ok(Reply::Refused),
            status => Err(format!("publish answered {status}: {}", String::from_utf8_lossy(&body))),
        }
    }

    fn read_body(&mut self, head: &ResponseHead) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let mut chunks = head.chunked.then(ChunkDecoder::new);
        let length = head.content_length.unwrap_or(0);
        loop {
            let mut input = &self.input[self.used..];
            match &mut chunks {
                None => {
                    let (data, rest) = input.split_at(input.len().min(length - body.len()));
                    body.extend_from_slice(data);
                    input = rest;
                }
                Some(chunks) => {
                    while let Some(data) = chunks.next(&mut input).map_err(|e| e.to_string())? {
                        body.extend_from_slice(data);
                    }
                }
            }
            self.used = self.input.len() - input.len();
            let done = chunks.as_ref().map_or(body.len() == length, ChunkDecoder::is_done);
            if done {
                return Ok(body);
            }
            if body.len() > ANSWER_BYTES_MAX {
                return Err("an answer without end".to_owned());
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), String> {
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
        let before = self.input.len();
        self.input.resize(before + (16 << 10), 0);
        let read = self.socket.read(&mut self.input[before..]);
        self.input.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err("the gateway closed the publish connection".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("reading a publish answer: {error}")),
        }
    }
}
