//! Accepting connections, and serving each until it closes or becomes a stream.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use ipnet::IpNet;
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
use crate::hook::Hooks;
use crate::http::{Answer, Handler, Options, Outcome, RequestBody, Takeover, public, serve};
use crate::metrics::{Protocol, ShardMetrics};
use crate::net::{self, Peer, Scheme, Tally, Transport, proxy_protocol};
use crate::proxy::{Interims, Proxy};
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

/// One listener of one shard, and what answers its requests.
pub(super) struct Acceptor<H> {
    pub(super) listener: TcpListener,
    pub(super) places: Rc<Places>,
    pub(super) handler: Rc<H>,
    /// On a listener over TLS: what makes the handshakes, and how long one may take.
    pub(super) tls: Option<(Arc<ServerTls>, Duration)>,
    /// Whether connections begin with a PROXY protocol header, and who is believed.
    pub(super) balancers: Option<Arc<[IpNet]>>,
    pub(super) options: Options,
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
        let tls = self.tls.as_ref().map(|(tls, longest)| (tls.acceptor(), *longest));
        let scheme = if tls.is_some() { Scheme::Https } else { Scheme::Http };
        let balancers = self.balancers.clone();
        let handler = Rc::clone(&self.handler);
        let (options, until) = (self.options, self.until);
        let mut lifecycle = self.lifecycle.clone();
        // If this task panics, its connection dies and the shard lives on.
        tokio::task::spawn_local(async move {
            let shutdown = async move { lifecycle.reached(until).await };
            let client = match &balancers {
                None => Some(address),
                Some(balancers) => {
                    let told = told_by_balancer(&mut stream, address, balancers);
                    timeout(options.header_timeout, told).await.ok().flatten()
                }
            };
            let Some(client) = client else { return };
            let peer = Peer::new(client, scheme);
            let transport = match tls {
                None => Some(Transport::Plain(stream)),
                // Boxed: it is large, and the connection's task goes on without it.
                Some(tls) => Box::pin(handshake(stream, tls)).await,
            };
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
    balancers: &[IpNet],
) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    if !balancers.iter().any(|network| network.contains(&ip)) {
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

/// Agrees with a client on TLS, within so long.
async fn handshake(
    stream: TcpStream,
    (acceptor, longest): (TlsAcceptor, Duration),
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
    pub(super) routes: Arc<Routes>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) metrics: Arc<ShardMetrics>,
    pub(super) proxy: Rc<Proxy>,
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
        if let Some(found) = self.routes.find(&head) {
            let answer = public::subscribe(&found, &head, body, &self.hooks, &self.metrics).await;
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
        public::forward(&self.proxy, &self.routes, &head, body, peer, interims).await
    }

    fn open(&self, subscription: Subscription) -> Response<StreamBody> {
        let fields = subscription.fields.clone();
        let streams = Rc::clone(&self.streams);
        let body = StreamBody::open(streams, subscription, Transfer::Bare, Protocol::Http2);
        public::stream_head(body, &fields)
    }
}
