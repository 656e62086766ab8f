//! hyper's tasks on the shard's own thread.

use std::future::Future;

/// Runs hyper's tasks where they were made: on one shard's `LocalSet`.
#[derive(Clone, Copy, Debug)]
pub struct LocalExec;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
