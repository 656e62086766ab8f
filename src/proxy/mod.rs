//! The reverse proxy: requests that are no streams of ours go to the app servers behind.
//!
//! ```text
//! client ─► route (table) ─► headers ─► a server (group) ─► its link (pool, link) ─► upload ─► server
//! client ◄─────── download ◄── headers ◄────────────────────────────────────────────┘
//! ```
//!
//! Nothing is buffered: bodies pass frame by frame, as fast as the slower side. A server's HTTP/1
//! connection is driven by the task of the client's connection, so an exchange costs no hop between tasks. What
//! may have reached a server is sent again only where that cannot do harm. Event streams that a server
//! shares are read once (`collapse`, `feed`) and published to the hub. Called by `http`.

mod activity;
mod collapse;
mod download;
mod drain;
mod error;
mod event_end;
mod exchange;
mod feed;
mod group;
mod headers;
mod interim;
mod link;
mod pool;
mod table;
mod tunnel;
mod upload;

pub use collapse::{Reply, Seat};
pub use download::Download;
pub use error::ProxyError;
pub use exchange::{Asking, Exchange};
pub use interim::Interims;
pub use tunnel::Tunnel;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use ipnet::IpNet;

use self::collapse::{Ask, Found, Registry, Turn};
use self::drain::Drain;
use self::feed::Feed;
use self::group::Group;
use self::headers::Forwarding;
use self::pool::Pools;
use self::table::Table;
use crate::access::RequestId;
use crate::config::schema::{self, DEFAULT_UPSTREAM, Route, Upstream};
use crate::hub::Hub;
use crate::metrics::UpstreamMetrics;
use crate::net::Peer;
use crate::request_body::RequestBody;
use crate::sse::{Cursor, LAST_EVENT_ID};
use crate::tls::TlsError;
use crate::topic::Topic;

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
    /// Event streams that several clients read.
    shared_streams: Registry,
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
            shared_streams: Registry::default(),
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
pub struct Proxy {
    plan: Arc<Plan>,
    pools: Rc<Pools>,
    drain: Rc<Drain>,
    /// Of the groups.
    metrics: Vec<Arc<UpstreamMetrics>>,
    /// Where shared event streams are published,
    hub: Arc<Hub>,
    /// and how large one of their events may be.
    event_bytes_max: Cell<usize>,
}

impl Proxy {
    /// A proxy with no connections yet. `metrics` are this shard's, of the plan's groups. Event streams
    /// that are shared are published to `hub`, up to `event_bytes_max` bytes an event.
    pub fn new(
        plan: Arc<Plan>,
        metrics: Vec<Arc<UpstreamMetrics>>,
        hub: Arc<Hub>,
        event_bytes_max: usize,
    ) -> Self {
        let pools = Rc::new(Pools::new(plan.slots));
        let event_bytes_max = Cell::new(event_bytes_max);
        Self { plan, pools, drain: Rc::new(Drain::new()), metrics, hub, event_bytes_max }
    }

    /// A proxy by another plan, with connections of its own. What is in progress by the old one ends as
    /// it would have, and its connections with it; those that nobody uses are closed.
    #[must_use]
    pub fn renewed(&self, plan: Arc<Plan>, metrics: Vec<Arc<UpstreamMetrics>>) -> Self {
        self.pools.retire();
        for metrics in &self.metrics {
            metrics.idle.set(0);
        }
        Self {
            pools: Rc::new(Pools::new(plan.slots)),
            plan,
            drain: Rc::clone(&self.drain),
            metrics,
            hub: Arc::clone(&self.hub),
            event_bytes_max: self.event_bytes_max.clone(),
        }
    }

    /// Whether this is the plan it goes by.
    pub fn follows(&self, plan: &Arc<Plan>) -> bool {
        Arc::ptr_eq(&self.plan, plan)
    }

    /// Bounds the events of shared streams that are read from now on.
    pub fn bound_events(&self, bytes_max: usize) {
        self.event_bytes_max.set(bytes_max);
    }

    /// Finds out where a request goes, and makes it one to a server there; `None` if it is for us, and
    /// answered with 204. `has_body` is whether the request has one. What servers say before they answer goes
    /// to `interims`, if the client takes that.
    ///
    /// # Errors
    /// There is no such route, or the request is not one to be sent on.
    pub fn prepare<'a>(
        &'a self,
        head: &'a Parts,
        has_body: bool,
        peer: &'a Peer,
        interims: Option<&'a Interims>,
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
            request_id: head
                .extensions
                .get()
                .map_or_else(|| fastrand::u128(..), |RequestId(id)| *id),
        };
        let upgrade_silence_max = self.plan.tunnel_silence_max;
        let (pools, drain) = (&self.pools, &self.drain);
        let metrics = &self.metrics[route.group.index];
        Ok(Some(Asking {
            pools,
            route,
            head,
            forwarding,
            interims,
            drain,
            metrics,
            upgrade_silence_max,
        }))
    }

    /// Sends a request that was [prepared](Self::prepare), or finds it a place with an event stream that
    /// is there already.
    ///
    /// # Errors
    /// No server has answered.
    pub async fn exchange(
        self: &Rc<Self>,
        asking: Asking<'_>,
        body: Option<RequestBody>,
    ) -> Result<Reply, ProxyError> {
        match Ask::of(asking.route, asking.head).filter(|_| body.is_none()) {
            None => asking.send(body).await.map(Reply::Own),
            // In a box: seldom, and much larger than the rest.
            Some(ask) => Box::pin(self.share(ask, asking)).await,
        }
    }

    async fn share(self: &Rc<Self>, ask: Ask, asking: Asking<'_>) -> Result<Reply, ProxyError> {
        let (mut head, peer) = (asking.head.clone(), asking.peer());
        // An id of ours says nothing to the server.
        let cursor = head.headers.get(LAST_EVENT_ID).map(|id| Cursor::parse(id.as_bytes()));
        if matches!(cursor, Some(Cursor::At(_))) {
            head.headers.remove(LAST_EVENT_ID);
        }
        let longest = asking.route.group.limits.response_timeout;
        let leader = match self.plan.shared_streams.turn(ask, longest).await {
            Turn::Join(seat) => return Ok(Reply::Shared(seat)),
            Turn::Lead(leader) => Some(leader),
            Turn::Alone => None,
        };
        let asking =
            self.prepare(&head, false, peer, asking.interims)?.ok_or(ProxyError::NoRoute)?;
        let mut answered = asking.send(None).await;
        let key = match &mut answered {
            Ok(Exchange::Response(response)) => collapse::take_key(response),
            _ => None,
        };
        let (leader, key, response) = match (leader, key, answered) {
            (Some(leader), Some(key), Ok(Exchange::Response(response))) => (leader, key, response),
            (leader, _, answered) => {
                // Where the server has failed, the next one asks, and not all at once.
                if let Some(leader) = leader.filter(|_| !collapse::has_failed(&answered)) {
                    leader.keep();
                }
                return answered.map(Reply::Own);
            }
        };
        let begin = || {
            let topic = Topic::private(&format!("{:032x}", fastrand::u128(..)));
            let begins = self.hub.begin(&topic);
            (topic, begins)
        };
        match leader.share(key, response.headers(), begin) {
            Found::There(seat) => Ok(Reply::Shared(seat)),
            Found::New(seat) => {
                let shared = Arc::clone(&seat.shared);
                let feed = Feed::new(Rc::clone(self), shared, head, peer.clone());
                tokio::task::spawn_local(feed.run(response.into_body()));
                Ok(Reply::Shared(seat))
            }
        }
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
