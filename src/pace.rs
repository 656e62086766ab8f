//! How fast something moves that somebody is waited for to move: a request's body by its sender, a
//! response by who reads it. One who moves a byte now and then holds a connection, a place at an app
//! server and a task for as long as they like.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::alarm::Alarm;

/// Bytes a second, on the average of each so much time that is waited.
#[derive(Debug, Default)]
pub struct Pace {
    rate_min: u64,
    window: Duration,
    /// What has moved in this window, and how long it was waited for.
    moved: u64,
    waited: Duration,
    /// Since when it is waited for now.
    since: Option<Instant>,
    alarm: Alarm,
}

impl Pace {
    /// At least `rate_min` bytes a second in each `window`; 0 for any pace.
    pub fn new(rate_min: u64, window: Duration) -> Self {
        Self { rate_min, window, ..Self::default() }
    }

    /// Bytes a second; 0 for any pace.
    pub fn rate_min(&self) -> u64 {
        self.rate_min
    }

    /// So many bytes have moved, and nobody is waited for until [`Self::poll_too_slow`] is called again.
    pub fn note(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.moved += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// Waits; ready when too little has moved.
    pub fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.rate_min == 0 {
            return Poll::Pending;
        }
        loop {
            let due = self.due(Instant::now());
            ready!(self.alarm.poll(due, cx));
            if self.is_too_slow(Instant::now()) {
                return Poll::Ready(());
            }
        }
    }

    /// When the window is over if nothing more moves.
    fn due(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + self.window.saturating_sub(self.waited)
    }

    /// What the window that is over now says.
    fn is_too_slow(&mut self, now: Instant) -> bool {
        let moved = std::mem::take(&mut self.moved);
        self.waited = Duration::ZERO;
        self.since = Some(now);
        (moved as f64) < self.rate_min as f64 * self.window.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    //! The pace, with the clock passed in.

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(5);

    fn pace() -> Pace {
        Pace::new(100, WINDOW)
    }

    #[test]
    fn f40_f41_a_window_with_too_few_bytes_is_too_slow_and_one_with_enough_is_not() {
        let start = Instant::now();
        for (moved, is_fine) in [(0, false), (499, false), (500, true), (5000, true)] {
            let mut pace = pace();
            assert_eq!(pace.due(start), start + WINDOW);
            pace.note(moved, || start + SECOND);
            assert_eq!(!pace.is_too_slow(start + WINDOW), is_fine, "{moved} bytes");
        }
    }

    #[test]
    fn f40_f41_what_moved_fast_at_first_does_not_pay_for_later() {
        let start = Instant::now();
        let mut pace = pace();
        pace.due(start);
        pace.note(1_000_000, || start + SECOND);
        pace.due(start + SECOND);
        assert!(!pace.is_too_slow(start + WINDOW));
        assert!(pace.is_too_slow(start + 2 * WINDOW));
    }

    #[test]
    fn time_in_which_nobody_is_waited_for_does_not_count() {
        let start = Instant::now();
        let mut pace = pace();
        pace.due(start);
        pace.note(10, || start + SECOND);
        // An app server takes nothing for a minute.
        let later = start + 60 * SECOND;
        assert_eq!(pace.due(later), later + WINDOW - SECOND);
    }
}
