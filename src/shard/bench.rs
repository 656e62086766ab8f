//! The parts of a shard that `benches/` measures, as thin handles on the code that a gateway runs.
//! Built with the feature `bench` only, which no release has. Refuses nothing: its callers are
//! benches, which say what they count on.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;
use tokio::runtime::{self, Runtime};

use super::audience::{Audiences, Kind, Selection};
use super::framing::Transfer;
use super::index::AudienceKey;
use super::places::Places;
use super::ring::{self, RingBounds};
use super::streams::Streams;
use crate::config::schema::Config;
use crate::event::{Event, EventNames};
use crate::history::Bounds;
use crate::hub::{EventMailbox, Hub, KeyBounds, Refused, Submission};
use crate::metrics::{ListenerName, ShardMetrics};
use crate::sse::{Cursor, Epoch};
use crate::subscribe::{Opening, RouteId, Routes, Subscription};
use crate::topic::Filter;

/// The index of a shard: finds the audiences that want an event.
#[derive(Default)]
pub struct Matcher {
    audiences: Audiences,
    matching: Vec<AudienceKey>,
}

impl Matcher {
    /// Adds a subscription set, which becomes an audience unless it is one.
    pub fn subscribe(&mut self, filters: Box<[Filter]>) {
        let bounds = RingBounds { frames_max: 256, bytes_max: 1 << 20 };
        let kind = Kind { route: RouteId::default(), broadcast: true, tells_topics: false, bounds };
        self.audiences.find_or_make(kind, Selection::all_of(filters));
    }

    /// How many audiences `event` goes to. An audience remembers the `seq` that it last matched, so
    /// each event has to have another one than the event before.
    pub fn matches(&mut self, event: &Event) -> usize {
        self.matching.clear();
        self.audiences.matching(event, &mut self.matching);
        self.matching.len()
    }
}

/// A ring: what waits for one stream whose client does not read.
pub struct Ring(ring::Ring);

impl Ring {
    /// A ring for at most `frames_max` events of together at most `bytes_max` bytes.
    pub fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self(ring::Ring::new(RingBounds { frames_max, bytes_max }))
    }

    /// Appends an event and returns how many had to go for it.
    pub fn push(&mut self, event: Arc<Event>) -> u64 {
        self.0.push(event).dropped
    }

    /// Takes the oldest event, after the loss that a gap would tell of.
    pub fn pop(&mut self) -> Option<Arc<Event>> {
        self.0.take_lost();
        self.0.pop()
    }
}

/// A shard's way from the hub to the sockets, driven by hand: no listener, no readiness, no timer.
/// A socket that has once been full is not written again, so a bench reads what is written.
pub struct Fanout {
    hub: Arc<Hub>,
    metrics: Arc<ShardMetrics>,
    places: Rc<Places>,
    streams: Streams,
    /// The poll set is registered with it. After `streams`: what is registered goes first.
    _runtime: Runtime,
}

impl Fanout {
    /// A shard without streams, configured as a gateway is that has no configuration. Fails when
    /// the process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        let config = Config::default();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let _entered = runtime.enter();
        let mailbox =
            Arc::new(EventMailbox::new(config.mailbox.events_max, config.mailbox.bytes_max.0));
        let hub = Arc::new(Hub::new(
            Epoch::new(1),
            [Arc::clone(&mailbox)],
            Bounds::default(),
            KeyBounds::default(),
        ));
        let metrics = Arc::<ShardMetrics>::default();
        let places = Places::new(
            Arc::default(),
            usize::MAX,
            ListenerName::Public,
            Arc::clone(&metrics),
            Arc::default(),
        );
        let routes = Routes::new(&config.stream);
        let streams =
            Streams::new(0, &config, &routes, Arc::clone(&hub), mailbox, Arc::clone(&metrics))?;
        Ok(Self { hub, metrics, places, streams, _runtime: runtime })
    }

    /// Opens a stream on a connected stream socket of any kind, as if hyper had parsed its request,
    /// and writes its head and `hello`. Fails if the socket does.
    pub fn subscribe(&mut self, socket: OwnedFd, filters: Box<[Filter]>) -> io::Result<()> {
        let socket = TcpStream::from(socket);
        socket.set_nonblocking(true)?;
        let subscription = Subscription {
            route: RouteId::default(),
            filters,
            names: EventNames::default(),
            cursor: Cursor::Live,
            limit: None,
            max_duration: None,
            poll: None,
            gzip: false,
            fields: HeaderMap::new(),
            interest: None,
            access: None,
            opening: Opening::Plain,
            grant: None,
        };
        let permit = self.places.take(Ipv4Addr::LOCALHOST.into());
        let permit = permit.expect("addresses are not counted here");
        self.streams.open_socket(socket, subscription, Transfer::Chunked, permit)
    }

    /// Orders a batch and puts it into the mailbox, as a publisher's request does.
    pub fn publish(&self, batch: Vec<Submission>) -> Result<(), Refused> {
        self.hub.publish(batch, None, Instant::now()).map(drop)
    }

    /// Takes everything from the mailbox to the audiences' logs. What does not fit a log is lost.
    pub fn deliver(&mut self) {
        self.streams.deliver_until(self.hub.head());
    }

    /// Sweeps until no visit is owed.
    pub fn sweep(&mut self) {
        while self.streams.has_work() {
            self.streams.sweep();
        }
    }

    /// Events written to streams so far, each stream counted.
    pub fn delivered(&self) -> u64 {
        self.metrics.events_delivered.get()
    }
}
