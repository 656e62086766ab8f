//! `/sources` and `/sources/{name}` of the internal listener: what the gateway reads of upstream servers.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::json;

use super::response::no_content;
use super::{
    RequestBody, ResponseBody, json as json_answer, method_not_allowed, not_found, problem,
    small_body,
};
use crate::config::schema::Source;
use crate::error::Problem;
use crate::settings::SettingsWatch;
use crate::source::{Put, SourceError, Sources};

/// Path of the list; below it are the sources.
pub const PATH: &str = "/sources";

/// A source is a few short texts.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The routes of sources.
#[derive(Clone)]
pub struct SourcesRoute {
    /// All sources.
    pub sources: Arc<Sources>,
    /// How long a body may take.
    pub settings: SettingsWatch,
}

/// Whether a path is one of these routes.
pub fn is_path(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl SourcesRoute {
    /// Answers a request whose path [`is_path`].
    pub async fn answer<S>(
        &self,
        head: &Parts,
        body: &mut RequestBody,
    ) -> Response<ResponseBody<S>> {
        let path = head.uri.path();
        let Some(name) = path.strip_prefix(PATH).and_then(|rest| rest.strip_prefix('/')) else {
            return self.list(head);
        };
        let answered = match head.method {
            Method::GET | Method::HEAD => self.show(name, StatusCode::OK),
            Method::PUT => self.put(name, body).await,
            Method::DELETE => self
                .sources
                .remove(name)
                .await
                .map(|()| no_content())
                .map_err(|error| Problem::from(&error)),
            _ => return method_not_allowed("GET, HEAD, PUT, DELETE"),
        };
        answered.unwrap_or_else(|refused| match refused.status {
            404 => not_found(path),
            _ => problem(&refused),
        })
    }

    fn list<S>(&self, head: &Parts) -> Response<ResponseBody<S>> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        json_answer(StatusCode::OK, json!({ "sources": self.sources.reports() }).to_string())
    }

    fn show<S>(
        &self,
        name: &str,
        status: StatusCode,
    ) -> Result<Response<ResponseBody<S>>, Problem> {
        let report = self.sources.report(name);
        let report = report.ok_or_else(|| Problem::from(&SourceError::Unknown(name.to_owned())))?;
        let text = serde_json::to_string(&report).expect("a report is texts and numbers");
        Ok(json_answer(status, text))
    }

    async fn put<S>(
        &self,
        name: &str,
        body: &mut RequestBody,
    ) -> Result<Response<ResponseBody<S>>, Problem> {
        let longest = self.settings.now().config.server.body_timeout.0;
        let body = small_body::read(body, "a source", BODY_BYTES_MAX, longest).await?;
        let bad = |detail: String| Problem::new(400, "bad-source", "Bad source", detail);
        let mut source: Source =
            serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))?;
        if !source.name.is_empty() && source.name != name {
            return Err(bad(format!(
                "its name is {:?}, and that of the path {name:?}",
                source.name
            )));
        }
        name.clone_into(&mut source.name);
        let put = self.sources.put(source).await.map_err(|error| Problem::from(&error))?;
        let status = match put {
            Put::Created => StatusCode::CREATED,
            Put::Replaced | Put::Unchanged => StatusCode::OK,
        };
        self.show(name, status)
    }
}
