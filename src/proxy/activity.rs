//! When something last moved, and who is waited for: what the deadlines of bodies and tunnels are
//! counted from.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::alarm::Alarm;

use crate::request_body::BodyFault;

/// Shared by those who move something and those who wait for it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Rc<State>);

#[derive(Debug)]
struct State {
    moved: Cell<Instant>,
    awaits_client: Cell<bool>,
    client_failed: Cell<Option<BodyFault>>,
    client_is_done: Cell<bool>,
}

impl Activity {
    /// Something has just moved.
    pub(super) fn new(now: Instant) -> Self {
        Self(Rc::new(State {
            moved: Cell::new(now),
            awaits_client: Cell::new(false),
            client_failed: Cell::new(None),
            client_is_done: Cell::new(false),
        }))
    }

    /// Something moves now.
    pub(super) fn note(&self) {
        self.0.moved.set(Instant::now());
        self.0.awaits_client.set(false);
    }

    /// When something last moved.
    pub(super) fn moved(&self) -> Instant {
        self.0.moved.get()
    }

    /// The client is to send the next part of its body.
    pub(super) fn await_client(&self) {
        self.0.awaits_client.set(true);
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.0.awaits_client.get()
    }

    /// The client's body has come to its end.
    pub(super) fn end_client(&self) {
        self.0.client_is_done.set(true);
    }

    pub(super) fn client_is_done(&self) -> bool {
        self.0.client_is_done.get()
    }

    /// There is no more of the client's body, although it has not come to its end.
    pub(super) fn fail_client(&self, why: BodyFault) {
        self.0.client_failed.set(Some(why));
    }

    pub(super) fn client_failed(&self) -> Option<BodyFault> {
        self.0.client_failed.get()
    }
}

/// Tells when nothing has moved for too long.
#[derive(Debug, Default)]
pub(super) struct Watch(Alarm);

impl Watch {
    /// Ready when nothing has moved for so long.
    pub(super) fn poll_silent(
        &mut self,
        activity: &Activity,
        longest: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.0.poll(activity.moved() + longest, cx)
    }
}
