//! Waiting with an end: every wait of the tests has a deadline and says what it waited for.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The moment a wait gives up.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// Now plus `time`.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// Now plus [`PATIENCE`].
    pub fn patient() -> Self {
        Self::after(PATIENCE)
    }

    /// The time left, `None` when there is none.
    pub fn left(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Asks every 10 ms until `ready` answers; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, ready: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ready)
}

/// The same for what takes longer.
#[track_caller]
pub fn eventually_within<T>(time: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(time);
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(deadline.left().is_some(), "waited {time:?} for {what}");
        pause(Duration::from_millis(10));
    }
}

/// Sleeps. Test threads may block; the gateway's shard threads may not, hence the lint.
#[allow(clippy::disallowed_methods, reason = "test threads may block")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
