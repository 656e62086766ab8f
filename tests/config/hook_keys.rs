//! Any keys of hooks, for the round trips of configurations.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use tidegate::config::schema::{ForwardAuth, Hooks, OnFailure, Snapshot};
use tidegate::config::template::UrlTemplate;
use tidegate::config::units::{Bytes, Interval};
use tidegate::config::web::FieldName;

use crate::round_trip::{bytes, count, interval, read};

pub(crate) fn hooks() -> impl Strategy<Value = Hooks> {
    (bytes(), count(), count()).prop_map(|(cache_bytes_max, fetches_max, waiting_max)| Hooks {
        cache_bytes_max,
        fetches_max,
        waiting_max,
    })
}

type Request = (UrlTemplate, Vec<FieldName>, String, Interval, Interval, Bytes);

fn request() -> impl Strategy<Value = Request> {
    let url = "(https?://[a-z]{1,8}(:[1-9][0-9]{1,3})?)?/([a-z]{1,4}/\\{[a-zA-Z]{1,4}\\}){0,2}(\\?[a-z]=\\{x\\})?";
    let headers = prop::collection::vec("[a-z][a-z0-9-]{0,8}".prop_map(read::<FieldName>), 0..3);
    let url = url.prop_map(read::<UrlTemplate>);
    (url, headers, any::<String>(), interval(), interval(), bytes())
}

pub(crate) fn auth() -> impl Strategy<Value = ForwardAuth> {
    request().prop_map(|(url, headers, ca, timeout, ttl, _)| ForwardAuth {
        url,
        headers,
        ca,
        timeout,
        ttl,
    })
}

pub(crate) fn snapshot() -> impl Strategy<Value = Snapshot> {
    let on_failure =
        prop_oneof![Just(OnFailure::Fail), Just(OnFailure::Skip), Just(OnFailure::Retry)];
    (request(), any::<String>(), on_failure).prop_map(|(request, event, on_failure)| {
        let (url, headers, ca, timeout, ttl, bytes_max) = request;
        Snapshot { url, event, headers, ca, timeout, ttl, on_failure, bytes_max }
    })
}
