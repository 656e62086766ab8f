//! Hooks: what an app server is asked before a stream opens.
//!
//! ```text
//! request ─► route ─► auth: may it? ─► snapshot: what does it begin with? ─► the stream opens
//!                      └─► answers: kept? or fetched by one for all ◄─┘
//! ```
//!
//! The URLs are the operator's. A client's values fill only their places in path and query, and
//! redirections are not followed, so no client can have the gateway ask elsewhere. Equal requests share
//! one fetch and, for a while, its answer. Shared by all shards; called by `http` before a stream opens.

mod answers;
mod ask;
mod auth;
mod error;
mod sessions;
mod snapshot;

pub use ask::Client;
pub use auth::Grant;
pub use error::{Denial, HookError, HookFault};
pub use sessions::{Revocation, Revocations, Revoked, SESSION_BYTES_MAX, Sessions};
pub use snapshot::Snapshot;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use self::answers::Answers;
use self::auth::{AuthHook, Decided};
use self::snapshot::{Fetched, SnapshotHook};
use crate::config::Config;
use crate::config::schema::{self, OnFailure};
use crate::history::{Place, Wants};
use crate::hub::Hub;
use crate::metrics::ShardMetrics;
use crate::sse::Cursor;
use crate::tls::TlsError;
use crate::topic::Filter;

/// The hooks of all routes.
pub struct Hooks {
    hub: Arc<Hub>,
    /// By the routes' order in the configuration.
    routes: Box<[RouteHooks]>,
    decisions: Answers<Decided>,
    snapshots: Answers<Fetched>,
    sessions: Arc<Sessions>,
    /// Requests to app servers that may be made at once.
    fetches: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// What a stream is of, and where its client is.
pub struct Wanted<'a> {
    /// What it reads,
    pub of: Wants<'a>,
    /// what it has already,
    pub cursor: Cursor,
    /// and whether it is sent what it has missed.
    pub resumes: bool,
}

/// The hooks of one route.
struct RouteHooks {
    auth: Option<AuthHook>,
    snapshot: Option<SnapshotHook>,
}

impl Hooks {
    /// The hooks of a configuration, which is valid.
    ///
    /// # Errors
    /// The authorities of an app server cannot be read.
    pub fn new(config: &Config, hub: Arc<Hub>, sessions: Arc<Sessions>) -> Result<Self, TlsError> {
        let (stream, bounds, upstream) = (&config.stream, &config.hooks, &config.proxy.upstream);
        let of_route = |route: &schema::StreamRoute| {
            let snapshot = route.snapshot.as_ref();
            let settings = stream.of_route(route);
            let auth = route.auth.as_ref();
            let auth = auth.map(|spec| AuthHook::new(spec, upstream, settings.topics_max));
            let reserved = || settings.control_names().map(str::to_owned).collect();
            let snapshot = snapshot.map(|spec| SnapshotHook::new(spec, upstream, reserved()));
            Ok(RouteHooks { auth: auth.transpose()?, snapshot: snapshot.transpose()? })
        };
        Ok(Self {
            hub,
            routes: stream.routes.iter().map(of_route).collect::<Result<_, _>>()?,
            decisions: Answers::new(bounds.cache_bytes_max.0),
            snapshots: Answers::new(bounds.cache_bytes_max.0),
            sessions,
            fetches: Semaphore::new(bounds.fetches_max),
            waiting: AtomicUsize::new(0),
            waiting_max: bounds.waiting_max,
        })
    }

    /// Whether anything is asked for streams of a route.
    pub fn are_of(&self, route: usize) -> bool {
        self.auth_hook(route).is_some() || self.snapshot_hook(route).is_some()
    }

    fn auth_hook(&self, route: usize) -> Option<&AuthHook> {
        // The route that is there when none are given has no hooks.
        self.routes.get(route)?.auth.as_ref()
    }

    fn snapshot_hook(&self, route: usize) -> Option<&SnapshotHook> {
        self.routes.get(route)?.snapshot.as_ref()
    }

