//! Who takes part in the model: events as they are published, and clients with what they want and what
//! they have been told.

use std::collections::BTreeSet;

use fastrand::Rng;
use flate2::write::GzDecoder;

use super::super::audience::StreamKey;
use super::super::poll::Asked;
use crate::event::Destination;
use crate::history::Retain;
use crate::hub::Submission;
use crate::sse::{Draft, EventId, Fields};
use crate::topic::{Filter, Topic};

const TOPICS: [&str; 7] = ["a", "b", "c", "x.1", "x.2", "x.1.y", "z.9"];
/// `message` is none.
pub(super) const NAMES: [&str; 3] = ["message", "n1", "n2"];
const FILTERS: [&str; 8] = ["a", "b", "c", "x.1", "x.*", "x.>", ">", "z.*"];

/// What there is to know of an event.
#[derive(Clone)]
pub(super) struct Published {
    pub(super) to: Destination,
    pub(super) name: &'static str,
    pub(super) conflate: Option<Box<str>>,
}

impl Published {
    /// Whether a client is to have it.
    pub(super) fn is_wanted(&self, Wishes { filters, names }: &Wishes) -> bool {
        if !names.is_empty() && !names.contains(&self.name) {
            return false;
        }
        match &self.to {
            Destination::Everyone => true,
            Destination::Topics(topics) => {
                topics.iter().any(|topic| filters.iter().any(|filter| filter.matches(topic)))
            }
        }
    }
}

/// What a client has, and what it has been told.
pub(super) struct Client {
    pub(super) wishes: Wishes,
    pub(super) cursor: Option<EventId>,
    pub(super) polls: bool,
    pub(super) stream: Option<Stream>,
}

/// What a client wants: of what goes to these, events with one of these names, if there are any.
pub(super) struct Wishes {
    pub(super) filters: Box<[Filter]>,
    pub(super) names: Vec<&'static str>,
}

pub(super) struct Stream {
    pub(super) shard: usize,
    pub(super) key: StreamKey,
    pub(super) generation: u32,
    /// It is a poll.
    pub(super) asked: Option<Asked>,
    /// It is compressed.
    pub(super) gzip: Option<GzDecoder<Vec<u8>>>,
    /// `seq` of the last event received.
    pub(super) last: u64,
    /// `seq` of the last id received: a cursor never passes what is yet to come.
    pub(super) cursor: u64,
    /// Everything up to here was received or declared.
    pub(super) covered: u64,
    /// Declared losses: after, to.
    pub(super) gaps: Vec<(u64, u64)>,
    /// Retained values, which are older than `covered`, may come.
    pub(super) values_may_come: bool,
    /// Events that have come, and events that the gateway has said never will.
    pub(super) received: BTreeSet<u64>,
    pub(super) dropped: BTreeSet<u64>,
}

pub(super) fn submission(rng: &mut Rng) -> (Submission, Published) {
    let to = match rng.usize(0..10) {
        0 => Destination::Everyone,
        topics => {
            let mut topics: Vec<_> = (0..1 + topics / 8)
                .map(|_| Topic::parse(TOPICS[rng.usize(..TOPICS.len())]).unwrap())
                .collect();
            topics.sort_unstable();
            topics.dedup();
            Destination::Topics(topics.into())
        }
    };
    let retain = (rng.u8(..) < 20).then(|| match rng.bool() {
        true => Retain::Keep("".into()),
        false => Retain::Delete("".into()),
    });
    let data = "x".repeat(rng.usize(0..30) * rng.usize(0..8));
    let name = NAMES[rng.usize(..NAMES.len())];
    let event = (name != NAMES[0]).then_some(name);
    let draft = Draft::new(&Fields { event, data: &data, ..Fields::default() });
    let conflate = (rng.u8(..) < 64).then(|| rng.u8(0..2).to_string().into_boxed_str());
    let truth = Published { to: to.clone(), name, conflate: conflate.clone() };
    (Submission { to, draft, ttl: None, retain, key: None, conflate, is_last: false }, truth)
}

pub(super) fn client(rng: &mut Rng, polls: bool) -> Client {
    let mut filters: Vec<_> = (0..rng.usize(1..4))
        .map(|_| Filter::parse(FILTERS[rng.usize(..FILTERS.len())]).unwrap())
        .collect();
    filters.sort_unstable();
    filters.dedup();
    let names = (0..rng.usize(0..3)).map(|_| NAMES[rng.usize(..NAMES.len())]);
    let wishes = Wishes { filters: filters.into(), names: names.collect() };
    Client { wishes, cursor: None, polls, stream: None }
}
