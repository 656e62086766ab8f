//! Which requests for an event stream share one: the registry of all shards.
//!
//! A request joins a stream that is there without asking the server only if another with the same URL
//! and the same of the fields that tell users apart (`collapse_headers`) has been let in to it. Any other
//! asks the server, and shares the stream if the server names the same key for it. So the server decides
//! who sees what, and users' streams never mix. Not on the way of events: locked when a stream opens or
//! ends.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::error::ProxyError;
use super::exchange::Exchange;
use super::headers;
use super::table::Route;
use crate::event_stream::check_head;
use crate::interest::{Interest, Interested};
use crate::media::{EVENT_STREAM, Range};
use crate::sse::EventId;
use crate::topic::Topic;

/// The field of a response by which a server says that its stream may be shared, and with whom: by all
/// who are answered with the same key.
const SHARING_KEY: HeaderName = HeaderName::from_static("tidegate-collapse");

/// Longest key.
const SHARING_KEY_BYTES_MAX: usize = 256;

/// Requests that are remembered; beyond them a request is sent on for itself.
const ENTRIES_MAX: usize = 65_536;

/// How long a stream that nobody reads any more is kept, for a client that comes right back.
const LINGER: Duration = Duration::from_secs(2);

/// What two requests have in common that may share a stream without asking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    url: Url,
    fields: Box<[Option<HeaderValue>]>,
}

/// What is asked for: on this route, of this host, at this path with this query.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Url {
    route: usize,
    host: Option<HeaderValue>,
    path: Box<str>,
}

/// What a request leads to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and short-lived")]
pub enum Reply {
    /// An exchange of its own.
    Own(Exchange),
    /// A place with an event stream that several clients read.
    Shared(Seat),
}

/// A stream of a server's that several clients read.
#[derive(Debug)]
pub(super) struct Shared {
    /// Where its events are published.
    pub(super) topic: Topic,
    /// Its place in the order.
    pub(super) begins: EventId,
    /// Fields of the response that its clients get too.
    pub(super) fields: HeaderMap,
    interested: Interested,
    url: Url,
    key: HeaderValue,
}

/// A place with a shared stream.
#[derive(Debug)]
pub struct Seat {
    pub(super) shared: Arc<Shared>,
    /// Held for as long as the place is taken.
    pub interest: Interest,
    /// Whether it reads the stream from where it began.
    pub(super) is_first: bool,
}

impl Seat {
    /// The topic of the stream's events.
    pub fn topic(&self) -> Topic {
        self.shared.topic.clone()
    }

    /// Fields of the response.
    pub fn fields(&self) -> HeaderMap {
        self.shared.fields.clone()
    }

    /// Where to begin, if the client does not say.
    pub fn begins(&self) -> Option<EventId> {
        self.is_first.then_some(self.shared.begins)
    }
}

/// All shared streams, and the requests that lead to them.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    asks: HashMap<Ask, Answered>,
    /// By what the server has said.
    shared: HashMap<(Url, HeaderValue), Arc<Shared>>,
}

#[derive(Debug)]
enum Answered {
    NotYet(Line),
    Shared(Arc<Shared>),
}

/// Equal requests, of which one asks the server right now.
#[derive(Debug)]
struct Line {
    /// One permit, for who asks. The others wait for it, first come, first served; it is closed when the
    /// server has answered.
    turn: Arc<Semaphore>,
    /// How many they are.
    requests: usize,
}

/// What becomes of a request.
pub(super) enum Turn<'a> {
    /// It has a place with a stream.
    Join(Seat),
    /// It asks the server, and others wait for what comes of it.
    Lead(Leader<'a>),
    /// It is on its own.
    Alone,
}

/// One of several equal requests: it asks the server, or waits for its turn to.
pub(super) struct Leader<'a> {
    registry: &'a Registry,
    ask: Ask,
    turn: Arc<Semaphore>,
    /// Whether its turn has come.
    leads: bool,
}

/// What a response leads to.
pub(super) enum Found {
    /// A stream that is there already.
    There(Seat),
    /// A stream that begins with this response.
    New(Seat),
}

impl Ask {
    /// What a request for an event stream has in common with others, if its route shares streams.
    pub(super) fn of(route: &Route, head: &Parts) -> Option<Self> {
        let is_for_stream = || {
            let wants = EVENT_STREAM.preference(&head.headers);
            head.method == Method::GET && wants.by == Range::Named && wants.weight > 0.0
        };
        if !route.rules.collapse || !is_for_stream() {
            return None;
        }
        let names = &route.rules.collapse_headers;
        let fields = names.iter().map(|name| joined(&head.headers, &name.0));
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = Url { route: route.number, host: headers::host(head), path: path.into() };
        Some(Self { url, fields: fields.collect() })
    }
}

/// All lines of a field as one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    match lines[..] {
        [] => None,
        _ => HeaderValue::from_bytes(&lines.join(&b", "[..])).ok(),
    }
}

/// Takes the key under which a response may be shared off it, which is no business of clients. `None`
/// if it is not to be shared.
pub(super) fn take_key<B>(response: &mut Response<B>) -> Option<HeaderValue> {
    let key = response.headers_mut().remove(SHARING_KEY)?;
    let is_good = (1..=SHARING_KEY_BYTES_MAX).contains(&key.len());
    let is_stream = check_head(response.status(), response.headers()).is_ok();
    (is_good && is_stream).then_some(key)
}

