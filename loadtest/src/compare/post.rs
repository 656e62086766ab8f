//! `post`: single-event POSTs on keep-alive connections, one in flight on each. Counts
//! answers and asks nothing of them but success: the publish path alone, of any server.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde_json::json;

use crate::cli::{Origin, parse_origin};
use crate::clock::{nanos, now_ns};
use crate::probe;
use crate::wire::head::HeadReader;

const EVENT: [u8; 128] = [b'x'; 128];
const TICK: Duration = Duration::from_millis(5);
/// Before anything is measured: connections and allocators warm up.
const WARMUP: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct PostArgs {
    /// Where events are published.
    #[arg(long, value_parser = parse_origin)]
    internal: Origin,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Time measured.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The server's processes.
    #[arg(long, value_delimiter = ',')]
    server_pid: Vec<u32>,
}

struct Connection {
    socket: TcpStream,
    head: HeadReader,
    /// Bytes of the answer's body still to come; `None` within its head.
    body_left: Option<usize>,
}

/// Counters at one moment.
struct Sample {
    at_ns: u64,
    answers: u64,
    server_cpu_ns: Option<u64>,
    client_cpu_ns: u64,
}

/// Prints a JSON report.
pub(crate) fn run(args: &PostArgs) -> Result<bool, String> {
    let (before, after) =
        drive(args).map_err(|error| format!("posting to {}: {error}", args.internal.host))?;
    let seconds = (after.at_ns - before.at_ns) as f64 / 1e9;
    let requests = after.answers - before.answers;
    let server_cpu_ns = after.server_cpu_ns.zip(before.server_cpu_ns);
    let server_us = server_cpu_ns.map(|(after, before)| (after - before) as f64 / 1e3);
    let client_us = (after.client_cpu_ns - before.client_cpu_ns) as f64 / 1e3;
    let percent = |us: f64| us / 1e4 / seconds;
    let report = json!({
        "scenario": "post",
        "command": std::env::args().collect::<Vec<_>>(),
        "connections": args.connections,
        "seconds": seconds,
        "requests": requests,
        "requests_per_second": requests as f64 / seconds,
        "server_cpu_us_per_request": server_us.map(|us| us / requests.max(1) as f64),
        "server_cpu_percent": server_us.map(percent),
        "client_cpu_percent": percent(client_us),
    });
    println!("{report:#}");
    Ok(true)
}

fn drive(args: &PostArgs) -> io::Result<(Sample, Sample)> {
    let mut request = format!(
        "POST /topics/loadtest HTTP/1.1\r\nhost: {}\r\ncontent-type: text/plain\r\n\
         content-length: {}\r\n\r\n",
        args.internal.host,
        EVENT.len()
    )
    .into_bytes();
    request.extend_from_slice(&EVENT);

    let mut poll = Poll::new()?;
    let mut connections = Vec::new();
    for at in 0..args.connections as usize {
        let mut connection = Connection::open(args.internal.address)?;
        poll.registry().register(&mut connection.socket, Token(at), Interest::READABLE)?;
        connection.socket.write_all(&request)?;
        connections.push(connection);
    }
    let mut events = Events::with_capacity(connections.len());
    let (mut answers, mut before) = (0, None);
    let begin_ns = now_ns() + nanos(WARMUP);
    loop {
        match poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            if connection.read_answer()? {
                answers += 1;
                connection.socket.write_all(&request)?;
            }
        }
        let now = now_ns();
        if now >= begin_ns && before.is_none() {
            before = Some(sample(args, answers));
        }
        if let Some(before) = before.take_if(|_| now >= begin_ns + nanos(args.duration)) {
            return Ok((before, sample(args, answers)));
        }
    }
}

fn sample(args: &PostArgs, answers: u64) -> Sample {
    Sample {
        at_ns: now_ns(),
        answers,
        server_cpu_ns: probe::sum(&args.server_pid, probe::cpu_ns),
        client_cpu_ns: probe::own_cpu_ns(),
    }
}

impl Connection {
    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let socket = TcpStream::from_std(socket);
        Ok(Self { socket, head: HeadReader::default(), body_left: None })
    }

    /// Reads what there is; true when that completes the answer.
    fn read_answer(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            let mut input = match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => &buffer[..len],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            };
            if self.body_left.is_none()
                && let Some(head) = self.head.feed(&mut input).map_err(io::Error::other)?
            {
                if !(200..300).contains(&head.status) {
                    return Err(io::Error::other(format!("answered {}", head.status)));
                }
                let length = head.content_length.ok_or(io::ErrorKind::InvalidData)?;
                self.body_left = Some(length);
            }
            if let Some(left) = &mut self.body_left {
                *left = left.saturating_sub(input.len());
                if *left == 0 {
                    self.body_left = None;
                    return Ok(true);
                }
            }
        }
    }
}
