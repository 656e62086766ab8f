//! The keys of hooks: what an app server is asked before a stream opens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::reload::Applies::Requests;
use crate::config::reload::Statements;
use crate::config::template::UrlTemplate;
use crate::config::units::{Bytes, Interval};
use crate::config::web::FieldName;

/// Bounds of the hooks of all routes together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hooks {
    /// Bytes of the answers that are kept, with what they were asked for.
    pub cache_bytes_max: Bytes,
    /// Requests to app servers at a time.
    pub fetches_max: usize,
    /// Clients that wait for an answer at a time.
    pub waiting_max: usize,
}

impl Hooks {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements =
        &[("cache_bytes_max", Requests), ("fetches_max", Requests), ("waiting_max", Requests)];
}

/// A route's first events, which an app server has.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Where they are, with the route's parameters.
    pub url: UrlTemplate,
    /// Name of the events of a JSON or NDJSON body; empty for none.
    #[serde(default)]
    pub event: String,
    /// The client's header fields that go along. Clients for whom they are equal share an answer.
    #[serde(default = "credentials")]
    pub headers: Vec<FieldName>,
    /// File of the authorities (PEM) that the server's certificate must come from; empty for those of
    /// the system.
    #[serde(default)]
    pub ca: String,
    /// Longest wait for the whole answer.
    #[serde(default = "timeout")]
    pub timeout: Interval,
    /// How long an answer counts.
    #[serde(default = "Snapshot::default_ttl")]
    pub ttl: Interval,
    /// What becomes of a stream whose snapshot cannot be had.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Bytes of an answer.
    #[serde(default = "Snapshot::default_bytes_max")]
    pub bytes_max: Bytes,
}

/// Who may have a route's streams, which an app server decides.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardAuth {
    /// Where it is asked, with the route's parameters.
    pub url: UrlTemplate,
    /// See [`Snapshot::headers`].
    #[serde(default = "credentials")]
    pub headers: Vec<FieldName>,
    /// See [`Snapshot::ca`].
    #[serde(default)]
    pub ca: String,
    /// Longest wait for the whole answer.
    #[serde(default = "timeout")]
    pub timeout: Interval,
    /// How long a yes counts.
    #[serde(default = "ForwardAuth::default_ttl")]
    pub ttl: Interval,
}

impl ForwardAuth {
    fn default_ttl() -> Interval {
        Interval(Duration::from_secs(10))
    }
}

/// What becomes of a stream whose snapshot cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The request is answered 502, 503 or 504.
    #[default]
    Fail,
    /// The stream opens without one.
    Skip,
    /// The client is told when to come back, as a stream that is shed.
    Retry,
}

impl Snapshot {
    fn default_ttl() -> Interval {
        Interval(Duration::from_secs(1))
    }

    fn default_bytes_max() -> Bytes {
        Bytes::mib(1)
    }
}

impl Default for Hooks {
    fn default() -> Self {
        Self { cache_bytes_max: Bytes::mib(64), fetches_max: 64, waiting_max: 20_000 }
    }
}

fn credentials() -> Vec<FieldName> {
    ["authorization", "cookie"].map(FieldName::from_static).into()
}

fn timeout() -> Interval {
    Interval(Duration::from_secs(5))
}
