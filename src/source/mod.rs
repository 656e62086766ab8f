//! Sources: upstream servers whose event streams the gateway reads, as a browser would, and publishes.
//!
//! ```text
//! configuration, file, API ─► Sources ─► a shard ─► task: open ─► event_stream ─► template ─► hub
//!                                │                   ▲  └─► backoff ──┘
//!                              status ◄──────────────┘
//! ```
//!
//! Each source is one task, on the shard that its name falls to. It reads no further while the hub takes
//! nothing, so what an upstream sends waits in its own socket, and nothing is lost. Called by the gateway
//! at its start, by shards, which run the tasks, and by `http` for the internal API.

mod backoff;
mod configured;
mod recent;
mod request;
mod saved;
mod status;
mod task;

pub use configured::Reconfiguration;
pub use status::Report;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::{spawn_blocking, spawn_local};
use tokio_rustls::TlsConnector;

use self::status::Status;
use crate::config::schema::{self, Config};
use crate::hub::Hub;
use crate::metrics::ShardMetrics;
use crate::settings::SettingsWatch;
use crate::tls::{self, TlsError};

/// All sources. Shared by all shards.
pub struct Sources {
    settings: schema::Sources,
    /// By name.
    entries: Mutex<BTreeMap<String, Arc<Entry>>>,
    /// Held by who changes them: one after the other.
    changes: tokio::sync::Mutex<()>,
    /// The ways to the shards.
    starts: Box<[mpsc::Sender<Start>]>,
    /// By the file of authorities: reading the system's takes longer than all else.
    connectors: Mutex<HashMap<String, TlsConnector>>,
}

/// A source.
struct Entry {
    spec: schema::Source,
    /// Whether it is in the configuration, and so not the API's to change.
    is_configured: bool,
    tls: Option<TlsConnector>,
    status: Mutex<Status>,
    /// Tells its task, which holds the other end for as long as it runs.
    order: watch::Sender<Order>,
}

/// What a source's task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    /// Another takes its place.
    Replace,
    Remove,
}

type Start = (Arc<Entry>, watch::Receiver<Order>);

/// The sources that fall to one shard, as they come.
pub struct Starts(mpsc::Receiver<Start>);

/// What sources need of their shard.
pub struct OnShard {
    /// Orders what they publish.
    pub hub: Arc<Hub>,
    /// What may be published.
    pub settings: SettingsWatch,
    /// The shard's cells.
    pub metrics: Arc<ShardMetrics>,
    /// Topic below which their states are published, if they are.
    pub states: Option<String>,
}

/// What a put has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// There is one more.
    Created,
    /// The one of that name is another now.
    Replaced,
    /// It was there already, the same.
    Unchanged,
}

