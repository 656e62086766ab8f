//! A group of servers: which one gets the next request, and which are left out for a while.
//!
//! Shared by all shards, by counters only: what one shard learns of a server, all know.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::header::HeaderValue;
use smallvec::SmallVec;

use crate::config::schema::{Balance, Upstream};
use crate::config::web::ServerUrl;
use crate::tls::{self, Connectors, TlsError};

/// Servers with the same work.
pub(super) struct Group {
    pub(super) name: Box<str>,
    /// Its place among the groups.
    pub(super) index: usize,
    pub(super) servers: Vec<Arc<Server>>,
    pub(super) limits: Limits,
    /// What makes the handshakes, where a server is spoken to over TLS.
    pub(super) connectors: Option<Connectors>,
    pub(super) is_http2: bool,
    balance: Balance,
    /// Where the next round begins.
    turn: AtomicUsize,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a group's servers may do and take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) keepalive: Duration,
    pub(super) response_fields_max: usize,
    pub(super) idle_max: usize,
    requests_max: usize,
    failures_max: u32,
    ejection: Duration,
}

/// One server.
#[derive(Debug)]
pub(super) struct Server {
    /// Its number among the servers of all groups.
    pub(super) slot: usize,
    /// Where it is.
    pub(super) url: ServerUrl,
    /// What it is called in a request.
    pub(super) host: HeaderValue,
    requests: AtomicUsize,
    /// Failures since the last success.
    failures: AtomicU32,
    /// It is left out until then, in milliseconds from `epoch`.
    left_out_until: AtomicU64,
    epoch: Instant,
}

/// A request's place with a server, for as long as it is held.
#[derive(Debug)]
pub(super) struct Place(Arc<Server>);

impl Place {
    pub(super) fn server(&self) -> &Server {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Group {
    /// The group at this place, whose first server has the number `slot`.
    pub(super) fn new(upstream: &Upstream, index: usize, slot: usize) -> Result<Self, TlsError> {
        let ca = Some(upstream.ca.as_str()).filter(|ca| !ca.is_empty());
        let has_tls = upstream.servers.iter().any(|url| url.is_tls);
        let connectors =
            if has_tls { Some(tls::connectors("proxy.upstreams.ca", ca)?) } else { None };
        let servers = (slot..).zip(&upstream.servers);
        let servers = servers.map(|(slot, url)| Arc::new(Server::new(url, slot)));
        Ok(Self {
            connectors,
            is_http2: upstream.http2,
            name: upstream.name.as_str().into(),
            index,
            servers: servers.collect(),
            limits: Limits {
                connect_timeout: upstream.connect_timeout.0,
                response_timeout: upstream.response_timeout.0,
                body_timeout: upstream.body_timeout.0,
                keepalive: upstream.keepalive.0,
                response_fields_max: upstream.response_fields_max,
                idle_max: upstream.idle_max,
                requests_max: upstream.requests_max,
                failures_max: upstream.failures_max,
                ejection: upstream.ejection.0,
            },
            balance: upstream.balance,
            turn: AtomicUsize::new(0),
        })
    }

    /// A place with the server whose turn it is, apart from those that were `tried`. Servers that are
    /// left out are asked only when all are. `None` if every server has as many requests as it may.
    pub(super) fn pick(&self, tried: &[usize], now: Instant) -> Option<(usize, Place)> {
        let count = self.servers.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut candidates: SmallVec<[usize; 8]> =
            (0..count).map(|step| (turn + step) % count).filter(|at| !tried.contains(at)).collect();
        // Both sorts keep the order of turns where nothing else decides.
        if self.balance == Balance::LeastRequests {
            candidates.sort_by_key(|&at| self.servers[at].requests.load(Ordering::Relaxed));
        }
        candidates.sort_by_key(|&at| self.servers[at].is_left_out(now));
        candidates.into_iter().find_map(|at| Some((at, self.servers[at].place(&self.limits)?)))
    }

    /// A server has answered.
    pub(super) fn note_success(&self, at: usize) {
        let server = &self.servers[at];
        if server.failures.load(Ordering::Relaxed) > 0 {
            server.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A server could not be reached, or did not answer. Whether it is left out from now on.
    pub(super) fn note_failure(&self, at: usize, now: Instant) -> bool {
        let server = &self.servers[at];
        let failures = server.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let is_enough = failures >= self.limits.failures_max && !server.is_left_out(now);
        if is_enough {
            server.left_out_until.store(server.ms(now + self.limits.ejection), Ordering::Relaxed);
            let (server, ejection) = (server.url.authority.as_str(), self.limits.ejection);
            tracing::warn!(server, failures, ?ejection, "a server fails, and is left out");
        }
        is_enough
    }
}

impl Server {
    fn new(url: &ServerUrl, slot: usize) -> Self {
        let host = HeaderValue::from_str(url.authority.as_str());
        Self {
            slot,
            host: host.expect("an authority has no character that a header field may not have"),
            url: url.clone(),
            requests: AtomicUsize::new(0),
            failures: AtomicU32::new(0),
            left_out_until: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    fn place(self: &Arc<Self>, limits: &Limits) -> Option<Place> {
        let place = Place(Arc::clone(self));
        (self.requests.fetch_add(1, Ordering::Relaxed) < limits.requests_max).then_some(place)
    }

    fn is_left_out(&self, now: Instant) -> bool {
        self.left_out_until.load(Ordering::Relaxed) > self.ms(now)
    }

    fn ms(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_millis() as u64
    }
}
