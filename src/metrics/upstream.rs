//! What is counted of a group of app servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cells::{Cell, Histogram};

/// Everything one shard counts of one group. Aligned like [`super::ShardMetrics`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct UpstreamMetrics {
    /// Requests, by how they were answered.
    pub(super) requests: [Cell; CODES.len()],
    /// From a request to the head of its answer.
    pub(super) duration: Histogram<100_000>,
    /// Times that a request was sent once more.
    pub retries: Cell,
    /// Times that a server was left out.
    pub ejections: Cell,
    /// Connections to the servers.
    pub connections: Cell,
    /// Of these, those that no request uses.
    pub idle: Cell,
    /// Upgraded connections.
    pub tunnels: Cell,
}

/// Classes of status codes, and what stands for no answer.
pub(super) const CODES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

/// No server answered.
const NONE: usize = CODES.len() - 1;

impl UpstreamMetrics {
    /// A server has answered with this status, so long after the request.
    pub fn count_answer(&self, status: u16, after: Duration) {
        let class = usize::from(status / 100).clamp(1, NONE) - 1;
        self.requests[class].add(1);
        self.duration.observe(after);
    }

    /// No server has answered.
    pub fn count_unanswered(&self) {
        self.requests[NONE].add(1);
    }
}

/// One more of what a gauge counts, until this is dropped.
pub struct Counted {
    metrics: Arc<UpstreamMetrics>,
    gauge: fn(&UpstreamMetrics) -> &Cell,
}

impl Counted {
    /// Counts it.
    pub fn new(metrics: &Arc<UpstreamMetrics>, gauge: fn(&UpstreamMetrics) -> &Cell) -> Self {
        gauge(metrics).add(1);
        Self { metrics: Arc::clone(metrics), gauge }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").finish_non_exhaustive()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.gauge)(&self.metrics).sub(1);
    }
}
