//! A server that reads by `strict` and takes nothing else. Behind the gateway it records what left it;
//! behind nginx and haproxy it records what those have understood.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::log::{Log, Seen};
use super::strict::{self, Reading};

/// What is noted as the method of something that is no request.
const NO_REQUEST: &str = "NO-REQUEST";

/// A running server. It ends with the process.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
}

impl Origin {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Log::default();
        let connections_log = log.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let log = connections_log.clone();
                // The other side may go at any time: that ends the connection, and nothing else.
                thread::spawn(move || serve(stream, &log).ok());
            }
        });
        Self { address, log }
    }
}

fn serve(mut stream: TcpStream, log: &Log) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut part, mut told) = (Vec::new(), [0; 65536], false);
    loop {
        match strict::read(&buffer) {
            Reading::Whole { request, length, is_last } => {
                buffer.drain(..length);
                told = false;
                let number = log.note(request);
                let answer =
                    format!("HTTP/1.1 200 OK\r\nx-seen: {number}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes())?;
                if is_last {
                    return Ok(());
                }
            }
            Reading::Partial { waits } => {
                if waits && !told {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                    told = true;
                }
                match stream.read(&mut part)? {
                    0 => return Ok(()),
                    count => buffer.extend_from_slice(&part[..count]),
                }
            }
            Reading::Bad(why) => {
                log.note(Seen::new(NO_REQUEST, why, buffer));
                return Ok(());
            }
        }
    }
}
