//! Accepting connections, and serving each until it closes or becomes a stream.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::body::StreamBody;
use super::framing::Transfer;
use super::places::{Permit, Places};
use super::poll::{LongPoll, TurnedAway};
use super::streams::Streams;
use super::{Lifecycle, LifecycleWatch};
use crate::config::Config;
use crate::config::web::Network;
use crate::hook::Hooks;
use crate::http::guard::Limits;
use crate::http::{
    Answer, Handler, Http2Options, LeftoverBounds, Options, Outcome, RequestBody, Takeover, public,
    serve,
};
use crate::metrics::{Protocol, ShardMetrics};
use crate::net::{self, Peer, Scheme, Tally, Transport, proxy_protocol};
use crate::proxy::{Interims, Proxy};
use crate::settings::SettingsWatch;
use crate::subscribe::{Routes, Subscription};
use crate::tls::ServerTls;

/// Pauses after a failed accept: doubled up to the longest while it keeps failing. The connections
/// wait in the kernel's backlog.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Pause before looking again whether a connection may be accepted.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Connections accepted before everything else has its turn: their requests, and the shard's streams.
/// Thousands may wait in the backlog at once, and tokio's own limit of 128 holds up live events for
/// what all of those take.
const ACCEPTS_PER_TURN: u32 = 8;

/// What is read and thrown away of a body that a public request should not have had.
const PUBLIC_LEFTOVER_BYTES_MAX: usize = 64 * 1024;

/// One listener of one shard, and what answers its requests.
pub(super) struct Acceptor<H> {
    pub(super) listener: TcpListener,
    pub(super) places: Rc<Places>,
    pub(super) handler: Rc<H>,
    /// On a listener over TLS: what makes the handshakes.
    pub(super) tls: Option<Arc<ServerTls>>,
    /// Each connection is served by those of the moment at which it is accepted.
    pub(super) settings: SettingsWatch,
    pub(super) lifecycle: LifecycleWatch,
    /// The phase in which it stops accepting and its connections finish.
    pub(super) until: Lifecycle,
}

impl<H: Handler> Acceptor<H> {
    /// Accepts until `until`. `take_over` gets the connections that become streams.
    pub(super) async fn run(self, take_over: impl Fn(Takeover, Permit) + Clone + 'static) {
        let mut lifecycle = self.lifecycle.clone();
        let mut reached = std::pin::pin!(lifecycle.reached(self.until));
        let mut pause = PAUSE_MIN;
        let mut accepts = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut reached => break,
                accepted = self.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    pause = PAUSE_MIN;
                    self.serve(stream, address, take_over.clone());
                    accepts += 1;
                    if accepts == ACCEPTS_PER_TURN {
                        accepts = 0;
                        yield_now().await;
                    }
                }
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    self.places.count_failure();
                    let listener = self.places.listener();
                    tracing::warn!(%error, listener, ?pause, "cannot accept connections");
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        // What the kernel has accepted for us already is not turned away.
        while !self.places.full()
            && let Ok((stream, address)) = net::accept_now(&self.listener)
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            self.serve(stream, address, take_over.clone());
        }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        while self.places.full() {
            sleep(FULL_PAUSE).await;
        }
        self.listener.accept().await
    }

    fn serve(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
        take_over: impl Fn(Takeover, Permit) + 'static,
    ) {
        // To drop the socket is to close it.
        let Ok(permit) = self.places.take(address.ip()) else { return };
        let tls = self.tls.as_ref().map(|tls| tls.acceptor());
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let (settings, is_public) = (self.settings.now(), self.places.are_public());
        let handler = Rc::clone(&self.handler);
        let (options, until) = (options(&settings.config, is_public), self.until);
        let mut lifecycle = self.lifecycle.clone();
        // If this task panics, its connection dies and the shard lives on.
        tokio::task::spawn_local(async move {
            let shutdown = async move { lifecycle.reached(until).await };
            let client = match is_public && settings.config.server.proxy_protocol {
                false => Some(address),
                true => {
                    let balancers = &settings.config.proxy.trusted;
                    let told = told_by_balancer(&mut stream, address, balancers);
                    timeout(options.header_timeout, told).await.ok().flatten()
                }
            };
            let Some(client) = client else { return };
            let peer = Peer::new(client, scheme);
            let transport = match tls {
                None => Some(Transport::Plain(stream)),
                // Boxed: it is large, and the connection's task goes on without it.
                Some(tls) => {
                    let longest = settings.config.tls.handshake_timeout.0;
                    Box::pin(handshake(stream, tls, longest)).await
                }
            };
            drop(settings);
            let Some(transport) = transport else { return };
            // Boxed too: a tunnel can be there for hours.
            match Box::pin(serve(transport, peer, handler, options, shutdown)).await {
                Outcome::Closed => {}
                Outcome::Cut(cut) => permit.count_cut(cut),
                Outcome::Takeover(takeover) => take_over(takeover, permit),
                Outcome::Tunnel(client, tunnel) => {
                    if let Err(error) = tunnel.run(client).await {
                        tracing::debug!(%error, "an upgraded connection broke off");
                    }
                    drop(permit);
                }
            }
        });
    }
}

