//! How streams are opened: source addresses, socket options, pace, the request.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::now_ns;
use crate::plan::Plan;

pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    /// The `host` field: as the user wrote it.
    pub(crate) host: String,
    /// Streams go out from 127.0.0.F to 127.0.0.L in turn; one address has about 28,000
    /// ephemeral ports. `None`: the kernel chooses.
    pub(crate) sources: Option<RangeInclusive<u32>>,
    /// Streams of one thread between connect and `hello`.
    pub(crate) connects_in_flight: u32,
    /// Connects a second over all threads.
    pub(crate) connect_rate: Option<f64>,
    pub(crate) stuck_rcvbuf: usize,
}

impl Dial {
    /// Connects that a thread may begin now, having begun `started` since `from_ns`.
    pub(super) fn budget(&self, from_ns: u64, started: u32, threads: u32) -> u32 {
        let Some(rate) = self.connect_rate else {
            return u32::MAX;
        };
        let elapsed = Duration::from_nanos(now_ns() - from_ns).as_secs_f64();
        let due = (elapsed * rate / f64::from(threads)) as u32;
        due.saturating_sub(started)
    }

    pub(super) fn connect(&self, stream: u32, stuck: bool) -> io::Result<mio::net::TcpStream> {
        let socket =
            Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if stuck {
            // Before connect: it decides the window scale of the handshake.
            socket.set_recv_buffer_size(self.stuck_rcvbuf)?;
        }
        // Closed by reset: thousands of ports in TIME_WAIT would starve the next run.
        socket.set_linger(Some(Duration::ZERO))?;
        if let Some(sources) = &self.sources {
            // At most 254, by the command line's own check.
            let last = sources.start() + stream % (sources.end() + 1 - sources.start());
            let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last as u8));
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            other => other?,
        }
        Ok(mio::net::TcpStream::from_std(socket.into()))
    }

    pub(super) fn request(&self, plan: &Plan, stream: u32, cursor: Option<&str>) -> Vec<u8> {
        let mut request = String::from("GET /events");
        for (at, topic) in plan.subscriptions_of(stream).iter().enumerate() {
            let sign = if at == 0 { '?' } else { '&' };
            // The one character of theirs that a URL does not have.
            let _ = write!(request, "{sign}topic={}", topic.replace('>', "%3E"));
        }
        let _ = write!(
            request,
            " HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\ncache-control: no-cache\r\n",
            self.host
        );
        if let Some(cursor) = cursor {
            let _ = write!(request, "last-event-id: {cursor}\r\n");
        }
        request.push_str("\r\n");
        request.into_bytes()
    }
}

const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
