//! When exchanges that may last for hours end, once the gateway drains: one after the other, so that
//! their clients do not all come back elsewhere at once.

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// A shard's exchanges that may last for hours, and whether they are to end.
#[derive(Debug)]
pub(super) struct Drain(watch::Sender<Option<Duration>>);

impl Drain {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.receiver_count()
    }

    /// They end from now on, spread over `window`.
    pub(super) fn begin(&self, window: Duration) {
        self.0.send_replace(Some(window));
    }

    /// The end of one more.
    pub(super) fn departure(&self) -> Departure {
        let mut told = self.0.subscribe();
        Departure(Some(Box::pin(async move {
            let window = match told.wait_for(Option::is_some).await {
                Ok(window) => window.unwrap_or_default(),
                // The shard is gone, and everything with it.
                Err(_) => return pending().await,
            };
            sleep(window.mul_f64(fastrand::f64())).await;
        })))
    }
}

/// When one exchange is to end.
pub(super) struct Departure(Option<Pin<Box<dyn Future<Output = ()>>>>);

impl Departure {
    /// Whether it is time, which it remains.
    pub(super) fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        self.0.take_if(|due| due.as_mut().poll(cx).is_ready());
        self.0.is_none()
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure").field("is_due", &self.0.is_none()).finish()
    }
}
