//! The wiring: from a configuration to running shards, and from a signal to their end. Reads as a
//! recipe; every part is described where it lives.

mod past;
mod reload;
mod service;
mod signals;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{interval, sleep_until, timeout};

use self::past::hub;
use self::reload::Reloader;
use self::service::Service;
use self::signals::{Signals, Told};
use crate::admin::Admin;
use crate::config::schema::{History, Store};
use crate::config::units::Fsync;
use crate::config::{Config, Overrides};
use crate::hook::Sessions;
use crate::http::console::{Console, TAILS_MAX};
use crate::http::publish_route::PublishRoute;
use crate::http::sources_route::SourcesRoute;
use crate::hub::EventMailbox;
use crate::inspect::Inspector;
use crate::logging::Logging;
use crate::metrics::Metrics;
use crate::net::{self, SocketOptions};
use crate::settings::{Answer, Base, Reloads, Settings, SettingsError, SettingsWatch};
use crate::shard::{Addresses, Lifecycle, LifecycleWatch, Shard};
use crate::source::{OnShard, SourceError, Sources};
use crate::sync::Mailbox;
use crate::tls::{ServerKeys, ServerTls, TlsError};

/// Longest time from the order to stop to the end of the process.
const STOP_MAX: Duration = Duration::from_secs(2);

/// How often the log says what was left out of it.
const LEFT_OUT_TOLD: Duration = Duration::from_secs(1);

/// Why the gateway did not start, or stopped by itself.
#[derive(Debug)]
pub enum GatewayError {
    /// A listener's address cannot be had.
    Listen {
        /// The configuration's name for it.
        key: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The log's filter is not one.
    LogLevel(String),
    /// The event log cannot be opened.
    Log(String),
    /// The certificates cannot be used.
    Tls(TlsError),
    /// What the configuration names cannot be used.
    Settings(SettingsError),
    /// The sources cannot be had.
    Sources(SourceError),
    /// The operating system refused something else.
    System(&'static str, io::Error),
    /// A shard's thread ended before it was told to.
    ShardDied,
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { key, address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "{key}: {address} is in use by another process; stop it, or set another \
                     address"
                )
            }
            Self::Listen { key, address, error } => {
                write!(f, "{key}: cannot listen on {address}: {error}")
            }
            Self::LogLevel(error) => write!(f, "log.level: {error}"),
            Self::Log(error) => write!(f, "history.path: {error}"),
            Self::Tls(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::Sources(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::ShardDied => write!(f, "a shard died; the log says why"),
        }
    }
}

impl std::error::Error for GatewayError {}

/// Runs a gateway until SIGTERM or SIGINT has drained it; a second signal does not wait.
/// `overrides` say where the configuration comes from, for reloads.
pub fn run(config: Config, overrides: Overrides) -> Result<(), GatewayError> {
    let logging =
        Logging::start(&config.log).map_err(|error| GatewayError::LogLevel(error.to_string()))?;
    let logging = Arc::new(logging);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| GatewayError::System("cannot start a runtime", error))?;
    // Before anybody can know that the gateway runs, and tell it to stop.
    let signals = Signals::listen(&runtime)?;
    let server = &config.server;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let shard_count = server.shard_count(cores);
    let connections_max = connections_max(&config);
    let sockets = SocketOptions {
        backlog: server.accept_backlog,
        user_timeout: server.tcp_user_timeout.0,
        keepalive: server.tcp_keepalive.0,
    };
    let listen = |key, address| {
        net::listen(address, shard_count, &sockets).map_err(|error| GatewayError::Listen {
            key,
            address,
            error,
        })
    };
    let public = listen("server.listen", server.listen)?;
    let internal = listen("server.internal", server.internal)?;
    let tls = match config.tls.listen.0 {
        None => None,
        Some(address) => {
            let keys = ServerKeys::read(&config.tls).map_err(GatewayError::Tls)?;
            Some((listen("tls.listen", address)?, Arc::new(ServerTls::new(keys))))
        }
    };

