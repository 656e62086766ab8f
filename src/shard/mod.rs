//! A shard: one thread that owns its listeners, its streams and a runtime of its own.
//!
//! ```text
//!  accept ──► http ──► open ─────────────┐
//!                                        ▼
//!  mailbox ──► deliver ──► log / ring ──► sweep ──► sockets
//!                                        ▲
//!             timers ── heartbeat, end ──┘
//! ```
//!
//! Shards share nothing but the hub, whose only way to a shard is its mailbox. Everything below is
//! single-threaded: `Rc` and `RefCell`, no lock, and no borrow is held across an await.

mod accept;
mod addresses;
mod adopt;
mod audience;
mod batch;
#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod deliver;
mod explain;
mod framing;
mod gaps;
mod index;
mod inspect;
mod log;
#[cfg(test)]
#[cfg(tidegate_loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod model_tests;
mod open;
mod pages;
mod places;
mod poll;
mod poll_set;
mod replay;
mod ring;
mod route;
mod sealed;
mod streams;
mod subscriber;
mod sweep;
#[cfg(test)]
mod testing;
mod timers;
mod turn;
mod wheel;

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use self::accept::{Acceptor, Public, Ways};
pub use self::addresses::Addresses;
use self::adopt::Adopting;
use self::framing::Transfer;
use self::places::{Permit, Places};
use self::streams::Streams;
use crate::hook::{Revocation, Revocations};
use crate::http::{Handler, Takeover};
use crate::hub::{EventMailbox, Hub};
use crate::inspect::Questions;
use crate::metrics::{ListenerName, Metrics, ShardMetrics};
use crate::net::Transport;
use crate::proxy::Proxy;
use crate::settings::SettingsWatch;
use crate::source::{OnShard, Starts};
use crate::tls::ServerTls;

/// Where the gateway is in its life. Only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// Serving.
    Running,
    /// No new streams; those that are open end, one after the other.
    Draining,
    /// Everything ends now.
    Stopping,
}

/// Sees the gateway's lifecycle.
#[derive(Clone, Debug)]
pub struct LifecycleWatch(pub watch::Receiver<Lifecycle>);

impl LifecycleWatch {
    /// Waits for a phase, or for the gateway to be gone.
    pub async fn reached(&mut self, phase: Lifecycle) {
        // An error means that the gateway is gone, and that is later than any phase.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }

    /// The phase now.
    pub fn now(&self) -> Lifecycle {
        *self.0.borrow()
    }
}

/// What one shard is made of. `H` answers the internal listener's requests.
pub struct Shard<H> {
    /// Its place among the shards, from 0.
    pub index: usize,
    /// What the gateway goes by, which a reload changes.
    pub settings: SettingsWatch,
    /// Told each time that this shard has taken a change over.
    pub adopted: mpsc::Sender<()>,
    /// Sessions whose streams are to end.
    pub revocations: Revocations,
    /// What operators ask of its streams.
    pub questions: Questions,
    /// The hub, for the order's epoch and head.
    pub hub: Arc<Hub>,
    /// This shard's mailbox.
    pub mailbox: Arc<EventMailbox>,
    /// Every shard's cells.
    pub metrics: Arc<Metrics>,
    /// This shard's public listening socket.
    pub public: TcpListener,
    /// This shard's public listening socket over TLS, if there is one.
    pub tls: Option<(TcpListener, Arc<ServerTls>)>,
    /// This shard's internal listening socket.
    pub internal: TcpListener,
    /// Answers the internal listener's requests.
    pub admin: H,
    /// The upstream event streams that fall to this shard.
    pub sources: (Starts, OnShard),
    /// Connections of the public listener, all shards together.
    pub connections: Arc<AtomicUsize>,
    /// The same, by the client's address.
    pub addresses: Arc<Addresses>,
    /// The gateway's lifecycle.
    pub lifecycle: LifecycleWatch,
    /// Told once when this shard has no more streams after a drain.
    pub drained: mpsc::Sender<()>,
}

/// Part of the drain time over which ends are spread; the rest is for the last ones to be read.
const DRAIN_SPREAD: f64 = 0.8;

/// Time each of the gateway's streams, and of the exchanges with app servers that may last, adds to the spread, so that one with few streams is gone at
/// once: 500 clients a second come back elsewhere.
const DRAIN_PER_STREAM: Duration = Duration::from_millis(2);

/// How often what is too old is looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often a draining shard looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// Time for last responses and ends once the gateway stops.
const STOP_GRACE: Duration = Duration::from_millis(200);

impl<H: Handler> Shard<H> {
    /// Runs the shard on the calling thread until the gateway stops.
    pub fn run(self) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        let settings = self.settings.now();
        let cells = self.metrics.shard(self.index);
        let streams = Streams::new(
            self.index,
            &settings.config,
            &settings.routes,
            Arc::clone(&self.hub),
            self.mailbox,
            Arc::clone(&cells),
        )?;
        let streams = Rc::new(RefCell::new(streams));
        let proxy = Rc::new(Proxy::new(
            Arc::clone(&settings.plan),
            self.metrics.upstreams(self.index),
            Arc::clone(&self.hub),
            settings.config.publish.event_bytes_max.0,
        ));
        let places = |name, (taken, max), addresses| {
            Places::new(taken, max, name, Arc::clone(&cells), addresses)
        };

