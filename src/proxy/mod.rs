//! The reverse proxy: requests that are no streams of ours go to the app servers behind.
//!
//! ```text
//! client ─► route (table) ─► headers ─► a server of the group (group) ─► its link (pool, link) ─► server
//! client ◄─────── body ◄──── headers ◄────────────────────────────────────┘
//! ```
//!
//! Nothing is buffered: bodies pass frame by frame, as fast as the slower side. A server's connection
//! is driven by the task of the client's connection, so an exchange costs no hop between tasks. What
//! may have reached a server is sent again only where that cannot do harm. Called by `http`.

mod activity;
mod body;
mod error;
mod exchange;
mod group;
mod headers;
mod link;
mod pool;
mod table;
mod tunnel;

pub use body::Download;
pub use error::ProxyError;
pub use exchange::Exchange;
pub use tunnel::Tunnel;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, Response};
use hyper::body::Incoming;
use ipnet::IpNet;

use self::exchange::Asked;
use self::group::Group;
use self::headers::Forwarding;
use self::pool::Pools;
use self::table::Table;
use crate::config::schema::{self, DEFAULT_UPSTREAM, Route, Upstream};
use crate::net::Peer;

/// Routes and groups as configured: shared by all shards.
#[derive(Debug)]
pub struct Plan {
    table: Table,
    /// Servers of all groups.
    slots: usize,
    tunnel_silence_max: Duration,
    /// Whose `Forwarded` and `X-Forwarded-*` are believed.
    trusted: Vec<IpNet>,
}

impl Plan {
    /// What the configuration says, which is valid.
    pub fn new(proxy: &schema::Proxy) -> Self {
        let (mut upstreams, mut routes) = (proxy.upstreams.clone(), proxy.routes.clone());
        if let Some(url) = &proxy.upstream.0 {
            upstreams.push(Upstream::new(DEFAULT_UPSTREAM, vec![url.clone()]));
            routes.push(Route::everything(DEFAULT_UPSTREAM));
        }
        let (mut groups, mut slots) = (Vec::new(), 0);
        for upstream in &upstreams {
            groups.push(Arc::new(Group::new(upstream, slots)));
            slots += upstream.servers.len();
        }
        Self {
            table: Table::new(routes, &groups),
            slots,
            tunnel_silence_max: proxy.upgrade_idle_timeout.0,
            trusted: proxy.trusted.iter().map(|network| network.0).collect(),
        }
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
}

impl Proxy {
    /// A proxy with no connections yet.
    pub fn new(plan: Arc<Plan>) -> Self {
        let pools = Rc::new(Pools::new(plan.slots));
        Self { plan, pools }
    }

    /// Sends a request on, and returns what the server answers.
    ///
    /// # Errors
    /// There is no such route, the request is not one to be sent on, or no server answered it.
    pub async fn exchange(
        &self,
        head: &Parts,
        body: Option<Incoming>,
        peer: &Peer,
    ) -> Result<Exchange, ProxyError> {
        if let Some(answer) = answer_here(head)? {
            return Ok(Exchange::Response(answer));
        }
        let host = headers::host(head);
        let route = self.plan.table.find(
            host.as_ref().and_then(|host| host.to_str().ok()),
            &head.method,
            head.uri.path(),
        )?;
        let upgrade = headers::upgrade(head, body.as_ref());
        let forwarding = Forwarding {
            peer,
            host: host.as_ref(),
            is_trusted: self.plan.trusts(peer),
            upgrade: upgrade.as_ref(),
            request_id: fastrand::u128(..),
        };
        let asked = Asked { head, route, forwarding };
        let upgrade = upgrade.as_ref().map(|_| self.plan.tunnel_silence_max);
        exchange::exchange(&self.pools, &asked, body, upgrade).await
    }

    /// Closes the connections that nobody has used for long. Called now and then.
    pub fn tidy(&self, now: Instant) {
        self.pools.close_old(now);
    }
}

/// What is answered without asking a server.
fn answer_here(head: &Parts) -> Result<Option<Response<Download>>, ProxyError> {
    match head.method {
        Method::CONNECT | Method::TRACE => return Err(ProxyError::Method(head.method.clone())),
        Method::OPTIONS if headers::is_last_hop(head)? => {}
        _ => return Ok(None),
    }
    let mut response = Response::new(Download::empty());
    *response.status_mut() = http::StatusCode::NO_CONTENT;
    Ok(Some(response))
}
