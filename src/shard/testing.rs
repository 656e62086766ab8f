//! Events for the shard's unit tests.

use std::sync::Arc;
use std::time::Instant;

use crate::event::{Destination, Event};
use crate::sse::{Draft, Epoch, EventId, Fields, Gzip};

/// An event to everyone with `data_bytes` bytes of data.
pub(super) fn event(seq: u64, data_bytes: usize) -> Arc<Event> {
    make(seq, &"x".repeat(data_bytes), Destination::Everyone, None)
}

/// The same, which takes the place of what waits with this key.
#[cfg(not(tidegate_loom))]
pub(super) fn event_with_key(seq: u64, data_bytes: usize, key: u8) -> Arc<Event> {
    let key = key.to_string().into();
    make(seq, &"x".repeat(data_bytes), Destination::Everyone, Some(key))
}

/// Audiences of the first route, which get what goes to everyone.
#[cfg(not(tidegate_loom))]
pub(super) fn kind() -> super::audience::Kind {
    let bounds = super::ring::RingBounds { frames_max: 256, bytes_max: 1 << 20 };
    super::audience::Kind {
        route: crate::subscribe::RouteId::default(),
        broadcast: true,
        tells_topics: false,
        bounds,
    }
}

/// An event to some topics.
#[cfg(not(tidegate_loom))]
pub(super) fn event_to(seq: u64, topics: &[&str]) -> Arc<Event> {
    let topics = topics
        .iter()
        .map(|text| crate::topic::Topic::parse(text).expect("a valid topic"))
        .collect();
    make(seq, "", Destination::Topics(topics), None)
}

fn make(seq: u64, data: &str, to: Destination, conflate: Option<Box<str>>) -> Arc<Event> {
    let frame = Draft::new(&Fields { data, ..Fields::default() })
        .seal(EventId { epoch: Epoch::new(0), seq });
    let accepted = Instant::now();
    Arc::new(Event {
        seq,
        to,
        frame,
        gzip: Gzip::default(),
        accepted,
        expires: None,
        is_last: false,
        conflate,
    })
}
