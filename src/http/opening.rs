//! What an app server is asked before a stream opens, and what becomes of the request then.

use http::request::Parts;

use super::{Answer, ResponseBody, problem};
use crate::config::schema::OnFailure;
use crate::error::Problem;
use crate::history::Wants;
use crate::hook::{Client, HookError, Hooks};
use crate::metrics::ShardMetrics;
use crate::subscribe::{Found, Opening, Subscription};

/// Opens a stream, if its route's app server lets the client have it, and with a snapshot if there is
/// one and the client needs it.
pub(super) async fn begin<S>(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    mut subscription: Subscription,
) -> Answer<S> {
    match ask(hooks, metrics, found, head, &mut subscription).await {
        Ok(()) => Answer::Stream(subscription),
        Err(error) => Answer::Response(refusal(&error)),
    }
}

async fn ask(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    subscription: &mut Subscription,
) -> Result<(), HookError> {
    let route = found.route.id().index();
    if !hooks.has_auth(route) && !hooks.has_snapshot(route) {
        return Ok(());
    }
    // They have been read once already.
    let Ok(values) = found.values(head) else { return Ok(()) };
    let client = Client { parameter: &|name| values.of(name), headers: &head.headers };
    if hooks.has_auth(route) {
        let asked = hooks.authorize(route, &client, &subscription.filters, metrics).await;
        let grant = asked.inspect_err(|error| log(error, head))?;
        if let Some(topics) = &grant.topics {
            subscription.filters.clone_from(topics);
        }
        subscription.grant = Some(grant);
    }
    if hooks.has_snapshot(route) {
        subscription.opening = snapshot(hooks, metrics, found, head, &client, subscription).await?;
    }
    Ok(())
}

async fn snapshot(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    client: &Client<'_>,
    subscription: &Subscription,
) -> Result<Opening, HookError> {
    let route = found.route.id().index();
    let settings = found.route.settings();
    let wants = Wants { filters: &subscription.filters, everyone: settings.broadcast };
    if hooks.resumes(subscription.cursor, wants, settings.resume) {
        return Ok(Opening::Plain);
    }
    let asked = hooks.snapshot(route, client, wants, metrics).await;
    match asked.inspect_err(|error| log(error, head)) {
        Ok(snapshot) => Ok(Opening::Snapshot(snapshot)),
        // That is an answer, and not a failure.
        Err(denied @ HookError::Denied(_)) => Err(denied),
        Err(failed) => match hooks.on_failure(route) {
            OnFailure::Fail => Err(failed),
            OnFailure::Skip => Ok(Opening::Plain),
            OnFailure::Retry => Ok(Opening::ComeBack),
        },
    }
}

fn log(error: &HookError, head: &Parts) {
    if let HookError::Failed(fault) = error {
        tracing::warn!(%fault, path = head.uri.path(), "an app server did not answer for a stream");
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
