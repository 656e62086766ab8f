//! The one clock of a run: CLOCK_MONOTONIC in nanoseconds, comparable between the
//! threads and processes of a machine, and how this program waits.

use std::time::Duration;

pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Waits until `deadline_ns` or until this thread is unparked, whichever is first.
pub(crate) fn wait_until(deadline_ns: u64) {
    let now = now_ns();
    if now < deadline_ns {
        std::thread::park_timeout(Duration::from_nanos(deadline_ns - now));
    }
}

/// Waits the whole `duration`, also when unparked.
pub(crate) fn wait(duration: Duration) {
    let deadline = now_ns() + nanos(duration);
    while now_ns() < deadline {
        wait_until(deadline);
    }
}
