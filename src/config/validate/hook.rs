//! The rules of hooks.

use super::{Broken, EVENT_NAME_BYTES_MAX, MILLISECOND};
use crate::config::schema::{Config, Hooks, Snapshot, StreamRoute};
use crate::config::template::UrlTemplate;
use crate::config::units::{Bytes, Interval};
use crate::config::web::FieldName;

/// An answer is kept twice, with what it was asked for.
const KEPT_TIMES: usize = 4;

/// Fields that are between two hops, or ours.
const FIELDS_REFUSED: [&str; 10] = [
    "accept",
    "cache-control",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

pub(super) fn hooks(hooks: &Hooks, broken: &mut Broken) {
    broken.at_least("hooks.cache_bytes_max", hooks.cache_bytes_max, Bytes::mib(1));
    // A semaphore has room for more than any machine has descriptors.
    broken.within("hooks.fetches_max", hooks.fetches_max, 1, 1_000_000);
    broken.at_least("hooks.waiting_max", hooks.waiting_max, 1);
}

/// What is wrong with a route's hooks, as the end of a sentence that begins with its place.
pub(super) fn faults_of(route: &StreamRoute, config: &Config) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(auth) = &route.auth {
        faults.extend(faults_of_request(".auth", &auth.url, &auth.headers, route, config));
        faults.extend(fault_of_timeout(".auth", auth.timeout));
    }
    if let Some(snapshot) = &route.snapshot {
        let names = &snapshot.headers;
        faults.extend(faults_of_request(".snapshot", &snapshot.url, names, route, config));
        faults.extend(faults_of_snapshot(snapshot, &config.hooks));
    }
    faults
}

fn faults_of_request(
    at: &str,
    url: &UrlTemplate,
    names: &[FieldName],
    route: &StreamRoute,
    config: &Config,
) -> Vec<String> {
    let mut faults = Vec::new();
    if url.server(&config.proxy.upstream).is_none() {
        faults.push(format!(
            "{at}.url` is a path on `proxy.upstream`, which is empty: set that, or give the whole URL"
        ));
    }
    let is_known = |name: &str| {
        route.path.parameters().any(|other| other == name) || route.parameters.contains_key(name)
    };
    for name in url.parameters().filter(|name| !is_known(name)) {
        faults.push(format!(
            "{at}.url` has {{{name}}}, which is not in the path; if it comes from the query, give it a \
             pattern in `parameters`"
        ));
    }
    for FieldName(name) in names {
        if FIELDS_REFUSED.contains(&name.as_str()) || name.as_str().starts_with("tidegate-") {
            faults.push(format!("{at}.headers` has {:?}, which is not a client's", name.as_str()));
        }
    }
    faults
}

fn fault_of_timeout(at: &str, time: Interval) -> Option<String> {
    let message = || format!("{at}.timeout` is {time}; it must be at least {MILLISECOND}");
    (time < MILLISECOND).then(message)
}

fn faults_of_snapshot(snapshot: &Snapshot, hooks: &Hooks) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(fault_of_timeout(".snapshot", snapshot.timeout));
    let (bytes, cache) = (snapshot.bytes_max, hooks.cache_bytes_max);
    if !(1..=cache.0 / KEPT_TIMES).contains(&bytes.0) {
        faults.push(format!(
            ".snapshot.bytes_max` is {bytes}; it must be 1B to a quarter of `hooks.cache_bytes_max` \
             ({cache}), so that an answer always fits the cache"
        ));
    }
    let event = &snapshot.event;
    if event.len() > EVENT_NAME_BYTES_MAX || event.chars().any(char::is_control) {
        faults.push(format!(
            ".snapshot.event` is {event:?}; it must have at most {EVENT_NAME_BYTES_MAX} bytes and no \
             control characters"
        ));
    }
    faults
}