/// Whether a server has failed, which says nothing of whether it shares its stream.
pub(super) fn has_failed(answered: &Result<Exchange, ProxyError>) -> bool {
    match answered {
        Ok(Exchange::Response(response)) => {
            let status = response.status();
            status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
        }
        Ok(Exchange::Upgrade(..)) => false,
        Err(_) => true,
    }
}

impl Registry {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a stream for a request, or has it ask the server. Waits while equal ones ask, but not for longer
    /// than `longest`: servers may fail one after the other.
    pub(super) async fn turn(&self, ask: Ask, longest: Duration) -> Turn<'_> {
        let turn = match self.known().look(&ask) {
            Ok(turn) => return turn,
            Err(turn) => turn,
        };
        let mut leader = Leader { registry: self, ask, turn, leads: false };
        let come = timeout(longest, leader.turn.acquire()).await;
        match come.map(|turn| turn.map(SemaphorePermit::forget)) {
            Ok(Ok(())) => {
                leader.leads = true;
                Turn::Lead(leader)
            }
            // The server has answered: for all, or for one.
            Ok(Err(_)) => self.known().join(&leader.ask).map_or(Turn::Alone, Turn::Join),
            Err(_) => Turn::Alone,
        }
    }

    /// The stream is over: it is not joined any more.
    pub(super) fn forget(&self, shared: &Arc<Shared>) {
        self.known().forget(shared);
    }

    /// Forgets the stream once nobody has read it for a while.
    pub(super) async fn forget_unwanted(&self, shared: &Arc<Shared>) {
        loop {
            shared.interested.all_gone(LINGER).await;
            // Places are given under the lock.
            let mut known = self.known();
            if !shared.interested.is_anybody() {
                known.forget(shared);
                return;
            }
        }
    }
}

impl Known {
    /// What becomes of a request at once, or where it waits for its turn, which it is counted for.
    fn look<'a>(&mut self, ask: &Ask) -> Result<Turn<'a>, Arc<Semaphore>> {
        let is_full = self.asks.len() >= ENTRIES_MAX;
        match self.asks.get_mut(ask) {
            Some(Answered::Shared(shared)) => Ok(Turn::Join(shared.seat(false))),
            Some(Answered::NotYet(line)) => {
                line.requests += 1;
                Err(Arc::clone(&line.turn))
            }
            None if is_full => Ok(Turn::Alone),
            None => {
                let turn = Arc::new(Semaphore::new(1));
                let line = Line { turn: Arc::clone(&turn), requests: 1 };
                self.asks.insert(ask.clone(), Answered::NotYet(line));
                Err(turn)
            }
        }
    }

    fn join(&self, ask: &Ask) -> Option<Seat> {
        match self.asks.get(ask)? {
            Answered::Shared(shared) => Some(shared.seat(false)),
            Answered::NotYet(_) => None,
        }
    }

    fn forget(&mut self, over: &Arc<Shared>) {
        self.shared.remove(&(over.url.clone(), over.key.clone()));
        self.asks.retain(|_, answered| match answered {
            Answered::Shared(shared) => !Arc::ptr_eq(shared, over),
            Answered::NotYet(_) => true,
        });
    }
}

impl Shared {
    /// Whether this is the key of the stream.
    pub(super) fn is_of(&self, key: &HeaderValue) -> bool {
        self.key == *key
    }

    fn seat(self: &Arc<Self>, is_first: bool) -> Seat {
        Seat { shared: Arc::clone(self), interest: self.interested.add(), is_first }
    }
}

impl Leader<'_> {
    /// The server shares its stream under this key. If that is not there yet, `begin` makes a topic
    /// for it.
    pub(super) fn share(
        self,
        key: HeaderValue,
        response: &HeaderMap,
        begin: impl FnOnce() -> (Topic, EventId),
    ) -> Found {
        let mut known = self.registry.known();
        let place = (self.ask.url.clone(), key.clone());
        let (shared, is_new) = match known.shared.entry(place) {
            MapEntry::Occupied(there) => (Arc::clone(there.get()), false),
            MapEntry::Vacant(place) => {
                let (topic, begins) = begin();
                let (url, fields) = (self.ask.url.clone(), for_all(response));
                let interested = Interested::nobody();
                let shared = Shared { topic, begins, fields, interested, url, key };
                (Arc::clone(place.insert(Arc::new(shared))), true)
            }
        };
        let seat = shared.seat(is_new);
        known.asks.insert(self.ask.clone(), Answered::Shared(shared));
        drop(known);
        self.turn.close();
        if is_new { Found::New(seat) } else { Found::There(seat) }
    }

    /// The server does not share: the others ask for themselves, all at once.
    pub(super) fn keep(self) {
        self.registry.known().asks.remove(&self.ask);
        self.turn.close();
    }
}

/// Without an answer, since the server has failed or the client has gone, the next one's turn comes.
impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut known = self.registry.known();
        let Some(Answered::NotYet(line)) = known.asks.get_mut(&self.ask) else { return };
        if !Arc::ptr_eq(&line.turn, &self.turn) {
            return; // It has been answered, and is asked for anew.
        }
        line.requests -= 1;
        if line.requests == 0 {
            known.asks.remove(&self.ask);
        } else if self.leads {
            line.turn.add_permits(1);
        }
    }
}

/// Fields of a response that are as true for the other clients: what lets pages of other origins read
/// it. Cookies and the like are for one.
fn for_all(response: &HeaderMap) -> HeaderMap {
    let is_for_all = |name: &HeaderName| name.as_str().starts_with("access-control-");
    let fields = response.iter().filter(|(name, _)| is_for_all(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}
