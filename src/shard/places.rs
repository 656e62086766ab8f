//! Places for connections: how many there may be, and the gauge of how many there are.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics::{ListenerName, ShardMetrics};

/// How many connections the process may hold, all shards together.
#[derive(Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    max: usize,
    name: ListenerName,
    metrics: Arc<ShardMetrics>,
}

/// A connection's place: given back when dropped.
pub(super) struct Permit {
    places: Rc<Places>,
}

impl Places {
    pub(super) fn new(
        taken: Arc<AtomicUsize>,
        max: usize,
        name: ListenerName,
        metrics: Arc<ShardMetrics>,
    ) -> Rc<Self> {
        Rc::new(Self { taken, max, name, metrics })
    }

    /// Whether all places are taken. Several shards may find the last one free at once, so there
    /// can be one connection a shard too many.
    pub(super) fn full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.max
    }

    /// Takes a place.
    pub(super) fn take(self: &Rc<Self>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections[self.name as usize].add(1);
        Permit { places: Rc::clone(self) }
    }

    /// The listener's name.
    pub(super) fn listener(&self) -> &'static str {
        self.name.as_str()
    }

    /// Counts a connection that could not be accepted.
    pub(super) fn count_failure(&self) {
        self.metrics.accept_errors.add(1);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.metrics.connections[self.places.name as usize].sub(1);
    }
}
