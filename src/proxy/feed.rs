//! One server's event stream for many clients: read here, published to a topic of its own, and from
//! there on like any other. Has a task, on the shard of the client that came first.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::request::Parts;
use tokio::time::{sleep, timeout};

use super::collapse::{Shared, take_key};
use super::download::Download;
use super::exchange::Exchange;
use super::{Proxy, ProxyError};
use crate::event::Destination;
use crate::event_stream::EventStream;
use crate::hub::{Refused, Submission};
use crate::net::Peer;
use crate::sse::{Draft, Fields, Item, LAST_EVENT_ID, Message};

/// Attempts to resume a stream that broke off, and the waits before them: the first, unless the server
/// says how long, and the longest. Each is drawn from one to one and a half times as much.
const ATTEMPTS_MAX: u32 = 6;
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Pause while the hub has no room.
const HELD: Duration = Duration::from_millis(20);

/// Longest wait for the hub to take a stream's end.
const FAREWELL_MAX: Duration = Duration::from_secs(10);

/// A stream that is read.
pub(super) struct Feed {
    pub(super) proxy: Rc<Proxy>,
    pub(super) shared: Arc<Shared>,
    /// The request of the client that came first.
    pub(super) head: Parts,
    pub(super) peer: Peer,
    /// What the server has said of reconnects and nobody has been told yet.
    pub(super) retry_ms: Option<u64>,
    /// How long to wait before a reconnect.
    pub(super) retry: Duration,
}

impl Feed {
    pub(super) fn new(proxy: Rc<Proxy>, shared: Arc<Shared>, head: Parts, peer: Peer) -> Self {
        Self { proxy, shared, head, peer, retry_ms: None, retry: RETRY }
    }

    /// Reads until the server has no more, or nobody wants it.
    pub(super) async fn run(mut self, body: Download) {
        let (proxy, shared) = (Rc::clone(&self.proxy), Arc::clone(&self.shared));
        let registry = &proxy.plan.shared_streams;
        tokio::select! {
            () = self.read(body) => {
                registry.forget(&shared);
                // Clients come back by themselves, and are told what they have missed.
                let ended = timeout(FAREWELL_MAX, self.publish(None)).await;
                if !matches!(ended, Ok(Ok(()))) {
                    tracing::warn!("the clients of a shared stream were not told that it is over");
                }
            }
            () = registry.forget_unwanted(&shared) => {}
        }
    }

    /// Reads the stream, and what it goes on with after it has broken off.
    async fn read(&mut self, body: Download) {
        let bytes_max = self.proxy.event_bytes_max.get();
        let mut stream = EventStream::new(body.for_feed(), bytes_max, "");
        loop {
            if !self.publish_all(&mut stream).await {
                return;
            }
            let last_event_id = stream.last_event_id().to_owned();
            // Without an id nobody knows what is missed meanwhile.
            let Ok(id) = HeaderValue::from_str(&last_event_id) else { return };
            if id.is_empty() {
                return;
            }
            self.head.headers.insert(LAST_EVENT_ID, id);
            let Some(body) = self.resume().await else { return };
            stream = EventStream::new(body.for_feed(), bytes_max, &last_event_id);
        }
    }

    /// Publishes what comes until the stream ends or breaks off. False if an event was lost.
    async fn publish_all(&mut self, stream: &mut EventStream<Download>) -> bool {
        while let Ok(true) = stream.read().await {
            while let Some(item) = stream.pull() {
                match item {
                    Item::Event(message) => {
                        if self.publish(Some(&message)).await.is_err() {
                            return false;
                        }
                    }
                    Item::Retry(ms) => {
                        self.retry_ms = Some(ms);
                        self.retry = Duration::from_millis(ms).clamp(RETRY / 10, RETRY_MAX);
                    }
                    Item::TooLarge => {
                        let bytes_max = self.proxy.event_bytes_max.get();
                        tracing::warn!(bytes_max, "an event of a shared stream is too large");
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Asks the server to go on behind the last event that came. `None` if it does not.
    async fn resume(&self) -> Option<Download> {
        for attempt in 0..ATTEMPTS_MAX {
            let delay = self.retry.saturating_mul(1 << attempt).min(RETRY_MAX);
            sleep(delay.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
            match self.ask().await {
                Ok(Exchange::Response(mut response)) if !response.status().is_server_error() => {
                    let key = take_key(&mut response);
                    let is_same = key.is_some_and(|key| self.shared.is_of(&key));
                    return is_same.then(|| response.into_body());
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, attempt, "a shared stream is not resumed"),
            }
        }
        None
    }

    async fn ask(&self) -> Result<Exchange, ProxyError> {
        let asking = self.proxy.prepare(&self.head, false, &self.peer, None)?;
        asking.ok_or(ProxyError::NoRoute)?.send(None).await
    }

    /// Publishes an event, or with `None` the end of the stream, however long the hub needs until it
    /// has room. Meanwhile the server's stream is not read on.
    async fn publish(&mut self, message: Option<&Message<'_>>) -> Result<(), Refused> {
        let retry_ms = self.retry_ms.take();
        loop {
            let draft = message.map_or_else(Draft::comment, |message| {
                Draft::new(&Fields { event: message.event, retry_ms, data: message.data })
            });
            let event = Submission {
                to: Destination::Topics([self.shared.topic.clone()].into()),
                draft,
                ttl: None,
                retain: None,
                key: None,
                conflate: None,
                is_last: message.is_none(),
            };
            match self.proxy.hub.publish_to_log(vec![event], Instant::now()).await {
                Err(refused) if refused != Refused::LogFailed => sleep(HELD).await,
                published => return published,
            }
        }
    }
}
