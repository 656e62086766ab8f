//! One request and its answer: a server is chosen and asked, and where that fails without harm, another.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use smallvec::SmallVec;

use super::activity::Activity;
use super::body::{Download, Upload};
use super::error::ProxyError;
use super::group::Limits;
use super::headers;
use super::link::Link;
use super::pool::{ConnectError, Lease, Pools, connect};
use super::table::Route;
use super::tunnel::Tunnel;
use crate::config::schema::HostHeader;
use crate::request_body::{BodyFault, RequestBody};

/// Most servers that are tried for one request.
const SERVERS_MAX: usize = 3;

/// What became of a request.
#[derive(Debug)]
pub enum Exchange {
    /// A response.
    Response(Response<Download>),
    /// A 101, after which the connection is no longer HTTP.
    Upgrade(Response<Download>, Tunnel),
}

/// Why a server did not answer, and the request, if another may be asked.
struct Failure {
    error: ProxyError,
    request: Option<Request<Upload>>,
}

/// A request to one of a group's servers.
#[derive(Debug)]
pub struct Asking<'a> {
    pub(super) pools: &'a Rc<Pools>,
    pub(super) route: &'a Route,
    pub(super) head: Parts,
    /// How long an upgraded connection may be silent, where the client wants one.
    pub(super) upgrade: Option<Duration>,
}

impl Asking<'_> {
    /// Asks servers until one answers.
    ///
    /// # Errors
    /// None did.
    pub async fn send(self, body: Option<RequestBody>) -> Result<Exchange, ProxyError> {
        let Self { pools, route, head, upgrade } = self;
        let group = &route.group;
        let activity = Activity::new();
        let mut request = Request::from_parts(head, Upload::new(body, activity.clone()));
        let mut tried = SmallVec::<[usize; SERVERS_MAX]>::new();
        let mut failed = None;
        loop {
            let Some((at, place)) = group.pick(&tried, Instant::now()) else {
                return Err(
                    failed.unwrap_or_else(|| ProxyError::Busy { group: group.name.clone() })
                );
            };
            if route.rules.host_header == HostHeader::Server {
                request.headers_mut().insert(HOST, place.server().host.clone());
            }
            let attempt = Attempt { pools, route, at, activity: &activity };
            match attempt.send(request).await {
                Ok((link, response)) => {
                    group.note_success(at);
                    let lease =
                        Lease { link, place, limits: group.limits, pools: Rc::clone(pools) };
                    return finish(route, lease, response, activity, upgrade).await;
                }
                Err(Failure { error, request: again }) => {
                    if !matches!(error, ProxyError::Body(_)) {
                        group.note_failure(at, Instant::now());
                    }
                    tracing::debug!(%error, server = %place.server().url.authority, "a server failed");
                    tried.push(at);
                    match again.filter(|_| tried.len() < SERVERS_MAX) {
                        Some(again) => request = again,
                        None => return Err(error),
                    }
                    failed = Some(error);
                }
            }
        }
    }
}

/// One server that is asked.
struct Attempt<'a> {
    pools: &'a Pools,
    route: &'a Route,
    at: usize,
    activity: &'a Activity,
}

impl Attempt<'_> {
    /// A connection that was used before may have been closed by the server just now: that says nothing
    /// about the server, and it is asked again on a new one.
    async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Link, Response<Incoming>), Failure> {
        let group = &*self.route.group;
        let server = &group.servers[self.at];
        if let Some(link) = self.pools.take(server.slot, Instant::now()) {
            match self.send_on(link, request).await {
                Ok(answered) => return Ok(answered),
                Err(Failure { error: ProxyError::BadResponse { .. }, request: Some(again) }) => {
                    request = again;
                }
                Err(failure) => return Err(failure),
            }
        }
        match connect(server, group.limits.connect_timeout).await {
            Ok(link) => self.send_on(link, request).await,
            Err(failed) => {
                let group_name = group.name.clone();
                let error = match failed {
                    ConnectError::Io(error) => ProxyError::Unreachable { group: group_name, error },
                    ConnectError::Timeout => ProxyError::ConnectTimeout {
                        group: group_name,
                        after: group.limits.connect_timeout,
                    },
                };
                Err(Failure { error, request: Some(request) })
            }
        }
    }

    async fn send_on(
        &self,
        mut link: Link,
        request: Request<Upload>,
    ) -> Result<(Link, Response<Incoming>), Failure> {
        let group = &*self.route.group;
        let copy = copy_if_harmless(&request, self.activity);
        self.activity.note();
        let longest = || self.longest(&group.limits);
        let sent = link.send(request, self.activity, longest).await;
        let group_name = group.name.clone();
        match sent {
            Some(Ok(response)) => Ok((link, response)),
            Some(Err(mut failed)) => {
                if let Some(fault) = self.activity.client_failed() {
                    return Err(Failure { error: ProxyError::Body(fault), request: None });
                }
                let request = failed.take_message().or(copy);
                let error = io::Error::other(failed.into_error());
                Err(Failure {
                    error: ProxyError::BadResponse { group: group_name, error },
                    request,
                })
            }
            None if self.activity.awaits_client() => {
                Err(Failure { error: ProxyError::Body(BodyFault::Broken), request: None })
            }
            None => {
                let after = group.limits.response_timeout;
                let error = ProxyError::ResponseTimeout { group: group_name, after };
                Err(Failure { error, request: None })
            }
        }
    }

    fn longest(&self, limits: &Limits) -> Duration {
        match self.activity.awaits_client() {
            true => limits.body_timeout,
            false => limits.response_timeout,
        }
    }
}

/// A copy of a request that may be sent twice: it has no body, and to do what it asks for twice is the
/// same as once.
fn copy_if_harmless(request: &Request<Upload>, activity: &Activity) -> Option<Request<Upload>> {
    let is_harmless = request.body().is_end_stream() && request.method().is_idempotent();
    is_harmless.then(|| {
        let mut copy = Request::new(Upload::new(None, activity.clone()));
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

async fn finish(
    route: &Route,
    mut lease: Lease,
    response: Response<Incoming>,
    activity: Activity,
    upgrade: Option<Duration>,
) -> Result<Exchange, ProxyError> {
    let (mut head, body) = response.into_parts();
    let is_over = activity.client_is_done();
    activity.note();
    match upgrade {
        Some(silence_max) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
            let protocol = head.headers.get(UPGRADE).cloned();
            headers::to_client(&mut head, route, protocol);
            poll_fn(|cx| lease.poll_end(cx)).await;
            let tunnel = Tunnel::new(lease.into_bare(), silence_max);
            Ok(Exchange::Upgrade(Response::from_parts(head, Download::empty()), tunnel))
        }
        _ if head.status == StatusCode::SWITCHING_PROTOCOLS => {
            let error = io::Error::other("it switches to a protocol that nobody has asked for");
            Err(ProxyError::BadResponse { group: route.group.name.clone(), error })
        }
        _ => {
            headers::to_client(&mut head, route, None);
            if !is_over {
                // Nobody reads the rest: the client must not take this connection for its next request.
                head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let body = Download::new(body, lease, activity);
            Ok(Exchange::Response(Response::from_parts(head, body)))
        }
    }
}
