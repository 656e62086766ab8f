//! What a publisher waits for while its events are on their way into the log: settled once, by the
//! thread that writes the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::primitives::{AtomicUsize, AtomicWaker, Ordering, register};

/// What became of a publisher's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are in the log, and on their way to the streams.
    Logged,
    /// The disk has no room for them: nothing of them was published.
    Full,
    /// The log has failed: whether they are in it is not known, and no stream gets them.
    Failed,
}

const OUTCOMES: [Option<Outcome>; 4] =
    [None, Some(Outcome::Logged), Some(Outcome::Full), Some(Outcome::Failed)];

/// One side settles it, the other waits for that.
pub struct Ticket {
    /// An index of `OUTCOMES`.
    state: AtomicUsize,
    waiting: AtomicWaker,
}

impl Ticket {
    /// One that is not settled.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicUsize::new(0), waiting: AtomicWaker::new() })
    }

    /// Settles it, and wakes whoever waits.
    pub fn settle(&self, outcome: Outcome) {
        let state = OUTCOMES.iter().position(|one| *one == Some(outcome));
        self.state.store(state.unwrap_or_default(), Ordering::Release);
        self.waiting.wake();
    }

    fn outcome(&self) -> Option<Outcome> {
        OUTCOMES[self.state.load(Ordering::Acquire)]
    }
}

/// Waits for a ticket to be settled. One at a time may wait for a ticket.
#[derive(Clone, Debug)]
pub struct Settled(pub Arc<Ticket>);

impl Future for Settled {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.0.outcome() {
            return Poll::Ready(outcome);
        }
        register(&self.0.waiting, cx.waker());
        // It may have been settled before we registered.
        self.0.outcome().map_or(Poll::Pending, Poll::Ready)
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ticket").field(&self.outcome()).finish()
    }
}
