//! A source's task: connect, read, publish, wait, again. It ends with the source; everything it holds, the
//! socket too, goes with it.

use std::convert::Infallible;
use std::future::pending;
use std::mem;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::Body;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::recent::Recent;
use super::request::open;
use super::status::{Status, now_ms};
use super::{Entry, OnShard, Order};
use crate::event::Destination;
use crate::event_stream::{EventStream, NoStream, check_head};
use crate::fetch::within;
use crate::history::Retain;
use crate::hub::{Refused, Submission};
use crate::metrics::{SourceEvent, SourceState};
use crate::publish::{self, Rules};
use crate::sse::{Draft, Fields, Item, Message};
use crate::topic::{Facts, Topic};

/// Events published at once, if as many have come.
const BATCH_EVENTS_MAX: usize = 256;

/// Waits while the hub takes nothing: the first, and the longest.
const HELD_MIN: Duration = Duration::from_millis(10);
const HELD_MAX: Duration = Duration::from_secs(1);

/// Longest wait for the hub to take the last event of a source that is removed.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Name of the events that say where a source is.
const STATE_EVENT: &str = "source_state";

/// The name of an event that has none.
const UNNAMED: &str = "message";

/// Runs a source until it is told to end.
pub(super) async fn run(entry: Arc<Entry>, mut order: watch::Receiver<Order>, shard: Rc<OnShard>) {
    let state = SourceState::Connecting;
    shard.metrics.sources[state as usize].add(1);
    let last_event_id = entry.status().last_event_id.clone();
    let backoff = Backoff::new(&entry.spec);
    let mut task = Task { entry, shard, state, backoff, last_event_id, recent: Recent::default() };
    let told = tokio::select! {
        biased;
        // An error means that there is nobody left who could ask for it.
        told = order.wait_for(|order| *order != Order::Run) => told.map_or(Order::Remove, |told| *told),
        never = task.live() => match never {},
    };
    task.shard.metrics.sources[task.state as usize].sub(1);
    if told == Order::Remove {
        tracing::info!(source = task.entry.spec.name, "a source is removed");
        // When the hub takes nothing for so long, the API still says that it is gone.
        let _ = timeout(FAREWELL_MAX, task.tell("removed", None)).await;
    }
}

struct Task {
    entry: Arc<Entry>,
    shard: Rc<OnShard>,
    state: SourceState,
    backoff: Backoff,
    /// Everything up to here has been published.
    last_event_id: String,
    recent: Recent,
}

/// Why a stream is not read any more.
enum Lost {
    /// The server wants no more connections.
    ForGood(String),
    /// Another attempt may help.
    ForNow(String),
}

impl Task {
    async fn live(&mut self) -> Infallible {
        loop {
            self.enter(SourceState::Connecting, None).await;
            let lost = self.read_stream().await;
            self.backoff.failed();
            let why = match lost {
                Lost::ForGood(why) => why,
                Lost::ForNow(why) if self.backoff.is_exhausted() => {
                    format!("gave up after {} attempts: {why}", self.backoff.failures())
                }
                Lost::ForNow(why) => {
                    let delay = self.backoff.delay(fastrand::f64());
                    self.enter(SourceState::Disconnected, Some(why)).await;
                    sleep(delay).await;
                    continue;
                }
            };
            self.enter(SourceState::Error, Some(why)).await;
            return pending().await;
        }
    }

    /// Asks for the stream, and publishes what comes until it ends.
    async fn read_stream(&mut self) -> Lost {
        let entry = Arc::clone(&self.entry);
        let response = match open(&entry.spec, entry.tls.as_ref(), &self.last_event_id).await {
            Ok(response) => response,
            Err(error) => return Lost::ForNow(error.to_string()),
        };
        match check_head(response.status(), response.headers()) {
            Ok(()) => {}
            Err(stop @ NoStream::Stop) => return Lost::ForGood(stop.to_string()),
            Err(refused) => return Lost::ForNow(refused.to_string()),
        }
        self.shard.metrics.source_connections.add(1);
        self.entry.status().connections += 1;
        self.enter(SourceState::Connected, None).await;
        self.recent.reconnected();
        let max = entry.spec.event_bytes_max.0;
        let mut stream = EventStream::new(response.into_body(), max, &self.last_event_id);
        let stale = entry.spec.stale_timeout.0;
        let why = loop {
            match within(stale, stream.read()).await {
                Some(Ok(true)) => self.publish_read(&mut stream).await,
                Some(Ok(false)) => break "the server closed the stream".to_owned(),
                Some(Err(error)) => break format!("the stream broke off: {error}"),
                None => break format!("nothing came for {stale:?}, `stale_timeout`"),
            }
        };
        match stream.is_within_event() {
            true => Lost::ForNow(format!("{why}, in the middle of an event, which is discarded")),
            false => Lost::ForNow(why),
        }
    }

