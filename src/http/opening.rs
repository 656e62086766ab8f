//! What an app server is asked before a stream opens, and what becomes of the request then.

use http::request::Parts;

use super::{Answer, ResponseBody, problem};
use crate::config::schema::OnFailure;
use crate::error::Problem;
use crate::history::Wants;
use crate::hook::{Client, HookError, Hooks};
use crate::metrics::ShardMetrics;
use crate::subscribe::{Found, Opening, Subscription};

/// Opens a stream, with its route's snapshot if it has one and the client needs it.
pub(super) async fn begin<S>(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    mut subscription: Subscription,
) -> Answer<S> {
    match snapshot(hooks, metrics, found, head, &subscription).await {
        Ok(opening) => {
            subscription.opening = opening;
            Answer::Stream(subscription)
        }
        Err(error) => Answer::Response(refusal(&error)),
    }
}

async fn snapshot(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    subscription: &Subscription,
) -> Result<Opening, HookError> {
    let route = found.route.id().index();
    let settings = found.route.settings();
    let wants = Wants { filters: &subscription.filters, everyone: settings.broadcast };
    if !hooks.has_snapshot(route) || hooks.resumes(subscription.cursor, wants, settings.resume) {
        return Ok(Opening::Plain);
    }
    let Ok(values) = found.values(head) else { return Ok(Opening::Plain) };
    let client = Client { parameter: &|name| values.of(name), headers: &head.headers };
    match hooks.snapshot(route, &client, wants, metrics).await {
        Ok(snapshot) => Ok(Opening::Snapshot(snapshot)),
        // That is an answer, and not a failure.
        Err(denied @ HookError::Denied(_)) => Err(denied),
        Err(HookError::Failed(fault)) => {
            tracing::warn!(%fault, path = head.uri.path(), "a stream has no snapshot");
            match hooks.on_failure(route) {
                OnFailure::Fail => Err(HookError::Failed(fault)),
                OnFailure::Skip => Ok(Opening::Plain),
                OnFailure::Retry => Ok(Opening::ComeBack),
            }
        }
    }
}

fn refusal<S>(error: &HookError) -> http::Response<ResponseBody<S>> {
    let denial = match error {
        HookError::Denied(denial) => denial,
        HookError::Failed(fault) => return problem(&Problem::from(fault)),
    };
    let mut response = http::Response::new(ResponseBody::Full(denial.body.clone().into()));
    *response.status_mut() = denial.status;
    *response.headers_mut() = denial.fields.clone();
    let no_store = http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(http::header::CACHE_CONTROL, no_store);
    response
}
