//! A reload: the configuration is read again from where it came at the start, and what of it can change
//! in a running gateway is changed as a whole. Until everything that can fail has been tried, nothing is
//! changed; then nothing fails any more.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::connections_max;
use super::past::{history_bounds, key_bounds};
use crate::config::{self, Applies, Overrides};
use crate::logging::Logging;
use crate::metrics::Metrics;
use crate::settings::{Base, KeyReloaded, NotReloaded, Reloaded, Settings};
use crate::shard::Addresses;
use crate::source::Sources;
use crate::tls::{ServerKeys, ServerTls};

/// Longest wait for all shards to take new settings over, which they do between two turns.
const ADOPTION_MAX: Duration = Duration::from_secs(5);

/// Everything that a reload reads and changes.
pub(super) struct Reloader {
    /// Where the configuration comes from.
    pub(super) overrides: Overrides,
    pub(super) base: Base,
    /// Where settings are published.
    pub(super) settings: watch::Sender<Arc<Settings>>,
    /// Told by each shard that it has taken them over.
    pub(super) adopted: mpsc::Receiver<()>,
    pub(super) logging: Arc<Logging>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) addresses: Arc<Addresses>,
    pub(super) sources: Arc<Sources>,
    pub(super) tls: Option<Arc<ServerTls>>,
}

impl Reloader {
    /// Reloads, and says in the log and in the metrics how that went.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, NotReloaded> {
        let outcome = self.try_to_reload().await;
        match &outcome {
            Ok(reloaded) => {
                for KeyReloaded { key, result, counts_for } in &reloaded.changed {
                    tracing::info!(
                        key,
                        result,
                        counts_for,
                        "a key of the configuration has changed"
                    );
                }
                let changed = reloaded.changed.len();
                tracing::info!(changed, "the configuration is reloaded");
            }
            Err(wrong) => {
                for error in wrong {
                    tracing::error!(%error, "the configuration stays as it was");
                }
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.off_shard().count_reload(outcome.is_ok().then_some(now.as_secs()));
        outcome
    }

    /// Longest time of a drain that begins now.
    pub(super) fn drain(&self) -> Duration {
        self.settings.borrow().config.server.drain.0
    }

    async fn try_to_reload(&mut self) -> Result<Reloaded, NotReloaded> {
        let wanted = config::load(&self.overrides).map_err(|error| told(&error.problems))?.config;
        let old = Arc::clone(&self.settings.borrow());
        let changes = old.config.changes(&wanted);
        let next = old.config.reloaded(&wanted);
        // The new keys may not go together with those that wait for a restart.
        next.validate().map_err(|broken| {
            let waiting = changes.iter().filter(|change| change.applies == Applies::Restart);
            let waiting: Vec<_> = waiting.map(|change| &*change.key).collect();
            let why = format!("until a restart applies {}", waiting.join(", "));
            broken.iter().map(|broken| format!("{broken} ({why})")).collect::<Vec<_>>()
        })?;
        let keys = self.tls.as_ref().map(|_| ServerKeys::read(&next.tls)).transpose();
        let keys = keys.map_err(|error| vec![error.to_string()])?;
        let connections_max = connections_max(&next);
        let settings = old.renewed(&self.base, next, connections_max);
        let settings = Arc::new(settings.map_err(|error| vec![error.to_string()])?);
        let config = &settings.config;
        let sources = Arc::clone(&self.sources);
        let sources = sources.reconfigure(&config.source).await;
        let sources = sources.map_err(|error| vec![error.to_string()])?;

        self.logging.set_level(&config.log.level).map_err(|error| vec![error.to_string()])?;
        self.logging.set_lines_max(config.log.lines_per_second_max);
        if let (Some(tls), Some(keys)) = (&self.tls, keys) {
            tls.renew(keys);
        }
        self.base.hub.set_bounds(history_bounds(&config.history), key_bounds(&config.publish));
        let trusted = config.proxy.trusted.iter().map(|network| network.0).collect();
        self.addresses.set_rules(config.server.connections_per_address_max, trusted);
        self.metrics.set_upstreams(settings.plan.upstreams());
        self.metrics.off_shard().connections_max.set(connections_max as u64);
        // Of a shard that was late.
        while self.adopted.try_recv().is_ok() {}
        self.settings.send_replace(Arc::clone(&settings));
        self.wait_for_shards().await;
        sources.apply().await;
        Ok(Reloaded { changed: changes.into_iter().map(KeyReloaded::from).collect() })
    }

    /// Who asks for a reload can rely on it once it has the answer.
    async fn wait_for_shards(&mut self) {
        let all = async {
            for _ in 0..self.metrics.shard_count() {
                self.adopted.recv().await;
            }
        };
        if timeout(ADOPTION_MAX, all).await.is_err() {
            tracing::warn!("a shard takes the new configuration over later than it should");
        }
    }
}

fn told(problems: &[config::Problem]) -> NotReloaded {
    problems.iter().map(ToString::to_string).collect()
}
