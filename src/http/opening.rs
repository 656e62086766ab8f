//! What an app server is asked before a stream opens, and what becomes of the request then.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::request::Parts;

use super::{Answer, ResponseBody, problem};
use crate::config::schema::OnFailure;
use crate::error::Problem;
use crate::history::Wants;
use crate::hook::{Client, Grant, HookError, HookFault, Hooks, Wanted};
use crate::metrics::{AuthFailure, ShardMetrics};
use crate::subscribe::{Found, Opening, Route, Subscription};

/// Opens a stream, if its route's app server lets the client have it, and with a snapshot if there is
/// one and the client needs it.
pub(super) async fn begin<S>(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    found: &Found<'_>,
    head: &Parts,
    mut subscription: Subscription,
) -> Answer<S> {
    let route = found.route.index();
    if !hooks.are_of(route) {
        return Answer::Stream(subscription);
    }
    let values = match found.values(head) {
        Ok(values) => values,
        Err(error) => return Answer::Response(problem(&Problem::from(&error))),
    };
    let client = Client { parameter: &|name| values.of(name), headers: &head.headers };
    let asked = ask(hooks, metrics, found.route, &client, &mut subscription).await;
    match asked {
        Ok(()) => Answer::Stream(subscription),
        Err(error) => Answer::Response(refusal(&error)),
    }
}

async fn ask(
    hooks: &Hooks,
    metrics: &ShardMetrics,
    route: &Route,
    client: &Client<'_>,
    subscription: &mut Subscription,
) -> Result<(), HookError> {
    let (index, settings) = (route.index(), route.settings());
    let decided = hooks.authorize(index, client, &subscription.filters, metrics).await;
    subscription.grant = decided.inspect_err(|error| {
        metrics.auth_failures[failure(error) as usize].add(1);
    })?;
    if let Some(Grant { topics: Some(topics), .. }) = subscription.grant.as_deref() {
        subscription.filters.clone_from(topics);
    }
    let wanted = Wanted {
        of: Wants {
            filters: &subscription.filters,
            everyone: settings.broadcast,
            names: &subscription.names,
        },
        cursor: subscription.cursor,
        resumes: settings.resume,
    };
    subscription.opening = match hooks.snapshot(index, client, &wanted, metrics).await {
        Ok(snapshot) => snapshot.map_or(Opening::Plain, Opening::Snapshot),
        // That is an answer, and not a failure.
        Err(denied @ HookError::Denied(_)) => return Err(denied),
        Err(failed) => match hooks.on_failure(index) {
            OnFailure::Fail => return Err(failed),
            OnFailure::Skip => Opening::Plain,
            OnFailure::Retry => Opening::ComeBack,
        },
    };
    Ok(())
}

fn failure(error: &HookError) -> AuthFailure {
    match error {
        HookError::Denied(_) => AuthFailure::Denied,
        HookError::Failed(HookFault::Busy) => AuthFailure::Busy,
        HookError::Failed(_) => AuthFailure::Failed,
    }
}

fn refusal<S>(error: &HookError) -> Response<ResponseBody<S>> {
    let denial = match error {
        HookError::Denied(denial) => denial,
        HookError::Failed(fault) => return problem(&Problem::from(fault)),
    };
    let mut response = Response::new(ResponseBody::Full(denial.body.clone().into()));
    *response.status_mut() = denial.status;
    *response.headers_mut() = denial.fields.clone();
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}
