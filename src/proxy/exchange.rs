//! One request and its answer: a server is chosen and asked, and where that fails without harm, another.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use smallvec::SmallVec;

use super::activity::Activity;
use super::download::{Download, Events};
use super::drain::Drain;
use super::error::ProxyError;
use super::group::Limits;
use super::headers::{self, Forwarding};
use super::interim::Interims;
use super::link::Link;
use super::pool::{ConnectError, Lease, Pools, connect};
use super::table::Route;
use super::tunnel::Tunnel;
use super::upload::Upload;
use crate::config::schema::HostHeader;
use crate::metrics::{Counted, UpstreamMetrics};
use crate::net::Peer;
use crate::request_body::{BodyFault, RequestBody};

/// What is wrong with a 101 out of nothing.
const UNASKED: &str = "it switches to a protocol that nobody has asked for";

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

/// Why a server did not answer, and the body, if another may be asked.
struct Failure {
    error: ProxyError,
    body: Option<Upload>,
}

/// A request to one of a group's servers.
#[derive(Debug)]
pub struct Asking<'a> {
    pub(super) pools: &'a Rc<Pools>,
    pub(super) route: &'a Arc<Route>,
    /// The client's.
    pub(super) head: &'a Parts,
    pub(super) forwarding: Forwarding<'a>,
    /// Where the client takes interim responses.
    pub(super) interims: Option<&'a Interims>,
    pub(super) drain: &'a Drain,
    pub(super) metrics: &'a Arc<UpstreamMetrics>,
    /// How long an upgraded connection may be silent.
    pub(super) upgrade_silence_max: Duration,
}

impl<'a> Asking<'a> {
    /// The client.
    pub(super) fn peer(&self) -> &'a Peer {
        self.forwarding.peer
    }

    /// Asks servers until one answers.
    ///
    /// # Errors
    /// None did.
    pub async fn send(self, body: Option<RequestBody>) -> Result<Exchange, ProxyError> {
        let began = Instant::now();
        let activity = Activity::new(began);
        let asked = self.ask(body, activity.clone()).await;
        match &asked {
            Ok(Exchange::Response(response) | Exchange::Upgrade(response, _)) => {
                let after = activity.moved().saturating_duration_since(began);
                self.metrics.count_answer(response.status().as_u16(), after);
            }
            Err(error) if error.is_the_servers() => self.metrics.count_unanswered(),
            Err(_) => {}
        }
        asked
    }

    async fn ask(
        &self,
        body: Option<RequestBody>,
        activity: Activity,
    ) -> Result<Exchange, ProxyError> {
        let group = &self.route.group;
        let mut body = Upload::new(body, activity.clone());
        let mut tried = SmallVec::<[usize; SERVERS_MAX]>::new();
        let mut failed = None;
        loop {
            let Some((at, place)) = group.pick(&tried, activity.moved()) else {
                let busy = || ProxyError::Busy { group: group.name.clone() };
                return Err(failed.unwrap_or_else(busy));
            };
            if !tried.is_empty() {
                self.metrics.retries.add(1);
            }
            let attempt = Attempt { asking: self, at, activity: &activity };
            match attempt.send(body).await {
                Ok((link, response)) => {
                    group.note_success(at);
                    let pools = Rc::clone(self.pools);
                    let lease = Lease { link, place, limits: group.limits, pools };
                    return self.finish(lease, response, activity).await;
                }
                Err(Failure { error, body: again }) => {
                    if !matches!(error, ProxyError::Body(_) | ProxyError::HeadTooLarge { .. })
                        && group.note_failure(at, Instant::now())
                    {
                        self.metrics.ejections.add(1);
                    }
                    let server = &place.server().url.authority;
                    tracing::debug!(%error, %server, "a server failed");
                    tried.push(at);
                    match again.filter(|_| tried.len() < SERVERS_MAX) {
                        Some(again) => body = again,
                        None => return Err(error),
                    }
                    failed = Some(error);
                    // The next server's time begins.
                    activity.note();
                }
            }
        }
    }

    fn bad_response(&self, why: &str) -> ProxyError {
        let group = self.route.group.name.clone();
        ProxyError::BadResponse { group, error: io::Error::other(why) }
    }

    async fn finish(
        &self,
        lease: Lease,
        response: Response<Incoming>,
        activity: Activity,
    ) -> Result<Exchange, ProxyError> {
        let (mut head, body) = response.into_parts();
        let is_over = activity.client_is_done();
        activity.note();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            // One with a length is a file, and comes to its end.
            let is_stream =
                headers::is_event_stream(&head.headers) && body.size_hint().exact().is_none();
            let is_compressed = head.headers.contains_key(CONTENT_ENCODING);
            let events = is_stream.then(|| Events::new(self.drain.departure(), is_compressed));
            headers::to_client(&mut head, self.route, None);
            if !is_over {
                // Nobody reads the rest: the client must not take this connection for its next request.
                head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let body = Download::new(body, lease, activity, events);
            return Ok(Exchange::Response(Response::from_parts(head, body)));
        }
        if self.forwarding.upgrade.is_none() {
            return Err(self.bad_response(UNASKED));
        }
        let protocol = head.headers.get(UPGRADE).cloned();
        headers::to_client(&mut head, self.route, protocol);
        let Lease { link, place, .. } = lease;
        let Some(server) = link.into_bare().await else { return Err(self.bad_response(UNASKED)) };
        let departure = self.drain.departure();
        let counted = Counted::new(self.metrics, |metrics| &metrics.tunnels);
        let tunnel = Tunnel::new(server, place, self.upgrade_silence_max, departure, counted);
        Ok(Exchange::Upgrade(Response::from_parts(head, Download::empty()), tunnel))
    }
}