    let started = Instant::now();
    let metrics = Arc::new(Metrics::new(shard_count, [], started));
    metrics.off_shard().connections_max.set(connections_max as u64);
    let mailboxes: Vec<Arc<EventMailbox>> = (0..shard_count)
        .map(|_| Arc::new(Mailbox::new(config.mailbox.events_max, config.mailbox.bytes_max.0)))
        .collect();
    let (hub, log) = hub(&config, mailboxes.clone(), &metrics)?;
    let durability = match config.history {
        History { store: Store::Memory, .. } => "memory",
        History { fsync: Fsync::Every(_), .. } => "buffered",
        History { fsync: Fsync::Always, .. } => "synced",
    };
    let (inspector, questions) = Inspector::new(shard_count);
    let (sessions, revocations) = Sessions::new(shard_count);
    let base = Base { hub: Arc::clone(&hub), sessions: Arc::new(sessions) };
    let (sources, starts) = Sources::new(&config, shard_count).map_err(GatewayError::Sources)?;
    let sources = Arc::new(sources);

    let (advance, lifecycle) = watch::channel(Lifecycle::Running);
    let (drained_tx, drained) = mpsc::channel(shard_count);
    let (died_tx, mut died) = mpsc::channel(shard_count);
    let connections = Arc::new(AtomicUsize::new(0));
    let tls_address = tls.as_ref().map(|(listeners, _)| address_of(listeners)).transpose()?;
    let trusted = config.proxy.trusted.iter().map(|network| network.0).collect();
    let addresses = Arc::new(Addresses::new(server.connections_per_address_max, trusted));
    let states = Some(config.sources.topic.clone()).filter(|topic| !topic.is_empty());
    let settings = Settings::new(&base, config, connections_max).map_err(GatewayError::Settings)?;
    metrics.set_upstreams(settings.plan.upstreams());
    let (publish_settings, settings) = watch::channel(Arc::new(settings));
    let settings = SettingsWatch(settings);
    let console = Arc::new(Console {
        inspector,
        hub: Arc::clone(&hub),
        metrics: Arc::clone(&metrics),
        settings: settings.clone(),
        connections: Arc::clone(&connections),
        durability,
        started: SystemTime::now(),
        tails: Semaphore::new(TAILS_MAX),
    });
    let (reloads, asked) = Reloads::new();
    let (adopted_tx, adopted) = mpsc::channel(shard_count);
    let public_address = address_of(&public)?;
    tracing::info!(
        public = %public_address,
        internal = %address_of(&internal)?,
        tls = tls_address.map(tracing::field::display),
        shards = shard_count,
        connections_max,
        epoch = %hub.epoch(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );

    let server_tls = tls.as_ref().map(|(_, tls)| Arc::clone(tls));
    let mut tls_listeners = tls.into_iter().flat_map(|(listeners, tls)| {
        listeners.into_iter().map(move |listener| (listener, Arc::clone(&tls)))
    });
    let told = starts.into_iter().zip(revocations).zip(questions);
    let parts = public.into_iter().zip(internal).zip(mailboxes).zip(told).enumerate();
    for (index, (((public, internal), mailbox), ((starts, revocations), questions))) in parts {
        let lifecycle = LifecycleWatch(lifecycle.clone());
        let admin = Admin {
            publish: PublishRoute {
                hub: Arc::clone(&hub),
                settings: settings.clone(),
                durability,
                metrics: metrics.shard(index),
            },
            sources: SourcesRoute { sources: Arc::clone(&sources), settings: settings.clone() },
            sessions: Arc::clone(&base.sessions),
            logging: Arc::clone(&logging),
            reloads: reloads.clone(),
            console: Arc::clone(&console),
            metrics: Arc::clone(&metrics),
            accepting: accepting(lifecycle.clone()),
        };
        let on_shard = OnShard {
            hub: Arc::clone(&hub),
            settings: settings.clone(),
            metrics: metrics.shard(index),
            states: states.clone(),
        };
        let shard = Shard {
            index,
            settings: settings.clone(),
            adopted: adopted_tx.clone(),
            revocations,
            questions,
            hub: Arc::clone(&hub),
            mailbox,
            metrics: Arc::clone(&metrics),
            public,
            tls: tls_listeners.next(),
            internal,
            admin,
            sources: (starts, on_shard),
            connections: Arc::clone(&connections),
            addresses: Arc::clone(&addresses),
            lifecycle,
            drained: drained_tx.clone(),
        };
        spawn(shard, died_tx.clone())?;
    }

    let serving = format!("serving at {public_address}");
    let reloader = Reloader {
        overrides,
        base,
        settings: publish_settings,
        adopted,
        logging,
        metrics,
        addresses,
        sources,
        tls: server_tls,
    };
    let living = live(&advance, signals, (reloader, asked), drained, &mut died, &serving);
    let outcome = runtime.block_on(living);
    advance.send_replace(Lifecycle::Stopping);
    let all_ended = async {
        for _ in 0..shard_count {
            died.recv().await;
        }
    };
    // A shard that is stuck ends with the process.
    match runtime.block_on(async { timeout(STOP_MAX, all_ended).await }) {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped, although a shard did not end in time"),
    }
    if let Some(log) = log {
        log.end();
    }
    outcome
}

/// Waits for signals, reloads, drains, and returns when everything may stop.
async fn live(
    advance: &watch::Sender<Lifecycle>,
    mut signals: Signals,
    (mut reloader, mut asked): (Reloader, mpsc::Receiver<Answer>),
    mut drained: mpsc::Receiver<()>,
    died: &mut mpsc::Receiver<()>,
    serving: &str,
) -> Result<(), GatewayError> {
    let mut service = Service::from_environment();
    let metrics = Arc::clone(&reloader.metrics);
    service.ready(serving);
    let mut second = interval(LEFT_OUT_TOLD);
    loop {
        // Who is to be told how a reload went, if anybody but the log.
        let answer = tokio::select! {
            told = signals.received() => match told {
                Told::Stop => break,
                Told::Reload => None,
            },
            Some(answer) = asked.recv() => Some(answer),
            now = second.tick() => {
                reloader.logging.tell_left_out(now.into());
                continue;
            }
            never = service.keep_alive(&metrics) => match never {},
            _ = died.recv() => return Err(GatewayError::ShardDied),
        };
        service.reloading();
        let outcome = reloader.reload().await;
        let how = if outcome.is_ok() { "reloaded" } else { "not reloaded, the log says why" };
        service.ready(&format!("{serving}; {how}"));
        if let Some(answer) = answer {
            // Who has asked may be gone.
            let _ = answer.send(outcome);
        }
    }
    // Nobody is to wait for an answer that does not come.
    drop(asked);
    let drain = reloader.drain();
    let shard_count = metrics.shard_count();
    service.stopping(drain);
    let deadline = Instant::now() + drain;
    tracing::info!(?drain, "draining: streams are ended, a second signal stops at once");
    advance.send_replace(Lifecycle::Draining);
    let all_drained = async {
        for _ in 0..shard_count {
            drained.recv().await;
        }
    };
    tokio::select! {
        () = all_drained => tracing::info!("every stream has ended"),
        () = sleep_until(deadline.into()) => tracing::warn!("the drain time is over"),
        () = signals.told_to_stop() => tracing::warn!("told again: stopping at once"),
        never = service.keep_alive(&metrics) => match never {},
        _ = died.recv() => return Err(GatewayError::ShardDied),
    }
    Ok(())
}

fn spawn(shard: Shard<Admin>, died: mpsc::Sender<()>) -> Result<(), GatewayError> {
    /// Tells when the thread ends, by panic too.
    struct Deathbed(mpsc::Sender<()>);
    impl Drop for Deathbed {
        fn drop(&mut self) {
            // Nobody listens any more once the gateway is stopping.
            let _ = self.0.try_send(());
        }
    }
    let index = shard.index;
    thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || {
            let _deathbed = Deathbed(died);
            if let Err(error) = shard.run() {
                tracing::error!(%error, index, "a shard failed");
            }
        })
        .map(drop)
        .map_err(|error| GatewayError::System("cannot start a thread", error))
}

fn accepting(lifecycle: LifecycleWatch) -> Box<dyn Fn() -> bool + Send> {
    Box::new(move || lifecycle.now() == Lifecycle::Running)
}

fn address_of(listeners: &[std::net::TcpListener]) -> Result<std::net::SocketAddr, GatewayError> {
    listeners[0]
        .local_addr()
        .map_err(|error| GatewayError::System("a listener has no address", error))
}

/// Raises the descriptor limit as far as it goes, and keeps a reserve of it, so that publish, metrics and
/// the configured sources still work when the public listener is full.
fn connections_max(config: &Config) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let open_files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let (asked, fit) = (config.connections_max(open_files), config.connections_fit(open_files));
    if asked > fit {
        tracing::warn!(
            asked,
            fit,
            open_files,
            "server.connections_max is more than the limit of open files has room for"
        );
    }
    asked
}

fn random() -> Result<u64, GatewayError> {
    getrandom::u64().map_err(|error| {
        GatewayError::System("cannot get random bytes", io::Error::other(error.to_string()))
    })
}
