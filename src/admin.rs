//! The internal listener: publish, sources, sessions, reload, health, readiness, metrics, and the views of
//! the debug page.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body_util::Empty;

use crate::error::Problem;
use crate::hook::Sessions;
use crate::http::browsers::refuse_other_names;
use crate::http::console::Console;
use crate::http::log_route;
use crate::http::publish_route::{self, PublishRoute};
use crate::http::reload_route;
use crate::http::sessions_route;
use crate::http::sources_route::{self, SourcesRoute};
use crate::http::{
    Answer, Handler, RequestBody, ResponseBody, method_not_allowed, not_found, problem, text,
};
use crate::logging::Logging;
use crate::metrics::{Metrics, Standing};
use crate::net::Peer;
use crate::proxy::Interims;
use crate::settings::Reloads;
use crate::subscribe::Subscription;

/// A mailbox this full means that the shards do not keep up.
const FILL_MAX: f64 = 0.9;

/// Answers the internal listener's requests.
pub struct Admin {
    /// The publish routes.
    pub publish: PublishRoute,
    /// The routes of sources.
    pub sources: SourcesRoute,
    /// The views of topics, streams and the gateway as a whole, and the debug page.
    pub console: Arc<Console>,
    /// The way to end sessions.
    pub sessions: Arc<Sessions>,
    /// Every shard's cells.
    pub metrics: Arc<Metrics>,
    /// The log, whose filter can be changed.
    pub logging: Arc<Logging>,
    /// The way to have the configuration read again.
    pub reloads: Reloads,
    /// Whether the gateway takes new streams.
    pub accepting: Box<dyn Fn() -> bool + Send>,
}

/// No request to this listener becomes a stream.
type NoStream = Empty<Bytes>;
type Page = Response<ResponseBody<NoStream>>;

impl Handler for Admin {
    type Stream = NoStream;

    async fn handle(
        self: Rc<Self>,
        head: Parts,
        body: &mut RequestBody,
        _: &Peer,
        _: Option<&Interims>,
    ) -> Answer<NoStream> {
        Answer::Response(self.answer(&head, body).await)
    }

    fn open(&self, _: Subscription) -> Response<NoStream> {
        unreachable!("`handle` never answers with a stream")
    }
}

impl Admin {
    async fn answer(&self, head: &Parts, body: &mut RequestBody) -> Page {
        let path = head.uri.path();
        if let Some(probe) = Self::probe(path) {
            return match head.method {
                Method::GET | Method::HEAD => probe(self),
                _ => method_not_allowed("GET, HEAD"),
            };
        }
        if let Err(refused) = refuse_other_names(head, &self.publish.settings) {
            return problem(&refused);
        }
        if let Some(answer) = self.console.answer(head).await {
            return answer;
        }
        if path == publish_route::PATH || path.starts_with(publish_route::TOPICS) {
            return self.publish.answer(head, body).await;
        }
        if sources_route::is_path(path) {
            return self.sources.answer(head, body).await;
        }
        if path.starts_with(sessions_route::PATH) {
            return sessions_route::answer(&self.sessions, head).await;
        }
        if path == log_route::PATH {
            let longest = self.publish.settings.now().config.server.body_timeout.0;
            return log_route::answer(&self.logging, head, body, longest).await;
        }
        if path == reload_route::PATH {
            return reload_route::answer(&self.reloads, head).await;
        }
        not_found(path)
    }

    /// What load balancers and Prometheus ask for, under whatever name they know the gateway by.
    fn probe(path: &str) -> Option<fn(&Self) -> Page> {
        Some(match path {
            "/healthz" => Self::health,
            "/readyz" => Self::readiness,
            "/metrics" => Self::scrape,
            _ => return None,
        })
    }

    /// Fails only when the process is broken, so that it gets restarted.
    fn health(&self) -> Page {
        if !self.metrics.is_alive(Instant::now()) {
            let detail = "a shard has stopped turning";
            return problem(&Problem::new(503, "shard-stuck", "Shard stuck", detail));
        }
        text("text/plain; charset=utf-8", "ok\n".to_owned())
    }

    /// Fails on drain and overload, so that new clients go elsewhere.
    fn readiness(&self) -> Page {
        match self.unready() {
            Some(why) => problem(&why),
            None => text("text/plain; charset=utf-8", "ready\n".to_owned()),
        }
    }

    fn unready(&self) -> Option<Problem> {
        if self.publish.hub.has_failed() {
            let detail = "the event log has failed, and nothing can be published";
            return Some(Problem::new(503, "log-failed", "Event log failed", detail));
        }
        if !(self.accepting)() {
            let detail = "the gateway is draining and takes no new streams";
            return Some(Problem::new(503, "draining", "Draining", detail));
        }
        if self.publish.hub.fill() > FILL_MAX {
            let detail = "more events are waiting than the gateway keeps up with";
            return Some(Problem::new(503, "overloaded", "Overloaded", detail));
        }
        None
    }

    fn scrape(&self) -> Page {
        let standing =
            Standing { is_ready: self.unready().is_none(), mailbox_fill: self.publish.hub.fill() };
        text("text/plain; version=0.0.4; charset=utf-8", self.metrics.render(standing))
    }
}
