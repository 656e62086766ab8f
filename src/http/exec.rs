//! hyper's tasks on the shard's own thread.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::in_progress::{WaitsSince, give_up_without_window};

/// Runs the tasks of one HTTP/2 connection where they were made: on one shard's `LocalSet`.
#[derive(Clone)]
pub(super) struct StreamExec {
    window_timeout: Duration,
    /// Of the stream whose task comes next. hyper makes that of the service's future right after it
    /// has called the service.
    next: Rc<Cell<Option<WaitsSince>>>,
}

impl StreamExec {
    pub(super) fn new(window_timeout: Duration) -> Self {
        Self { window_timeout, next: Rc::default() }
    }

    /// The service is called: what its response waits for is to be told here.
    pub(super) fn begin_stream(&self) -> WaitsSince {
        let waits_since = WaitsSince::default();
        self.next.set(Some(Rc::clone(&waits_since)));
        waits_since
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for StreamExec {
    fn execute(&self, stream: F) {
        let waits_since = self.next.take().unwrap_or_default();
        tokio::task::spawn_local(give_up_without_window(stream, waits_since, self.window_timeout));
    }
}
