//! The reverse proxy: requests that are no streams of ours go to the app servers behind.
//!
//! ```text
//! client ─► route (table) ─► headers ─► a server (group) ─► its link (pool, link) ─► upload ─► server
//! client ◄─────── download ◄── headers ◄────────────────────────────────────────────┘
//! ```
//!
//! Nothing is buffered: bodies pass frame by frame, as fast as the slower side. A server's HTTP/1
//! connection is driven by the task of the client's connection, so an exchange costs no hop between tasks. What
//! may have reached a server is sent again only where that cannot do harm. Called by `http`.

mod activity;
mod download;
mod drain;
mod error;
mod event_end;
mod exchange;
mod group;
mod headers;
mod link;
mod pool;
mod table;
mod tunnel;
mod upload;

pub use download::Download;
pub use error::ProxyError;
pub use exchange::{Asking, Exchange};
pub use tunnel::Tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use ipnet::IpNet;

use self::drain::Drain;
use self::group::Group;
use self::headers::Forwarding;
use self::pool::Pools;
use self::table::Table;
use crate::config::schema::{self, DEFAULT_UPSTREAM, Route, Upstream};
use crate::metrics::UpstreamMetrics;
use crate::net::Peer;
use crate::request_body::RequestBody;
use crate::tls::TlsError;

/// Routes and groups as configured: shared by all shards.
#[derive(Debug)]
pub struct Plan {
    table: Table,
    groups: Vec<Arc<Group>>,
    /// Servers of all groups.
    slots: usize,
    tunnel_silence_max: Duration,
    /// Bytes of a request's body, where there is a bound.
    body_bytes_max: Option<u64>,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    trusted: Vec<IpNet>,
}

impl Plan {
    /// What the configuration says, which is valid.
    ///
    /// # Errors
    /// There are no authorities for servers over TLS.
    pub fn new(proxy: &schema::Proxy) -> Result<Self, TlsError> {
        let (mut upstreams, mut routes) = (proxy.upstreams.clone(), proxy.routes.clone());
        if let Some(url) = &proxy.upstream.0 {
            upstreams.push(Upstream::new(DEFAULT_UPSTREAM, vec![url.clone()]));
            routes.push(Route::everything(DEFAULT_UPSTREAM));
        }
        let (mut groups, mut slots) = (Vec::new(), 0);
        for (index, upstream) in upstreams.iter().enumerate() {
            groups.push(Arc::new(Group::new(upstream, index, slots)?));
            slots += upstream.servers.len();
        }
        Ok(Self {
            table: Table::new(routes, &groups),
            groups,
            slots,
            tunnel_silence_max: proxy.upgrade_idle_timeout.0,
            body_bytes_max: Some(proxy.body_bytes_max.0 as u64).filter(|max| *max > 0),
            trusted: proxy.trusted.iter().map(|network| network.0).collect(),
        })
    }

    /// What the groups are called, in their order.
    pub fn upstreams(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| &*group.name)
    }

    fn trusts(&self, peer: &Peer) -> bool {
        self.trusted.iter().any(|network| network.contains(&peer.address.ip().to_canonical()))
    }
}

/// One shard's way to the app servers.
#[derive(Debug)]
pub struct Proxy {
    plan: Arc<Plan>,
    pools: Rc<Pools>,
    drain: Drain,
    /// Of the groups.
    metrics: Vec<Arc<UpstreamMetrics>>,
}

impl Proxy {
    /// A proxy with no connections yet. `metrics` are this shard's, of the plan's groups.
    pub fn new(plan: Arc<Plan>, metrics: Vec<Arc<UpstreamMetrics>>) -> Self {
        let pools = Rc::new(Pools::new(plan.slots));
        Self { plan, pools, drain: Drain::new(), metrics }
    }

    /// Finds out where a request goes, and makes it one to a server there; `None` if it is for us, and
    /// answered with 204. `has_body` is whether the request has one.
    ///
    /// # Errors
    /// There is no such route, or the request is not one to be sent on.
    pub fn prepare<'a>(
        &'a self,
        head: &'a Parts,
        has_body: bool,
        peer: &'a Peer,
    ) -> Result<Option<Asking<'a>>, ProxyError> {
        if matches!(head.method, Method::CONNECT | Method::TRACE) {
            return Err(ProxyError::Method(head.method.clone()));
        }
        if head.method == Method::OPTIONS && headers::is_last_hop(head)? {
            return Ok(None);
        }
        let host = headers::host(head);
        let host_text = host.as_ref().and_then(|host| host.to_str().ok());
        let route = self.plan.table.find(host_text, &head.method, head.uri.path())?;
        let forwarding = Forwarding {
            peer,
            upgrade: headers::upgrade(head, has_body),
            host,
            is_trusted: self.plan.trusts(peer),
            request_id: fastrand::u128(..),
        };
        let upgrade_silence_max = self.plan.tunnel_silence_max;
        let (pools, drain) = (&self.pools, &self.drain);
        let metrics = &self.metrics[route.group.index];
        Ok(Some(Asking { pools, route, head, forwarding, drain, metrics, upgrade_silence_max }))
    }

    /// Bounds a request's body.
    ///
    /// # Errors
    /// It says already that it is too large.
    pub fn bound(&self, body: &mut RequestBody) -> Result<(), ProxyError> {
        self.plan.body_bytes_max.map_or(Ok(()), |max| body.limit(max)).map_err(ProxyError::Body)
    }

    /// Exchanges that may last for hours: streams of events and upgraded connections.
    pub fn lasting(&self) -> usize {
        self.drain.count()
    }

    /// The gateway drains: what may last for hours ends, one after the other, within `window`.
    pub fn drain(&self, window: Duration) {
        self.drain.begin(window);
    }

    /// Closes the connections that nobody has used for long. Called now and then.
    pub fn tidy(&self, now: Instant) {
        self.pools.close_old(now);
        for (group, metrics) in self.plan.groups.iter().zip(&self.metrics) {
            let idle = group.servers.iter().map(|server| self.pools.idle(server.slot));
            metrics.idle.set(idle.sum::<usize>() as u64);
        }
    }
}