/// Why sources are as they were.
#[derive(Debug)]
pub enum SourceError {
    /// The source is not right: what is wrong, each with the field's name first.
    Faults(Vec<String>),
    /// There is none of that name.
    Unknown(String),
    /// It is in the configuration, which only the operator changes.
    Configured(String),
    /// There are as many as there may be.
    TooMany(usize),
    /// Its authorities cannot be read.
    Tls(TlsError),
    /// The file that keeps them cannot be read.
    File(String),
    /// The file that keeps them cannot be written.
    Save(PathBuf, io::Error),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(faults) => write!(f, "`{}", faults.join("; `")),
            Self::Unknown(name) => write!(f, "there is no source named {name:?}"),
            Self::Configured(name) => {
                write!(f, "the source {name:?} is in the configuration file: change it there")
            }
            Self::TooMany(max) => {
                write!(f, "there are {max} sources, as many as `sources.sources_max` allows")
            }
            Self::Tls(error) => error.fmt(f),
            Self::File(error) => write!(f, "`sources.path`: {error}"),
            Self::Save(path, error) => write!(f, "`sources.path`: {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for SourceError {}

impl Sources {
    /// The sources of a configuration and of its file, and for each shard those that fall to it.
    ///
    /// # Errors
    /// The file, or one of authorities, cannot be read.
    pub fn new(config: &Config, shards: usize) -> Result<(Self, Vec<Starts>), SourceError> {
        let max = config.sources.sources_max;
        let (starts, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(max)).unzip();
        let sources = Self {
            settings: config.sources.clone(),
            entries: Mutex::default(),
            changes: tokio::sync::Mutex::default(),
            starts: starts.into(),
            connectors: Mutex::default(),
        };
        let saved = match sources.path() {
            None => Vec::new(),
            Some(path) => saved::read(&path).map_err(SourceError::File)?,
        };
        let configured = config.source.iter().map(|spec| (spec.clone(), true));
        for (spec, is_configured) in configured.chain(saved.into_iter().map(|spec| (spec, false))) {
            if sources.find(&spec.name).is_some() {
                tracing::warn!(
                    source = spec.name,
                    "a source is configured, and saved: the file's is left out"
                );
                continue;
            }
            if sources.entries().len() == max {
                return Err(SourceError::TooMany(max));
            }
            let start = sources.insert(spec, is_configured, String::new())?;
            let shard = sources.shard_of(&start);
            shard.try_send(start).expect("each shard has room for as many as there may be");
        }
        Ok((sources, receivers.into_iter().map(Starts).collect()))
    }

    /// Adds a source, or puts it in the place of the one that has its name.
    ///
    /// # Errors
    /// Nothing has changed.
    pub async fn put(&self, spec: schema::Source) -> Result<Put, SourceError> {
        let faults = spec.faults();
        if !faults.is_empty() {
            return Err(SourceError::Faults(faults));
        }
        let _turn = self.changes.lock().await;
        let old = self.find(&spec.name);
        match &old {
            Some(old) if old.is_configured => return Err(SourceError::Configured(spec.name)),
            Some(old) if old.spec == spec => return Ok(Put::Unchanged),
            None if self.entries().len() >= self.settings.sources_max => {
                return Err(SourceError::TooMany(self.settings.sources_max));
            }
            _ => {}
        }
        // Before anything changes: it may fail.
        self.connector(&spec)?;
        self.save(|saved| {
            saved.retain(|other| other.name != spec.name);
            saved.push(spec.clone());
        })
        .await?;
        self.replace(old.as_ref(), spec, false).await?;
        Ok(if old.is_some() { Put::Replaced } else { Put::Created })
    }

    /// Begins a source where the `old` one of its name ends, if there is one.
    async fn replace(
        &self,
        old: Option<&Arc<Entry>>,
        spec: schema::Source,
        is_configured: bool,
    ) -> Result<(), SourceError> {
        let mut last_event_id = String::new();
        if let Some(old) = old {
            old.end(Order::Replace).await;
            if old.spec.url == spec.url {
                last_event_id.clone_from(&old.status().last_event_id);
            }
        }
        let start = self.insert(spec, is_configured, last_event_id)?;
        // It fails only when the shard has ended, and with it the gateway.
        let _ = self.shard_of(&start).send(start).await;
        Ok(())
    }

    /// Takes a source away. When this is done, its connection is closed and its task gone.
    ///
    /// # Errors
    /// It is as it was.
    pub async fn remove(&self, name: &str) -> Result<(), SourceError> {
        let _turn = self.changes.lock().await;
        let entry = self.find(name).ok_or_else(|| SourceError::Unknown(name.to_owned()))?;
        if entry.is_configured {
            return Err(SourceError::Configured(name.to_owned()));
        }
        self.save(|saved| saved.retain(|other| other.name != name)).await?;
        self.entries().remove(name);
        entry.end(Order::Remove).await;
        Ok(())
    }

    /// Where a source is.
    pub fn report(&self, name: &str) -> Option<Report> {
        self.find(name).map(|entry| entry.report())
    }

    /// Where all are, by name.
    pub fn reports(&self) -> Vec<Report> {
        self.entries().values().map(|entry| entry.report()).collect()
    }

    fn insert(
        &self,
        spec: schema::Source,
        is_configured: bool,
        last_event_id: String,
    ) -> Result<Start, SourceError> {
        let tls = self.connector(&spec)?;
        let (order, told) = watch::channel(Order::Run);
        let status = Mutex::new(Status::new(last_event_id));
        let entry = Arc::new(Entry { spec, is_configured, tls, status, order });
        self.entries().insert(entry.spec.name.clone(), Arc::clone(&entry));
        Ok((entry, told))
    }

    fn connector(&self, spec: &schema::Source) -> Result<Option<TlsConnector>, SourceError> {
        if !spec.url.server.is_tls {
            return Ok(None);
        }
        let mut connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = connectors.get(&spec.ca) {
            return Ok(Some(connector.clone()));
        }
        let ca = Some(spec.ca.as_str()).filter(|ca| !ca.is_empty());
        let made = tls::connectors("source.ca", ca).map_err(SourceError::Tls)?.http1;
        connectors.insert(spec.ca.clone(), made.clone());
        Ok(Some(made))
    }

    /// Writes the file, if there is one, with what changes.
    async fn save(&self, change: impl FnOnce(&mut Vec<schema::Source>)) -> Result<(), SourceError> {
        let Some(path) = self.path() else { return Ok(()) };
        let mut saved = self.put_by_api();
        change(&mut saved);
        let written = spawn_blocking(move || (saved::write(&path, &saved), path));
        match written.await {
            Ok((Ok(()), _)) => Ok(()),
            Ok((Err(error), path)) => Err(SourceError::Save(path, error)),
            Err(error) => Err(SourceError::Save(PathBuf::new(), io::Error::other(error))),
        }
    }

    fn put_by_api(&self) -> Vec<schema::Source> {
        let entries = self.entries();
        let put = entries.values().filter(|entry| !entry.is_configured);
        put.map(|entry| entry.spec.clone()).collect()
    }

    fn path(&self) -> Option<PathBuf> {
        Some(&self.settings.path).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn shard_of(&self, (entry, _): &Start) -> &mpsc::Sender<Start> {
        let mut hasher = DefaultHasher::new();
        entry.spec.name.hash(&mut hasher);
        &self.starts[(hasher.finish() % self.starts.len() as u64) as usize]
    }

    fn find(&self, name: &str) -> Option<Arc<Entry>> {
        self.entries().get(name).cloned()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> Report {
        self.status().report(&self.spec, self.is_configured)
    }

    /// Has the task end, and waits until it has.
    async fn end(&self, order: Order) {
        self.order.send_replace(order);
        self.order.closed().await;
    }
}

impl Starts {
    /// Runs the sources that fall to a shard, on its thread, until that ends.
    pub async fn run(mut self, shard: OnShard) {
        let shard = Rc::new(shard);
        while let Some((entry, order)) = self.0.recv().await {
            spawn_local(task::run(entry, order, Rc::clone(&shard)));
        }
    }
}
