//! When something last moved, and who is waited for: what the deadlines of bodies and tunnels are
//! counted from.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

/// Shared by those who move something and those who wait for it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Rc<State>);

#[derive(Debug)]
struct State {
    moved: Cell<Instant>,
    awaits_client: Cell<bool>,
    client_failed: Cell<bool>,
}

impl Activity {
    /// Something has just moved.
    pub(super) fn new() -> Self {
        Self(Rc::new(State {
            moved: Cell::new(Instant::now()),
            awaits_client: Cell::new(false),
            client_failed: Cell::new(false),
        }))
    }

    /// Something moves now.
    pub(super) fn note(&self) {
        self.0.moved.set(Instant::now());
        self.0.awaits_client.set(false);
    }

    /// The client is to send the next part of its body.
    pub(super) fn await_client(&self) {
        self.0.awaits_client.set(true);
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.0.awaits_client.get()
    }

    /// The client's body has broken off.
    pub(super) fn fail_client(&self) {
        self.0.client_failed.set(true);
    }

    pub(super) fn client_failed(&self) -> bool {
        self.0.client_failed.get()
    }
}

/// Tells when nothing has moved for too long. Sets a timer only if somebody has to wait, and leaves it
/// as it is when something moves: it goes off then, sees that, and is set again.
#[derive(Debug)]
pub(super) struct Watch {
    activity: Activity,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn new(activity: Activity) -> Self {
        Self { activity, timer: None }
    }

    /// Ready when nothing has moved for so long.
    pub(super) fn poll_silent(&mut self, longest: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(longest)));
        while timer.as_mut().poll(cx).is_ready() {
            let due = self.activity.0.moved.get() + longest;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due.into());
        }
        Poll::Pending
    }
}