/// Says how the body ends in the one way that everybody reads alike.
fn state_framing(request: &mut Request<Upload>) {
    let (length, is_empty) = (request.body().size_hint().exact(), request.body().is_end_stream());
    let headers = request.headers_mut();
    match length {
        // With leading zeros a length is octal to some, and too long to others.
        Some(length) if headers.contains_key(CONTENT_LENGTH) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        // hyper takes a GET or HEAD that does not say so for one without a body.
        None if !is_empty => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        _ => {}
    }
}

/// One server that is asked.
struct Attempt<'a> {
    asking: &'a Asking<'a>,
    at: usize,
    activity: &'a Activity,
}

impl Attempt<'_> {
    /// A connection that was used before may have been closed by the server just now: that says nothing
    /// about the server, and it is asked again on a new one.
    async fn send(&self, mut body: Upload) -> Result<(Link, Response<Incoming>), Failure> {
        let group = &*self.asking.route.group;
        let server = &group.servers[self.at];
        // What goes on with another protocol needs a connection of its own.
        let (pools, metrics) = (self.asking.pools, self.asking.metrics);
        let is_http2 = group.is_http2 && self.asking.forwarding.upgrade.is_none();
        let kept = match is_http2 {
            true => self.asking.pools.share(server.slot),
            false => self.asking.pools.take(server.slot, self.activity.moved()),
        };
        if let Some(link) = kept {
            match self.send_on(link, body).await {
                Ok(answered) => return Ok(answered),
                Err(Failure { error: ProxyError::BadResponse { .. }, body: Some(again) }) => {
                    self.asking.metrics.retries.add(1);
                    body = again;
                }
                Err(failure) => return Err(failure),
            }
        }
        // In a box, since it is much larger than the rest, and seldom needed.
        match Box::pin(connect(pools, group, server, is_http2, metrics)).await {
            Ok(link) => {
                self.activity.note();
                self.send_on(link, body).await
            }
            Err(failed) => {
                let group_name = group.name.clone();
                let error = match failed {
                    ConnectError::Io(error) => ProxyError::Unreachable { group: group_name, error },
                    ConnectError::Timeout => ProxyError::ConnectTimeout {
                        group: group_name,
                        after: group.limits.connect_timeout,
                    },
                };
                Err(Failure { error, body: Some(body) })
            }
        }
    }

    async fn send_on(
        &self,
        mut link: Link,
        body: Upload,
    ) -> Result<(Link, Response<Incoming>), Failure> {
        let group = &*self.asking.route.group;
        // To do what it asks for twice is the same as once.
        let is_harmless = body.is_end_stream() && self.asking.head.method.is_idempotent();
        let mut request = self.request(body);
        if link.is_http2() {
            headers::to_http2(&mut request, group.servers[self.at].url.is_tls);
        } else if let Some(interims) = self.asking.interims {
            interims.expect(&mut request, self.asking.route);
        }
        let longest = || self.longest(&group.limits);
        let sent = link.send(request, self.activity, longest).await;
        match sent {
            Some(Ok(response)) => Ok((link, response)),
            Some(Err(mut failed)) => {
                if let Some(fault) = self.activity.client_failed() {
                    return Err(Failure { error: ProxyError::Body(fault), body: None });
                }
                let unsent = failed.take_message().map(Request::into_body);
                let empty = || is_harmless.then(|| Upload::new(None, self.activity.clone()));
                let (group_name, error) = (group.name.clone(), failed.into_error());
                if error.is_parse_too_large() {
                    let fields_max = group.limits.response_fields_max;
                    let error = ProxyError::HeadTooLarge { group: group_name, fields_max };
                    return Err(Failure { error, body: None });
                }
                let error = io::Error::other(error);
                Err(Failure {
                    error: ProxyError::BadResponse { group: group_name, error },
                    body: unsent.or_else(empty),
                })
            }
            None if self.activity.awaits_client() => {
                Err(Failure { error: ProxyError::Body(BodyFault::Broken), body: None })
            }
            None => {
                let after = group.limits.response_timeout;
                let error = ProxyError::ResponseTimeout { group: group.name.clone(), after };
                Err(Failure { error, body: None })
            }
        }
    }

    fn request(&self, body: Upload) -> Request<Upload> {
        let Asking { head, route, forwarding, .. } = self.asking;
        let mut request = headers::to_server(head, body, route, forwarding);
        state_framing(&mut request);
        // HTTP/1.0 may leave the host out, which we may not.
        let has_host = request.headers().contains_key(HOST);
        if route.rules.host_header == HostHeader::Server || !has_host {
            let host = route.group.servers[self.at].host.clone();
            request.headers_mut().insert(HOST, host);
        }
        request
    }

    fn longest(&self, limits: &Limits) -> Duration {
        match self.activity.awaits_client() {
            true => limits.body_timeout,
            false => limits.response_timeout,
        }
    }
}
