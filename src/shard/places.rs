//! Places for connections: how many there may be, in all and from one address, and the gauge of how
//! many there are.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::addresses::{AddressPlace, Addresses, Crowded};
use crate::http::Cut;
use crate::metrics::{CutReason, ListenerName, ShardMetrics};

/// How many connections the process may hold, all shards together.
#[derive(Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    max: Cell<usize>,
    name: ListenerName,
    metrics: Arc<ShardMetrics>,
    addresses: Arc<Addresses>,
}

/// A connection's place: given back when dropped.
pub(super) struct Permit {
    places: Rc<Places>,
    /// Where the connections of its address are counted.
    address: Option<AddressPlace>,
}

impl Places {
    pub(super) fn new(
        taken: Arc<AtomicUsize>,
        max: usize,
        name: ListenerName,
        metrics: Arc<ShardMetrics>,
        addresses: Arc<Addresses>,
    ) -> Rc<Self> {
        let max = Cell::new(max);
        Rc::new(Self { taken, max, name, metrics, addresses })
    }

    /// Whether all places are taken. Several shards may find the last one free at once, so there
    /// can be one connection a shard too many.
    pub(super) fn full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.max.get()
    }

    /// There may be so many from now on. Those that are there stay.
    pub(super) fn set_max(&self, max: usize) {
        self.max.set(max);
    }

    /// Takes a place for a connection from `address`, unless that has as many as it may.
    pub(super) fn take(self: &Rc<Self>, address: IpAddr) -> Result<Permit, Crowded> {
        let address = self.addresses.take(address).inspect_err(|_| {
            self.metrics.connections_cut[CutReason::Address as usize].add(1);
        })?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.metrics.connections[self.name as usize].add(1);
        Ok(Permit { places: Rc::clone(self), address })
    }

    /// Whether they are those of the public listener, over TLS or not.
    pub(super) fn are_public(&self) -> bool {
        self.name == ListenerName::Public
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

impl Permit {
    /// Counts the connection as one that was closed for what its client did.
    pub(super) fn count_cut(&self, cut: Cut) {
        self.places.metrics.connections_cut[CutReason::from(cut) as usize].add(1);
    }
}

impl From<Cut> for CutReason {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::SlowHead => Self::SlowHead,
            Cut::Idle => Self::Idle,
            Cut::SlowReader => Self::SlowReader,
            Cut::Flood => Self::Flood,
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(address) = &self.address {
            self.places.addresses.give_back(address);
        }
        self.places.taken.fetch_sub(1, Ordering::Relaxed);
        self.places.metrics.connections[self.places.name as usize].sub(1);
    }
}