    /// Publishes what has come, in its order. The stream is not read on meanwhile.
    async fn publish_read<B: Body<Data = Bytes> + Unpin>(&mut self, stream: &mut EventStream<B>) {
        self.backoff.succeeded();
        self.entry.status().attempts = 0;
        let settings = self.shard.settings.now();
        let batch_max = BATCH_EVENTS_MAX.min(settings.rules.batch_events_max);
        let mut batch = Vec::new();
        while let Some(item) = stream.pull() {
            match item {
                Item::Retry(ms) => self.backoff.set_retry(ms),
                Item::TooLarge => self.count(SourceEvent::TooLarge, 1),
                Item::Event(message) => batch.extend(self.submission(&message, &settings.rules)),
            }
            if batch.len() == batch_max {
                self.publish(mem::take(&mut batch)).await;
                // A server that sends without end is not to hold up the shard's streams.
                yield_now().await;
            }
        }
        self.publish(batch).await;
        yield_now().await;
        if stream.last_event_id() != self.last_event_id {
            stream.last_event_id().clone_into(&mut self.last_event_id);
            self.entry.status().last_event_id.clone_from(&self.last_event_id);
        }
    }

    /// What is to be published of an event. One that nobody can get is counted, and why is told.
    fn submission(&mut self, message: &Message<'_>, rules: &Rules) -> Option<Submission> {
        if self.recent.is_repeated(message) {
            self.count(SourceEvent::Duplicate, 1);
            return None;
        }
        let made = self.topic(message).and_then(|topic| {
            let name = message.event.unwrap_or(UNNAMED);
            let conflate = Some(name).filter(|name| self.entry.spec.conflate.contains(*name));
            publish::event(topic, message.event, message.data, conflate, rules)
                .map_err(|error| error.to_string())
        });
        let refused = match made {
            Ok(submission) => return Some(submission),
            Err(refused) => refused,
        };
        let (source, event) = (&self.entry.spec.name, message.event);
        tracing::debug!(source, event, why = refused, "an event of a source goes nowhere");
        self.entry.status().last_refused = Some(refused);
        self.count(SourceEvent::Refused, 1);
        None
    }

    /// By the first template whose fields are there; if none is, the last says why.
    fn topic(&self, message: &Message<'_>) -> Result<Topic, String> {
        let spec = &self.entry.spec;
        let event = message.event.unwrap_or(UNNAMED);
        let facts = Facts::new(&spec.name, event, message.last_event_id, message.data);
        let mut made = Err("the source has no topics".to_owned());
        for template in &spec.topics {
            made = template.topic(&facts).map_err(|error| error.to_string());
            if made.is_ok() {
                break;
            }
        }
        made
    }

    /// Publishes, however long the hub needs until it has room.
    async fn publish(&mut self, batch: Vec<Submission>) {
        let mut pause = HELD_MIN;
        while !batch.is_empty() {
            let Err(refused) = self.shard.hub.publish_to_log(batch.clone(), Instant::now()).await
            else {
                self.count(SourceEvent::Published, batch.len() as u64);
                break;
            };
            self.entry.status().held = Some(refused.to_string());
            sleep(pause).await;
            pause = (pause * 2).min(HELD_MAX);
        }
        if pause > HELD_MIN {
            self.entry.status().held = None;
        }
    }

    fn count(&self, what: SourceEvent, count: u64) {
        self.shard.metrics.source_events[what as usize].add(count);
        self.entry.status().events.add(what, count);
    }

    /// Goes to a state, and tells everybody.
    async fn enter(&mut self, state: SourceState, error: Option<String>) {
        self.shard.metrics.sources[self.state as usize].sub(1);
        self.shard.metrics.sources[state as usize].add(1);
        self.state = state;
        {
            let mut status = self.entry.status();
            let Status { since_ms, attempts, last_error, .. } = &mut *status;
            (*since_ms, *attempts) = (now_ms(), self.backoff.failures());
            if error.is_some() {
                last_error.clone_from(&error);
            }
            status.state = state;
        }
        let (source, why) = (&self.entry.spec.name, error.as_deref());
        match state {
            SourceState::Connecting => tracing::debug!(source, "a source connects"),
            SourceState::Connected => tracing::info!(source, "a source is connected"),
            SourceState::Disconnected => tracing::warn!(source, why, "a source is disconnected"),
            SourceState::Error => tracing::error!(source, why, "a source has ended"),
        }
        self.tell(state.as_str(), error.as_deref()).await;
    }