        let (routes, hooks) = (Arc::clone(&settings.routes), Arc::clone(&settings.hooks));
        let handler = Rc::new(Public {
            streams: Rc::clone(&streams),
            metrics: Arc::clone(&cells),
            ways: RefCell::new(Rc::new(Ways { routes, hooks, proxy })),
        });
        let connections = (self.connections, settings.connections_max);
        let public_places = places(ListenerName::Public, connections, self.addresses);
        let public = |listener, tls| {
            Ok::<_, io::Error>(Acceptor {
                listener: tokio::net::TcpListener::from_std(listener)?,
                places: Rc::clone(&public_places),
                handler: Rc::clone(&handler),
                tls,
                settings: self.settings.clone(),
                lifecycle: self.lifecycle.clone(),
                until: Lifecycle::Draining,
            })
        };
        let open = {
            let streams = Rc::clone(&streams);
            move |takeover, permit| open_stream(&streams, takeover, permit)
        };
        let internal = Acceptor {
            listener: tokio::net::TcpListener::from_std(self.internal)?,
            places: places(ListenerName::Internal, (Arc::default(), usize::MAX), Arc::default()),
            handler: Rc::new(self.admin),
            tls: None,
            settings: self.settings.clone(),
            lifecycle: self.lifecycle.clone(),
            until: Lifecycle::Stopping,
        };
        let adopting = Adopting {
            index: self.index,
            metrics: Arc::clone(&self.metrics),
            streams: Rc::clone(&streams),
            public: Rc::clone(&handler),
            places: Rc::clone(&public_places),
        };
        tokio::task::spawn_local(adopting.run(self.settings.clone(), self.adopted));
        let mut accepting = JoinSet::new();
        accepting.spawn_local(public(self.public, None)?.run(open.clone()));
        if let Some((listener, tls)) = self.tls {
            accepting.spawn_local(public(listener, Some(tls))?.run(open));
        }
        tokio::task::spawn_local(internal.run(|_, _| ()));
        tokio::task::spawn_local(end_sessions(self.revocations, Rc::clone(&streams)));
        tokio::task::spawn_local(close_old_connections(Rc::clone(&handler)));
        tokio::task::spawn_local(inspect::answer(self.questions, Rc::clone(&streams)));
        let (sources, on_shard) = self.sources;
        tokio::task::spawn_local(sources.run(on_shard));
        if self.index == 0 {
            tokio::task::spawn_local(keep_house(self.hub, Arc::clone(&cells)));
        }
        // The kernel spreads connections evenly: the other shards have about as many streams.
        let per_stream = DRAIN_PER_STREAM * self.metrics.shard_count() as u32;
        let settings = self.settings;
        let window = move |open: u32| {
            let longest = settings.now().config.server.drain.0.mul_f64(DRAIN_SPREAD);
            per_stream.saturating_mul(open).min(longest)
        };
        let lasting = (Rc::clone(&streams), handler);
        let stopped = wind_down(accepting, lasting, cells, self.lifecycle, self.drained, window);
        let (metrics, index) = (self.metrics, self.index);
        let alive = move |now| metrics.mark_alive(index, now);
        tokio::select! {
            failed = turn::run(streams, alive) => failed.map(|never| match never {}),
            () = stopped => Ok(()),
        }
    }
}