/// The client that a load balancer speaks for; its own address if for itself.
async fn told_by_balancer(
    stream: &mut TcpStream,
    address: SocketAddr,
    balancers: &[Network],
) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    if !balancers.iter().any(|network| network.0.contains(&ip)) {
        tracing::debug!(%address, "closed: not one of proxy.trusted");
        return None;
    }
    match proxy_protocol::read(stream).await {
        Ok(client) => Some(client.unwrap_or(address)),
        Err(error) => {
            tracing::debug!(%error, %address, "closed: no PROXY protocol header");
            None
        }
    }
}

/// How a connection of the public or the internal listener may behave.
fn options(config: &Config, is_public: bool) -> Options {
    let server = &config.server;
    let requests_max = match server.requests_per_connection_max {
        max @ 1.. if is_public => max,
        _ => u64::MAX,
    };
    let leftover_bytes_max = match is_public {
        true => PUBLIC_LEFTOVER_BYTES_MAX,
        false => 2 * config.publish.body_bytes_max.0,
    };
    Options {
        header_timeout: server.header_timeout.0,
        keepalive_timeout: server.keepalive_timeout.0,
        requests_max,
        body_rate_min: server.body_rate_min.0 as u64,
        response_rate_min: server.response_rate_min.0 as u64,
        send_timeout: server.send_timeout.0,
        limits: Limits {
            head_bytes_max: server.header_bytes_max.0,
            request_line_bytes_max: server.request_line_bytes_max.0,
            fields_max: server.header_fields_max,
        },
        http2: Http2Options {
            streams_max: server.http2_streams_max,
            control_frames_max: server.http2_control_frames_max,
            window_timeout: server.http2_window_timeout.0,
            ping_interval: server.http2_ping_interval.0,
        },
        access: config.log.access,
        leftover: LeftoverBounds { bytes_max: leftover_bytes_max, timeout: server.body_timeout.0 },
    }
}

/// Agrees with a client on TLS, within so long.
async fn handshake(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    longest: Duration,
) -> Option<Transport> {
    match timeout(longest, acceptor.accept(Tally::new(stream))).await {
        Ok(Ok(stream)) => Some(Transport::Sealed(Box::new(stream.into()))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

/// Whether only the one connection is concerned, which left before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// The public listener: streams, and the app servers behind.
pub(super) struct Public {
    pub(super) streams: Rc<RefCell<Streams>>,
    pub(super) metrics: Arc<ShardMetrics>,
    /// A request goes by those of the moment at which it comes.
    pub(super) ways: RefCell<Rc<Ways>>,
}

/// Where requests go: a reload puts others in their place, all at once.
pub(super) struct Ways {
    pub(super) routes: Arc<Routes>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) proxy: Rc<Proxy>,
}

impl Public {
    /// The way to the app servers of the moment.
    pub(super) fn proxy(&self) -> Rc<Proxy> {
        Rc::clone(&self.ways.borrow().proxy)
    }
}

impl Handler for Public {
    type Stream = StreamBody;

    async fn handle(
        self: Rc<Self>,
        head: Parts,
        body: &mut RequestBody,
        peer: &Peer,
        interims: Option<&Interims>,
    ) -> Answer<StreamBody> {
        let ways = Rc::clone(&self.ways.borrow());
        if let Some(found) = ways.routes.find(&head) {
            let answer = public::subscribe(&found, &head, body, &ways.hooks, &self.metrics).await;
            return match answer {
                Answer::Stream(subscription) if subscription.poll.is_some() => {
                    let fields = subscription.fields.clone();
                    let poll = LongPoll::new(Rc::clone(&self.streams), subscription);
                    Answer::Response(match poll {
                        Ok(poll) => public::poll_answer(poll.await, &fields),
                        Err(TurnedAway { retry_ms }) => public::poll_later(retry_ms, &fields),
                    })
                }
                answer => answer,
            };
        }
        public::forward(&ways.proxy, &ways.routes, &head, body, peer, interims).await
    }

    fn open(&self, subscription: Subscription) -> Response<StreamBody> {
        let fields = subscription.fields.clone();
        let streams = Rc::clone(&self.streams);
        let body = StreamBody::open(streams, subscription, Transfer::Bare, Protocol::Http2);
        public::stream_head(body, &fields)
    }
}
