//! What a reload can change, as one object: made whole or not at all, published in one step, and never
//! changed then. A request, a connection, a stream goes by the settings that it began with.
//!
//! Made by the gateway at a start and at a reload. Read where a connection is accepted or a request
//! handled, and by each shard, which takes it over between two turns: nothing on an event's way looks here.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{Applies, Change, Config};
use crate::hook::{Hooks, Sessions};
use crate::hub::Hub;
use crate::proxy::Plan;
use crate::publish::Rules;
use crate::subscribe::{Routes, TooManySettings};
use crate::tls::TlsError;

/// Reloads that may wait for the one in progress; further ones wait for a place.
const WAITING: usize = 16;

/// What the gateway goes by.
pub struct Settings {
    /// The configuration, with the old values of keys that need a restart.
    pub config: Config,
    /// The stream routes.
    pub routes: Arc<Routes>,
    /// What app servers are asked before streams open.
    pub hooks: Arc<Hooks>,
    /// What may be published.
    pub rules: Rules,
    /// The way to the app servers.
    pub plan: Arc<Plan>,
    /// Connections that the public listener may hold, all shards together.
    pub connections_max: usize,
}

/// What settings are made of beside a configuration: it outlives them all.
pub struct Base {
    /// The hub.
    pub hub: Arc<Hub>,
    /// Sessions, revoked ones too.
    pub sessions: Arc<Sessions>,
}

/// Why there are no such settings.
#[derive(Debug)]
pub enum SettingsError {
    /// Something about TLS, mostly a file.
    Tls(TlsError),
    /// See there.
    TooManySettings(TooManySettings),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::TooManySettings(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SettingsError {}

impl From<TlsError> for SettingsError {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl Settings {
    /// The settings that a gateway starts with. The configuration is valid.
    ///
    /// # Errors
    /// A file of authorities cannot be used.
    pub fn new(base: &Base, config: Config, connections_max: usize) -> Result<Self, SettingsError> {
        let routes = Arc::new(Routes::new(&config.stream));
        let hooks = Arc::new(base.hooks(&config)?);
        let plan = Arc::new(Plan::new(&config.proxy)?);
        let rules = rules(&config, &routes);
        Ok(Self { config, routes, hooks, rules, plan, connections_max })
    }

    /// The settings after these. What does not change is shared: it keeps its connections and answers.
    ///
    /// # Errors
    /// As for [`Settings::new`], and too many routes.
    pub fn renewed(
        &self,
        base: &Base,
        config: Config,
        connections_max: usize,
    ) -> Result<Self, SettingsError> {
        let old = &self.config;
        let same_streams = config.stream == old.stream;
        let routes = match same_streams {
            true => Arc::clone(&self.routes),
            false => {
                let routes = self.routes.renewed(&config.stream);
                Arc::new(routes.map_err(SettingsError::TooManySettings)?)
            }
        };
        let same_upstream = config.proxy.upstream == old.proxy.upstream;
        let hooks = match same_streams && same_upstream && config.hooks == old.hooks {
            true => Arc::clone(&self.hooks),
            false => Arc::new(base.hooks(&config)?),
        };
        let plan = match config.proxy == old.proxy {
            true => Arc::clone(&self.plan),
            false => Arc::new(Plan::new(&config.proxy)?),
        };
        let rules = rules(&config, &routes);
        Ok(Self { config, routes, hooks, rules, plan, connections_max })
    }
}

fn rules(config: &Config, routes: &Routes) -> Rules {
    Rules::new(&config.publish, routes.reserved()).reserving(&config.sources.topic)
}

impl Base {
    fn hooks(&self, config: &Config) -> Result<Hooks, TlsError> {
        let (hub, sessions) = (Arc::clone(&self.hub), Arc::clone(&self.sessions));
        Hooks::new(config, hub, sessions)
    }
}

/// Sees the settings as they are published.
#[derive(Clone)]
pub struct SettingsWatch(pub watch::Receiver<Arc<Settings>>);

impl SettingsWatch {
    /// Settings that never change. For tests.
    #[cfg(test)]
    pub fn fixed(settings: Settings) -> Self {
        Self(watch::channel(Arc::new(settings)).1)
    }

    /// The settings now. The lock is held for as long as it takes to count one more reader.
    pub fn now(&self) -> Arc<Settings> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for the next ones; `None` when the gateway is gone.
    pub async fn changed(&mut self) -> Option<Arc<Settings>> {
        self.0.changed().await.ok()?;
        Some(Arc::clone(&self.0.borrow_and_update()))
    }
}

/// What a reload has done.
#[derive(Clone, Debug, Serialize)]
pub struct Reloaded {
    /// Keys whose values differ from those that ran before.
    pub changed: Vec<KeyReloaded>,
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyReloaded {
    /// The key, dotted.
    pub key: String,
    /// `applied` or `needs a restart`.
    pub result: &'static str,
    /// What it counts for, where it is applied: `at once`, `new streams` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts_for: Option<&'static str>,
}

impl From<Change> for KeyReloaded {
    fn from(Change { key, applies }: Change) -> Self {
        match applies {
            Applies::Restart => Self { key, result: "needs a restart", counts_for: None },
            other => Self { key, result: "applied", counts_for: Some(other.as_str()) },
        }
    }
}

/// Why everything is as it was: each thing that is wrong, with its place.
pub type NotReloaded = Vec<String>;

/// Where a reload's outcome is told.
pub type Answer = oneshot::Sender<Result<Reloaded, NotReloaded>>;

/// Asks the gateway to reload its configuration.
#[derive(Clone)]
pub struct Reloads(mpsc::Sender<Answer>);

impl Reloads {
    /// The way to ask, and where the questions come.
    pub fn new() -> (Self, mpsc::Receiver<Answer>) {
        let (asking, asked) = mpsc::channel(WAITING);
        (Self(asking), asked)
    }

    /// Has the configuration read again; `None` if the gateway is about to end.
    pub async fn ask(&self) -> Option<Result<Reloaded, NotReloaded>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}