/// Opens a stream on a connection that was taken over: in the clear, the shard owns its socket from
/// now on.
fn open_stream(streams: &Rc<RefCell<Streams>>, takeover: Takeover, permit: Permit) {
    let Takeover { transport, subscription, version } = takeover;
    let transfer = Transfer::over(version);
    let opened = match transport {
        Transport::Plain(socket) => socket.into_std().and_then(|socket| {
            streams.borrow_mut().open_socket(socket, *subscription, transfer, permit)
        }),
        sealed @ Transport::Sealed(_) => {
            let streams = Rc::clone(streams);
            let serving = sealed::serve(streams, sealed, *subscription, transfer, permit);
            tokio::task::spawn_local(serving);
            Ok(())
        }
    };
    if let Err(error) = opened {
        tracing::debug!(%error, "a stream's client left before it began");
    }
}

/// Has the hub forget what is too old, and keeps account of what it holds.
async fn keep_house(hub: Arc<Hub>, metrics: Arc<ShardMetrics>) {
    loop {
        sleep(HOUSEKEEPING).await;
        let totals = hub.tidy(Instant::now());
        metrics.history_events.set(totals.events as u64);
        metrics.history_bytes.set(totals.bytes as u64);
        metrics.history_topics.set(totals.topics as u64);
        metrics.retained_bytes.set(totals.retained_bytes as u64);
    }
}

/// Ends the streams of sessions that are revoked.
async fn end_sessions(mut revocations: Revocations, streams: Rc<RefCell<Streams>>) {
    while let Some(Revocation { number, session, ended }) = revocations.recv().await {
        let count = streams.borrow_mut().revoke(number, session);
        // Nobody waits for it any more.
        let _ = ended.send(count);
    }
}

/// Closes the connections to app servers that nobody uses any more.
async fn close_old_connections(public: Rc<Public>) {
    loop {
        sleep(HOUSEKEEPING).await;
        public.proxy().tidy(Instant::now());
    }
}

/// Waits for the gateway to drain, then for it to stop, and sees the streams off.
async fn wind_down(
    mut accepting: JoinSet<()>,
    (streams, public): (Rc<RefCell<Streams>>, Rc<Public>),
    metrics: Arc<ShardMetrics>,
    mut lifecycle: LifecycleWatch,
    drained: mpsc::Sender<()>,
    window: impl FnOnce(u32) -> Duration,
) {
    lifecycle.reached(Lifecycle::Draining).await;
    // Until the last connection is counted. An error means that accepting panicked: it is over too.
    while accepting.join_next().await.is_some() {}
    let proxy = public.proxy();
    let open = streams.borrow().subscribers.len() + proxy.lasting();
    let window = window(open as u32);
    streams.borrow_mut().drain(window);
    proxy.drain(window);
    let empty = async {
        while metrics.connections[ListenerName::Public as usize].get() > 0 {
            sleep(DRAIN_POLL).await;
        }
    };
    tokio::select! {
        () = empty => {
            // The gateway waits for as many as there are shards; it may be gone already.
            let _ = drained.send(()).await;
            lifecycle.reached(Lifecycle::Stopping).await;
        }
        () = lifecycle.reached(Lifecycle::Stopping) => {}
    }
    streams.borrow_mut().shut_down();
    let all_gone = async {
        while metrics.connections.iter().any(|open| open.get() > 0) {
            sleep(DRAIN_POLL).await;
        }
    };
    // What is left after the grace goes with the process.
    let _ = timeout(STOP_GRACE, all_gone).await;
}
