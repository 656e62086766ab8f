//! Counters that one shard thread writes and a scrape reads. One writer each, so an increment is a
//! plain load and store, with no locked instruction and no cache line shared between shards.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number written by one thread only.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only ever called by the owning shard's thread.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away. Only ever called by the owning shard's thread.
    pub fn sub(&self, n: u64) {
        self.0.store(self.get().wrapping_sub(n), Ordering::Relaxed);
    }

    /// Replaces the value. Only ever called by the owning shard's thread.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bounded buckets of a [`Histogram`]; one more holds what is above them all.
pub const BUCKETS: usize = 18;

/// Counts durations in buckets whose upper bounds are `BASE_NS` and its doublings: finding the
/// bucket is a division and a bit scan, however many buckets there are.
#[derive(Debug)]
pub struct Histogram<const BASE_NS: u64> {
    buckets: [Cell; BUCKETS + 1],
    sum_ns: Cell,
}

impl<const BASE_NS: u64> Default for Histogram<BASE_NS> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Cell::default()), sum_ns: Cell::default() }
    }
}

impl<const BASE_NS: u64> Histogram<BASE_NS> {
    /// Upper bound of bucket `index`, in seconds.
    pub fn bound_seconds(index: usize) -> f64 {
        (BASE_NS << index) as f64 / 1e9
    }

    fn bucket(ns: u64) -> usize {
        let doublings = u64::BITS - (ns.saturating_sub(1) / BASE_NS).leading_zeros();
        (doublings as usize).min(BUCKETS)
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = duration.as_nanos() as u64;
        self.buckets[Self::bucket(ns)].add(1);
        self.sum_ns.add(ns);
    }

    /// Counts `count` durations from `shortest` to `longest` at once, if they share a bucket, and
    /// says whether they do. `excess` is how much longer than `shortest` they are together.
    pub fn observe_run(
        &self,
        shortest: Duration,
        longest: Duration,
        count: u64,
        excess: Duration,
    ) -> bool {
        let shortest = shortest.as_nanos() as u64;
        let bucket = Self::bucket(shortest);
        if bucket != Self::bucket(longest.as_nanos() as u64) {
            return false;
        }
        self.buckets[bucket].add(count);
        self.sum_ns.add(shortest * count + excess.as_nanos() as u64);
        true
    }

    /// What has been counted, as a scrape sees it.
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            bounds: std::array::from_fn(Self::bound_seconds),
            counts: std::array::from_fn(|index| self.buckets[index].get()),
            sum_ns: self.sum_ns.get(),
        }
    }
}

/// A histogram's state at one moment. Counts are per bucket, not cumulative.
#[derive(Clone, Debug)]
pub struct HistogramSnapshot {
    /// Upper bounds in seconds.
    pub bounds: [f64; BUCKETS],
    /// Observations in each bucket; the last is above every bound.
    pub counts: [u64; BUCKETS + 1],
    /// Sum of all observations.
    pub sum_ns: u64,
}

impl HistogramSnapshot {
    /// Adds another shard's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum_ns += other.sum_ns;
    }
}

#[cfg(test)]
mod tests {
    //! Bucket edges, against the definition `value <= bound`.

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_lands_in_the_first_bucket_that_holds_it(ns in 0..100_000_000_000u64) {
            let bucket = Histogram::<50_000>::bucket(ns);
            let first = (0..BUCKETS).find(|&index| ns <= 50_000 << index).unwrap_or(BUCKETS);
            prop_assert_eq!(bucket, first);
        }
    }

    #[test]
    fn a_run_counts_like_its_parts() {
        let (whole, parts) = (Histogram::<50_000>::default(), Histogram::<50_000>::default());
        let micros = [210, 250, 300].map(Duration::from_micros);
        assert!(whole.observe_run(micros[0], micros[2], 3, Duration::from_micros(40 + 90)));
        micros.iter().for_each(|duration| parts.observe(*duration));
        assert_eq!(whole.snapshot().counts, parts.snapshot().counts);
        assert_eq!(whole.snapshot().sum_ns, parts.snapshot().sum_ns);
        assert!(!whole.observe_run(micros[0], Duration::from_secs(1), 2, Duration::ZERO));
    }

    #[test]
    fn sums_and_counts_add_up() {
        let histogram = Histogram::<50_000>::default();
        for micros in [10, 50, 51, 100, 10_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts[0], 2);
        assert_eq!(snapshot.counts[1], 2);
        assert_eq!(snapshot.counts[BUCKETS], 1);
        snapshot.merge(&histogram.snapshot());
        assert_eq!(snapshot.counts[0], 4);
        assert_eq!(snapshot.sum_ns, 2 * 10_000_211_000);
    }
}
