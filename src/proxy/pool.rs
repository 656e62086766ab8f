//! A shard's connections to servers that no request uses, and those that one does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;

use super::group::{Group, Limits, Place, Server};
use super::link::{Link, Sender, share};
use crate::metrics::{Counted, UpstreamMetrics};
use crate::net::{Tally, Transport};

/// The connections, by the servers' slots.
#[derive(Debug)]
pub(super) struct Pools {
    by_slot: Vec<RefCell<Pool>>,
    /// Whether others have taken their place: nothing is kept here any more.
    retired: Cell<bool>,
}

#[derive(Debug, Default)]
struct Pool {
    /// Of HTTP/1. The one used last is taken first, so that those there are too many of grow old.
    idle: VecDeque<Idle>,
    /// Of HTTP/2, for all requests.
    shared: Option<Sender>,
    /// Held by who makes that: the others wait, and share it.
    sharing: Rc<Mutex<()>>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
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
        Self {
            by_slot: (0..slots).map(|_| RefCell::default()).collect(),
            retired: Cell::new(false),
        }
    }

    /// Closes what nobody uses, now and from now on.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        for pool in &self.by_slot {
            let mut pool = pool.borrow_mut();
            pool.idle.clear();
            pool.shared = None;
        }
    }

    /// A connection that was used before and is still good.
    pub(super) fn take(&self, slot: usize, now: Instant) -> Option<Link> {
        let mut pool = self.by_slot[slot].borrow_mut();
        while let Some(Idle { mut link, until }) = pool.idle.pop_back() {
            if until > now && link.is_ready() {
                return Some(link);
            }
        }
        None
    }

    /// The connection that all requests to a server share.
    pub(super) fn share(&self, slot: usize) -> Option<Link> {
        let sender = self.by_slot[slot].borrow().shared.clone();
        sender.filter(|sender| !sender.is_closed()).map(Link::shared)
    }

    fn put(&self, slot: usize, link: Link, limits: &Limits, now: Instant) {
        if self.retired.get() {
            return;
        }
        let idle = &mut self.by_slot[slot].borrow_mut().idle;
        if idle.len() >= limits.idle_max {
            idle.pop_front();
        }
        if limits.idle_max > 0 {
            idle.push_back(Idle { link, until: now + limits.keepalive });
        }
    }

    /// Connections to a server that no request uses.
    pub(super) fn idle(&self, slot: usize) -> usize {
        self.by_slot[slot].borrow().idle.len()
    }

    /// Closes what nobody has used for long, and what servers have closed.
    pub(super) fn close_old(&self, now: Instant) {
        for pool in &self.by_slot {
            let mut pool = pool.borrow_mut();
            pool.idle.retain_mut(|idle| idle.until > now && idle.link.is_ready());
            pool.shared.take_if(|sender| sender.is_closed());
        }
    }
}

/// A new connection, of HTTP/2 where the group speaks that and `is_http2`. The wait is for all of it, the
/// name's lookup and the handshake included.
pub(super) async fn connect(
    pools: &Pools,
    group: &Group,
    server: &Server,
    is_http2: bool,
    metrics: &Arc<UpstreamMetrics>,
) -> Result<Link, ConnectError> {
    let host = server.url.host();
    let connecting = async {
        let sharing = Rc::clone(&pools.by_slot[server.slot].borrow().sharing);
        let _turn = if is_http2 { Some(sharing.lock().await) } else { None };
        if is_http2 && let Some(link) = pools.share(server.slot) {
            return Ok(link);
        }
        let socket = TcpStream::connect((host, server.url.port())).await?;
        socket.set_nodelay(true)?;
        let transport = match group.connectors.as_ref().filter(|_| server.url.is_tls) {
            None => Transport::Plain(socket),
            Some(connectors) => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                let connector = if is_http2 { &connectors.http2 } else { &connectors.http1 };
                Transport::Sealed(Box::new(
                    connector.connect(name, Tally::new(socket)).await?.into(),
                ))
            }
        };
        let counted = Counted::new(metrics, |metrics| &metrics.connections);
        if !is_http2 {
            return Link::own(transport, group.limits.response_fields_max, counted).await;
        }
        let sender = share(transport, counted).await?;
        if !pools.retired.get() {
            pools.by_slot[server.slot].borrow_mut().shared = Some(sender.clone());
        }
        Ok(Link::shared(sender))
    };
    match timeout(group.limits.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(ConnectError::Io),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// A connection while a request uses it.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) link: Link,
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) pools: Rc<Pools>,
}

impl Lease {
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        self.link.drive(cx);
    }

    /// The exchange is over: somebody else may have the connection, if it is still good.
    pub(super) fn give_back(self, now: Instant) {
        let Self { mut link, place, limits, pools } = self;
        if link.is_ready() {
            pools.put(place.server().slot, link, &limits, now);
        }
    }
}
