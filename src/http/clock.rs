//! Tells when a connection has been in one phase for too long. It has one timer, whatever the phase
//! and however often that changes: the timer goes off, finds that it is not due yet, and is set again.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::alarm::Alarm;

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's head is to come, or the rest of one: that of the request with this number.
    Head(u64),
    /// Requests are being answered.
    Serving,
    /// There is no request.
    Idle,
}

/// The longest that a connection may be in a phase. A request that is being answered has deadlines of
/// its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
}

#[derive(Debug)]
pub(super) struct Clock {
    patience: Patience,
    phase: Phase,
    since: Instant,
    timer: Alarm,
}

impl Clock {
    /// Of a connection that was accepted `since` then, and has to send its first head.
    pub(super) fn new(patience: Patience, since: Instant) -> Self {
        Self { patience, phase: Phase::Head(0), since, timer: Alarm::default() }
    }

    /// Counts the phase from now on.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The connection has been told to end: it is not to be idle for long any more.
    pub(super) fn hurry(&mut self) {
        self.patience.idle = self.patience.idle.min(self.patience.head);
        self.restart();
    }

    /// Ready when the connection has been in `phase` for too long.
    pub(super) fn poll_overdue(&mut self, phase: Phase, cx: &mut Context<'_>) -> Poll<()> {
        if phase != self.phase {
            self.phase = phase;
            self.restart();
        }
        let longest = match phase {
            Phase::Head(_) => self.patience.head,
            Phase::Serving => return Poll::Pending,
            Phase::Idle => self.patience.idle,
        };
        let due = self.since + longest;
        self.timer.poll(due, cx)
    }
}