    /// Publishes where the source is, for those who watch it now and later.
    async fn tell(&self, state: &str, error: Option<&str>) {
        let Some(topic) = self.shard.state_topic(&self.entry.spec.name) else { return };
        let data = json!({
            "source": self.entry.spec.name,
            "state": state,
            "since_ms": now_ms(),
            "attempts": self.backoff.failures(),
            "error": error,
        });
        let data = data.to_string();
        let fields = Fields { event: Some(STATE_EVENT), retry_ms: None, data: &data };
        let name = Box::from(STATE_EVENT);
        let retain = if state == "removed" { Retain::Delete(name) } else { Retain::Keep(name) };
        let mut event = Submission {
            to: Destination::Topics([topic].into()),
            draft: Draft::new(&fields),
            ttl: None,
            conflate: None,
            retain: Some(retain),
            key: None,
            is_last: false,
        };
        let mut pause = HELD_MIN;
        while let Err(refused) =
            self.shard.hub.publish_to_log(vec![event.clone()], Instant::now()).await
        {
            if refused == Refused::RetainedFull {
                event.retain = None;
                continue;
            }
            sleep(pause).await;
            pause = (pause * 2).min(HELD_MAX);
        }
    }
}

impl OnShard {
    fn state_topic(&self, name: &str) -> Option<Topic> {
        let topic = self.states.as_ref()?;
        Some(Topic::parse(&format!("{topic}.{name}")).expect("both are checked to make a topic"))
    }
}

/// What belongs here: what needs a hub that a test can hold up.
#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http_body_util::Full;

    use super::*;
    use crate::config::{Config, schema};
    use crate::history::Bounds;
    use crate::hook::Sessions;
    use crate::hub::{Hub, KeyBounds};
    use crate::metrics::ShardMetrics;
    use crate::settings::{Base, Settings, SettingsWatch};
    use crate::sse::Epoch;
    use crate::sync::Mailbox;

    const EVENTS: usize = 300;
    const MAILBOX_EVENTS: usize = 16;

    #[tokio::test(flavor = "current_thread")]
    async fn what_the_hub_does_not_take_waits_in_order_and_is_not_lost() {
        let mailbox = Arc::new(Mailbox::new(MAILBOX_EVENTS, 1 << 20));
        let hub = Hub::new(
            Epoch::new(1),
            [Arc::clone(&mailbox)],
            Bounds::default(),
            KeyBounds::default(),
        );
        let limits = schema::Publish { batch_events_max: 8, ..schema::Publish::default() };
        let config = Config { publish: limits, ..Config::default() };
        let base = Base { hub: Arc::new(hub), sessions: Arc::new(Sessions::new(1).0) };
        let settings = Settings::new(&base, config, 1).unwrap();
        let shard = Rc::new(OnShard {
            hub: base.hub,
            settings: SettingsWatch::fixed(settings),
            metrics: Arc::new(ShardMetrics::default()),
            states: None,
        });
        let url = "http://127.0.0.1:1/".to_owned().try_into().unwrap();
        let spec = schema::Source::new("up", url);
        let entry = Arc::new(Entry {
            is_configured: true,
            tls: None,
            status: Mutex::new(Status::new(String::new())),
            order: watch::channel(Order::Run).0,
            spec,
        });
        let mut task = Task {
            entry: Arc::clone(&entry),
            shard,
            state: SourceState::Connected,
            backoff: Backoff::new(&entry.spec),
            last_event_id: String::new(),
            recent: Recent::default(),
        };
        let events: String = (0..EVENTS).map(|n| format!("id: {n}\ndata: {n}\n\n")).collect();
        let body: Full<Bytes> = Full::new(events.into());
        let mut stream = EventStream::new(body, 1000, "");
        let read: Result<bool, Infallible> = stream.read().await;
        assert_eq!(read, Ok(true));

        let consume = async {
            let mut data = Vec::new();
            let mut was_held = false;
            while data.len() < EVENTS {
                sleep(Duration::from_millis(1)).await;
                was_held |= entry.status().held.is_some();
                let frame = mailbox.pop().map(|event| event.frame.bare());
                data.extend(frame.map(|frame| String::from_utf8(frame.to_vec()).unwrap()));
            }
            (data, was_held)
        };
        let ((data, was_held), ()) = tokio::join!(consume, task.publish_read(&mut stream));
        assert!(was_held, "a full mailbox is shown");
        for (number, frame) in data.iter().enumerate() {
            assert!(frame.ends_with(&format!("\ndata: {number}\n\n")), "{number}: {frame:?}");
        }
        let status = entry.status();
        assert_eq!((status.held.as_deref(), &*status.last_event_id), (None, "299"));
    }
}
