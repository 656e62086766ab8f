//! The signals: SIGTERM and SIGINT end a gateway, SIGHUP has it read its configuration again.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::GatewayError;

/// The signals that a gateway listens for.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen(runtime: &Runtime) -> Result<Self, GatewayError> {
        let _entered = runtime.enter();
        let listen = |kind| {
            signal(kind).map_err(|error| GatewayError::System("cannot listen for signals", error))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn received(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Waits for one that says so.
    pub(super) async fn told_to_stop(&mut self) {
        while self.received().await != Told::Stop {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// To drain, and end.
    Stop,
    /// To read the configuration again.
    Reload,
}
