//! How long a source waits before it connects again, and when it gives up.

use std::time::Duration;

use crate::config::schema;

/// A server's own `retry` counts from here on: one that says 0 must not make a loop.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The policy of a source, and its failures so far.
#[derive(Debug)]
pub(super) struct Backoff {
    retry: Duration,
    factor: f64,
    max: Duration,
    jitter: f64,
    attempts_max: u32,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(spec: &schema::Source) -> Self {
        Self {
            retry: spec.retry.0,
            factor: spec.retry_factor,
            max: spec.retry_max.0,
            jitter: spec.retry_jitter,
            attempts_max: spec.attempts_max,
            failures: 0,
        }
    }

    /// "Set the event stream's reconnection time to that integer", up to the longest delay there is.
    pub(super) fn set_retry(&mut self, ms: u64) {
        self.retry = Duration::from_millis(ms).max(RETRY_MIN).min(self.max);
    }

    /// The stream is there and says something.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// An attempt has failed, or a stream has ended.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Failures one after the other.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether there were as many as there may be.
    pub(super) fn is_exhausted(&self) -> bool {
        self.attempts_max > 0 && self.failures >= self.attempts_max
    }

    /// The delay before the next attempt. `random` is from 0 to 1. Jitter only adds: nobody comes
    /// earlier than the server asked for.
    pub(super) fn delay(&self, random: f64) -> Duration {
        let doublings = i32::try_from(self.failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.retry.as_secs_f64() * self.factor.powi(doublings);
        let seconds = seconds.min(self.max.as_secs_f64());
        Duration::from_secs_f64(seconds * (1.0 + self.jitter * random))
    }
}

/// What belongs here: delays by example.
#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(change: impl FnOnce(&mut schema::Source)) -> Backoff {
        let url = "http://127.0.0.1:1/x".to_owned().try_into().unwrap();
        let mut spec = schema::Source::new("a", url);
        change(&mut spec);
        Backoff::new(&spec)
    }

    fn delays(backoff: &mut Backoff, random: f64) -> Vec<u128> {
        let mut delay = || {
            backoff.failed();
            backoff.delay(random).as_millis()
        };
        (0..7).map(|_| delay()).collect()
    }

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_begins_again_after_a_success() {
        let mut backoff = backoff(|_| {});
        assert_eq!(delays(&mut backoff, 0.0), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        backoff.succeeded();
        assert_eq!(delays(&mut backoff, 1.0)[..3], [1200, 2400, 4800]);
        (0..5000).for_each(|_| backoff.failed());
        assert_eq!(backoff.delay(0.0), Duration::from_secs(30), "however many there were");
    }

    #[test]
    fn the_servers_retry_counts_within_bounds() {
        let mut backoff = backoff(|_| {});
        for (said, first) in [(5000, 5000), (0, 100), (u64::MAX, 30_000)] {
            backoff.set_retry(said);
            backoff.succeeded();
            assert_eq!(delays(&mut backoff, 0.0)[0], first);
        }
    }

    #[test]
    fn attempts_may_have_a_limit() {
        let mut twice = backoff(|spec| spec.attempts_max = 2);
        twice.failed();
        assert!(!twice.is_exhausted());
        twice.failed();
        assert!(twice.is_exhausted());
        let mut never = backoff(|_| {});
        (0..100).for_each(|_| never.failed());
        assert!(!never.is_exhausted());
    }
}
