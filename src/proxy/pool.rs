//! A shard's connections to servers that no request uses, and those that one does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::group::{Limits, Place, Server};
use super::link::{Bare, Link};
use crate::net::Transport;

/// The idle connections, by the servers' slots. The one used last is taken first, so that those there
/// are too many of grow old.
#[derive(Debug)]
pub(super) struct Pools(Vec<RefCell<VecDeque<Idle>>>);

#[derive(Debug)]
struct Idle {
    link: Box<Link>,
    until: Instant,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum ConnectError {
    Timeout,
    Io(io::Error),
}

impl Pools {
    pub(super) fn new(slots: usize) -> Self {
        Self((0..slots).map(|_| RefCell::default()).collect())
    }

    /// A connection that was used before and is still good.
    pub(super) fn take(&self, slot: usize, now: Instant) -> Option<Box<Link>> {
        let mut idle = self.0[slot].borrow_mut();
        while let Some(Idle { mut link, until }) = idle.pop_back() {
            if until > now && link.is_ready() {
                return Some(link);
            }
        }
        None
    }

    fn put(&self, slot: usize, link: Box<Link>, limits: &Limits, now: Instant) {
        let mut idle = self.0[slot].borrow_mut();
        if idle.len() >= limits.idle_max {
            idle.pop_front();
        }
        if limits.idle_max > 0 {
            idle.push_back(Idle { link, until: now + limits.keepalive });
        }
    }

    /// Closes what nobody has used for long, and what servers have closed.
    pub(super) fn close_old(&self, now: Instant) {
        for idle in &self.0 {
            idle.borrow_mut().retain_mut(|idle| idle.until > now && idle.link.is_ready());
        }
    }
}

/// A new connection. The wait is for all of it, the name's lookup and the handshake included.
pub(super) async fn connect(
    server: &Server,
    connector: Option<&TlsConnector>,
    longest: Duration,
) -> Result<Box<Link>, ConnectError> {
    let host = server.url.host();
    let connecting = async {
        let socket = TcpStream::connect((host, server.url.port())).await?;
        socket.set_nodelay(true)?;
        let transport = match connector.filter(|_| server.url.is_tls) {
            None => Transport::Plain(socket),
            Some(connector) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                Transport::Sealed(Box::new(connector.connect(name, socket).await?.into()))
            }
        };
        Link::open(transport).await
    };
    match timeout(longest, connecting).await {
        Ok(connected) => connected.map_err(ConnectError::Io),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// A connection while a request uses it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) link: Box<Link>,
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) pools: Rc<Pools>,
}

impl Lease {
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.link.drive(cx);
    }

    /// Ready when the connection is no longer one of HTTP.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.poll_end(cx)
    }

    /// The exchange is over: somebody else may have the connection, if it is still good.
    pub(super) fn give_back(self, now: Instant) {
        let Self { mut link, place, limits, pools } = self;
        if link.is_ready() {
            pools.put(place.server().slot, link, &limits, now);
        }
    }

    /// After a 101: the socket, and the place it keeps.
    pub(super) fn into_bare(self) -> (Bare, Place) {
        (self.link.into_bare(), self.place)
    }
}
