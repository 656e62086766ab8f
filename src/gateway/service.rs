//! What the service manager is told: sd_notify(3). Without `NOTIFY_SOCKET` in the environment that is
//! nothing. systemd's `Type=notify` waits for it, and `WatchdogSec=` has a gateway started again whose shards
//! have stopped turning.

use std::future::pending;
use std::time::{Duration, Instant};

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::sleep_until;

use crate::metrics::Metrics;

/// The way to the service manager.
pub(super) struct Service {
    /// How often it wants a sign of life, at half of its patience; never if it does not want any.
    interval: Option<Duration>,
    due: Instant,
}

impl Service {
    /// As the environment says.
    pub(super) fn from_environment() -> Self {
        let interval = watchdog_enabled().map(|patience| patience / 2);
        Self { interval, due: Instant::now() }
    }

    /// The gateway serves.
    pub(super) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its configuration again; `ready` follows.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants to know whether this is about its own order to reload.
            Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
            Err(error) => tracing::warn!(%error, "cannot tell the service manager of a reload"),
        }
    }

    /// It drains, and ends within `drain`.
    pub(super) fn stopping(&self, drain: Duration) {
        let status = format!("draining, for {} s at most", drain.as_secs());
        tell(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }

    /// Gives signs of life as long as every shard does, for as long as this is polled.
    pub(super) async fn keep_alive(&mut self, metrics: &Metrics) -> std::convert::Infallible {
        let Some(interval) = self.interval else { return pending().await };
        loop {
            sleep_until(self.due.into()).await;
            let now = Instant::now();
            self.due = now + interval;
            if metrics.is_alive(now) {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}
