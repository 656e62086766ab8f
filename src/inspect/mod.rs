//! Looking into the shards while they run: what an operator asks, and the way there and back.
//!
//! A question goes to a shard over a short queue of its own, never through a mailbox, and is answered by
//! a task of the shard between two turns of its loop. So it costs nothing where events go. What one
//! question has a shard look at is bounded ([`VISITS`]); what needs more is asked again from where it
//! stopped, and the shard turns in between. Called by the internal API's routes; answered by
//! `shard/inspect.rs`.

mod explain;
mod id;
mod report;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub use explain::{About, Explanation, GapOver, Outcome};
pub use id::{Place, StreamId};
pub use report::{GapOwed, State, StreamReport, TOPICS_SHOWN};

use crate::topic::{Filter, Topic};

/// Entries that a shard looks at for one question: at most about a millisecond.
pub const VISITS: usize = 512;

/// Questions that may wait for a shard. Who asks more waits.
const WAITING: usize = 64;

/// Which streams are wanted: those that have all of what is given.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// They get events of this topic, or have asked for just this pattern.
    pub topic: Option<Filter>,
    /// Their client's address begins so.
    pub address: Option<String>,
    /// They are of this session.
    pub session: Option<String>,
}

/// What a shard is asked.
pub enum Question {
    /// Its streams, from an entry of its table on.
    Streams {
        /// Which.
        search: Arc<Search>,
        /// The entry.
        from: usize,
        /// How many at most.
        most: usize,
        /// Takes the answer.
        answer: oneshot::Sender<Found>,
    },
    /// One stream, with all its topics.
    Stream(StreamId, oneshot::Sender<Option<StreamReport>>),
    /// To end a stream; whether there is such a one.
    End(StreamId, oneshot::Sender<bool>),
    /// What became of an event on a stream, if there is such a stream.
    Explain(StreamId, About, oneshot::Sender<Option<Explanation>>),
    /// How many streams get events of each of these topics (`None`: what goes to everyone). The answer
    /// may be of the first ones only.
    Subscribers(Arc<[Option<Topic>]>, usize, oneshot::Sender<Vec<u64>>),
}

/// Streams that a shard has found.
pub struct Found {
    /// In the order of its table.
    pub streams: Vec<StreamReport>,
    /// The entry to go on from; `None` at the table's end.
    pub next: Option<usize>,
}

/// The questions that a shard is asked, as they come.
pub type Questions = mpsc::Receiver<Question>;

/// A page of all shards' streams.
#[derive(Debug)]
pub struct StreamPage {
    /// By shard, and in the order of its table.
    pub streams: Vec<StreamReport>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Place>,
}

/// The way to ask the shards. Shared by all of them.
#[derive(Debug)]
pub struct Inspector {
    shards: Box<[mpsc::Sender<Question>]>,
}

impl Inspector {
    /// Gives also what each shard is asked by.
    pub fn new(shards: usize) -> (Self, Vec<Questions>) {
        let (shards, asked): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(WAITING)).unzip();
        (Self { shards: shards.into() }, asked)
    }

    /// The next `limit` streams from a place on. A stream that is open while all pages are read is on
    /// exactly one of them; one that opens or closes meanwhile may be on none.
    pub async fn streams(&self, search: Search, from: Place, limit: usize) -> StreamPage {
        let search = Arc::new(search);
        let (mut streams, mut at) = (Vec::new(), from);
        while at.shard < self.shards.len() {
            if streams.len() == limit {
                return StreamPage { streams, next: Some(at) };
            }
            let (search, from, most) = (Arc::clone(&search), at.key, limit - streams.len());
            let ask = |answer| Question::Streams { search, from, most, answer };
            let found = self.ask(at.shard, ask).await;
            let next = found.and_then(|found| {
                streams.extend(found.streams);
                found.next
            });
            at = match next {
                Some(key) => Place { key, ..at },
                None => Place { shard: at.shard + 1, key: 0 },
            };
        }
        StreamPage { streams, next: None }
    }

    /// One stream, with all its topics; `None` if it is gone.
    pub async fn stream(&self, id: StreamId) -> Option<StreamReport> {
        self.ask(id.shard(), |answer| Question::Stream(id, answer)).await.flatten()
    }

    /// Ends a stream. Whether there was one: it may have been ending already.
    pub async fn end(&self, id: StreamId) -> bool {
        self.ask(id.shard(), |answer| Question::End(id, answer)).await.unwrap_or(false)
    }

    /// What became of an event on a stream; `None` if the stream is gone.
    pub async fn explain(&self, id: StreamId, about: About) -> Option<Explanation> {
        self.ask(id.shard(), |answer| Question::Explain(id, about, answer)).await.flatten()
    }

    /// How many streams get events of each of these topics; `None` is what goes to everyone.
    pub async fn subscribers(&self, topics: Vec<Option<Topic>>) -> Vec<u64> {
        let topics: Arc<[Option<Topic>]> = topics.into();
        let mut totals = vec![0; topics.len()];
        for shard in 0..self.shards.len() {
            let mut from = 0;
            while from < topics.len() {
                let ask = |answer| Question::Subscribers(Arc::clone(&topics), from, answer);
                // A shard that has ended has no streams.
                let Some(counts) = self.ask(shard, ask).await else { break };
                for (total, count) in totals[from..].iter_mut().zip(&counts) {
                    *total += count;
                }
                from += counts.len().max(1);
            }
        }
        totals
    }

    /// `None` when there is no such shard, or not any more.
    async fn ask<T>(
        &self,
        shard: usize,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.shards.get(shard)?.send(question(answer)).await.ok()?;
        answered.await.ok()
    }
}
