//! Accepting connections, and serving each until it closes or becomes a stream.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::body::StreamBody;
use super::places::{Permit, Places};
use super::streams::Streams;
use super::{Lifecycle, LifecycleWatch};
use crate::http::{Answer, Handler, Options, Outcome, RequestBody, Takeover, public, serve};
use crate::net::{self, Peer, Scheme};
use crate::proxy::Proxy;
use crate::subscribe::{self, Subscription};

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
        stream: TcpStream,
        address: SocketAddr,
        take_over: impl Fn(Takeover, Permit) + 'static,
    ) {
        // To drop the socket is to close it.
        let Ok(permit) = self.places.take(address.ip()) else { return };
        let peer = Peer::new(address, Scheme::Http);
        let handler = Rc::clone(&self.handler);
        let (options, until) = (self.options, self.until);
        let mut lifecycle = self.lifecycle.clone();
        // If this task panics, its connection dies and the shard lives on.
        tokio::task::spawn_local(async move {
            let shutdown = async move { lifecycle.reached(until).await };
            match serve(stream, peer, handler, options, shutdown).await {
                Outcome::Closed => {}
                Outcome::Cut(cut) => permit.count_cut(cut),
                Outcome::Takeover(takeover) => take_over(takeover, permit),
            }
        });
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
    pub(super) topics_max: usize,
    pub(super) proxy: Rc<Proxy>,
}

impl Handler for Public {
    type Stream = StreamBody;

    async fn handle(
        self: Rc<Self>,
        head: Parts,
        body: &mut RequestBody,
        peer: &Peer,
    ) -> Answer<StreamBody> {
        match head.uri.path() {
            subscribe::PATH => public::subscribe(&head, body, self.topics_max),
            _ => public::forward(&self.proxy, head, body, peer).await,
        }
    }

    fn open(&self, subscription: Subscription) -> Response<StreamBody> {
        public::stream_head(StreamBody::open(Rc::clone(&self.streams), subscription))
    }
}
