//! Whether anybody still wants what the gateway fetches: streams hold an [`Interest`] in a source of
//! events, and the source ends when none is left. Crosses threads.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// Held by who wants something. Equal if it is the same thing.
#[derive(Clone, Debug)]
pub struct Interest(watch::Receiver<()>);

impl PartialEq for Interest {
    fn eq(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }
}

impl Eq for Interest {}

/// Held by who provides it.
#[derive(Debug)]
pub struct Interested(watch::Sender<()>);

impl Interested {
    /// Nobody is, yet.
    pub fn nobody() -> Self {
        Self(watch::Sender::new(()))
    }

    /// One more.
    pub fn add(&self) -> Interest {
        Interest(self.0.subscribe())
    }

    /// Whether there is somebody.
    pub fn is_anybody(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Waits until nobody has been interested, and after `linger` nobody is.
    pub async fn all_gone(&self, linger: Duration) {
        loop {
            self.0.closed().await;
            sleep(linger).await;
            if !self.is_anybody() {
                return;
            }
        }
    }
}