    /// What a client may have that wants these topics; `None` where no app server decides that.
    ///
    /// # Errors
    /// The app server says no, or nothing of use.
    pub async fn authorize(
        &self,
        route: usize,
        client: &Client<'_>,
        topics: &[Filter],
        metrics: &ShardMetrics,
    ) -> Result<Option<Arc<Grant>>, HookError> {
        let Some(hook) = self.auth_hook(route) else { return Ok(None) };
        let _waiting = self.wait()?;
        let question = hook.question(client, topics);
        let still_good = |decided: &Decided| decided.as_ref().is_ok_and(|grant| self.counts(grant));
        let fetch = async || {
            // Before the app server is asked: a session that is revoked from now on may still be in its
            // answer.
            let asked_at = self.sessions.count();
            let decided = hook.decide(&question, asked_at, &self.fetches).await;
            metrics.count_auth(match &decided {
                Ok(_) => 0,
                Err(HookError::Denied(_)) => 1,
                Err(HookError::Failed(fault)) => {
                    let path = question.path();
                    tracing::warn!(%fault, path, "an app server did not decide on a stream");
                    2
                }
            });
            let ttl = if decided.is_ok() { hook.ttl() } else { Duration::ZERO };
            (decided, ttl)
        };
        self.decisions.get(&question.key(route), still_good, fetch).await.map(Some)
    }

    /// Whether a grant is neither over nor revoked.
    fn counts(&self, grant: &Grant) -> bool {
        let is_over = grant.ends.is_some_and(|ends| ends <= Instant::now());
        let session = grant.session.as_deref();
        !is_over && !session.is_some_and(|name| self.sessions.is_revoked(name, grant.asked_at))
    }

    /// What becomes of a stream of this route whose snapshot cannot be had.
    pub fn on_failure(&self, route: usize) -> OnFailure {
        self.snapshot_hook(route).map_or(OnFailure::Fail, SnapshotHook::on_failure)
    }

    /// Whether a client gets everything that it has missed, and so needs no snapshot.
    fn resumes(&self, wanted: &Wanted<'_>) -> bool {
        let Cursor::At(id) = wanted.cursor else { return false };
        let head = self.hub.settled_head();
        id.epoch == self.hub.epoch()
            && id.seq <= head
            && (wanted.resumes || id.seq == head)
            && self.reaches_back(id.seq, wanted.of)
    }

    /// Whether the history has everything after `seq`.
    fn reaches_back(&self, seq: u64, wants: Wants<'_>) -> bool {
        let head = self.hub.head();
        let place = Place::after(seq);
        seq >= head || self.hub.lost(wants, place, head, Instant::now()).is_none()
    }

    /// The first events of a stream, where an app server has them and the client needs them. They are at most as
    /// old as the route says, and the history has what has come since.
    ///
    /// # Errors
    /// The app server says no, or nothing of use.
    pub async fn snapshot(
        &self,
        route: usize,
        client: &Client<'_>,
        wanted: &Wanted<'_>,
        metrics: &ShardMetrics,
    ) -> Result<Option<Arc<Snapshot>>, HookError> {
        let hook = self.snapshot_hook(route).filter(|_| !self.resumes(wanted));
        let Some(hook) = hook else { return Ok(None) };
        let _waiting = self.wait()?;
        let question = hook.question(client);
        let still_good = |fetched: &Fetched| match fetched {
            Ok(snapshot) => self.reaches_back(snapshot.after(), wanted.of),
            Err(_) => true,
        };
        let fetch = async || {
            // Before the app server is asked: what is published from now on comes behind its answer.
            let after = self.hub.id(self.hub.head());
            let fetched = hook.fetch(&question, after, &self.fetches).await;
            metrics.count_snapshot(fetched.is_ok());
            if let Err(HookError::Failed(fault)) = &fetched {
                let path = question.path();
                tracing::warn!(%fault, path, "an app server gave no snapshot");
            }
            // A failure is shared by those who wait for it, and by nobody else.
            let ttl = if fetched.is_ok() { hook.ttl() } else { Duration::ZERO };
            (fetched, ttl)
        };
        self.snapshots.get(&question.key(route), still_good, fetch).await.map(Some)
    }

    fn wait(&self) -> Result<Waiting<'_>, HookError> {
        let waiting = Waiting(&self.waiting);
        let others = self.waiting.fetch_add(1, Ordering::Relaxed);
        if others < self.waiting_max { Ok(waiting) } else { Err(HookFault::Busy.into()) }
    }
}

/// One client among those that wait for an answer.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
