//! The keys of the reverse proxy.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, ORIGIN};
use serde::{Deserialize, Serialize};

use crate::config::reload::Applies::Requests;
use crate::config::reload::Statements;
use crate::config::units::{Bytes, Interval};
use crate::config::web::{
    FieldName, FieldValue, HostPattern, MethodName, Network, OptionalUrl, PathPrefix, ServerUrl,
};

/// Name of the group that `proxy.upstream` makes.
pub const DEFAULT_UPSTREAM: &str = "proxy.upstream";

/// Requests that are no streams of ours.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// URL of the app server that gets what no route matches; empty for none.
    pub upstream: OptionalUrl,
    /// Peers whose `Forwarded` and `X-Forwarded-*` headers are believed: addresses and networks.
    pub trusted: Vec<Network>,
    /// Bytes of one request's body; 0 for as many as come.
    pub body_bytes_max: Bytes,
    /// Longest silence on an upgraded connection.
    pub upgrade_idle_timeout: Interval,
    /// Groups of app servers.
    pub upstreams: Vec<Upstream>,
    /// Which requests go to which group.
    pub routes: Vec<Route>,
}

impl Proxy {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements = &[
        ("upstream", Requests),
        ("trusted", Requests),
        ("body_bytes_max", Requests),
        ("upgrade_idle_timeout", Requests),
        ("upstreams", Requests),
        ("routes", Requests),
    ];
}

/// A group of app servers that do the same.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// What routes call it.
    pub name: String,
    /// URLs of the servers: `http://host:port`, `https://host`.
    pub servers: Vec<ServerUrl>,
    /// File of the authorities (PEM) that the servers' certificates must come from; empty for those
    /// of the system.
    #[serde(default)]
    pub ca: String,
    /// Whether they are spoken to by HTTP/2: all requests share one connection of a shard.
    #[serde(default)]
    pub http2: bool,
    /// Which server gets the next request.
    #[serde(default)]
    pub balance: Balance,
    /// Longest wait for a connection.
    #[serde(default = "Upstream::default_connect_timeout")]
    pub connect_timeout: Interval,
    /// Longest wait for a response's head, from the last byte of the request.
    #[serde(default = "Upstream::default_response_timeout")]
    pub response_timeout: Interval,
    /// Longest silence within a body, of the client's or the server's.
    #[serde(default = "Upstream::default_body_timeout")]
    pub body_timeout: Interval,
    /// Fields of a response's head, over HTTP/1.
    #[serde(default = "Upstream::default_response_fields_max")]
    pub response_fields_max: usize,
    /// How long a connection that nobody uses is kept.
    #[serde(default = "Upstream::default_keepalive")]
    pub keepalive: Interval,
    /// Connections that nobody uses: of one shard to one server.
    #[serde(default = "Upstream::default_idle_max")]
    pub idle_max: usize,
    /// Requests at a time, of all shards to one server.
    #[serde(default = "Upstream::default_requests_max")]
    pub requests_max: usize,
    /// Failures one after the other with which a server is left out.
    #[serde(default = "Upstream::default_failures_max")]
    pub failures_max: u32,
    /// For how long.
    #[serde(default = "Upstream::default_ejection")]
    pub ejection: Interval,
}

/// Which server of a group gets the next request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// The one with the fewest requests in progress.
    #[default]
    LeastRequests,
    /// One after the other.
    RoundRobin,
}

impl Upstream {
    /// A group of which nothing else is said.
    pub fn new(name: &str, servers: Vec<ServerUrl>) -> Self {
        Self {
            name: name.into(),
            servers,
            ca: String::new(),
            http2: false,
            balance: Balance::default(),
            connect_timeout: Self::default_connect_timeout(),
            response_timeout: Self::default_response_timeout(),
            body_timeout: Self::default_body_timeout(),
            response_fields_max: Self::default_response_fields_max(),
            keepalive: Self::default_keepalive(),
            idle_max: Self::default_idle_max(),
            requests_max: Self::default_requests_max(),
            failures_max: Self::default_failures_max(),
            ejection: Self::default_ejection(),
        }
    }

    fn default_connect_timeout() -> Interval {
        Interval(Duration::from_secs(2))
    }

    fn default_response_timeout() -> Interval {
        Interval(Duration::from_secs(60))
    }

    fn default_body_timeout() -> Interval {
        Interval(Duration::from_secs(60))
    }

    fn default_response_fields_max() -> usize {
        100
    }

    fn default_keepalive() -> Interval {
        // Node closes after five seconds by itself, and gunicorn after two.
        Interval(Duration::from_secs(4))
    }

    fn default_idle_max() -> usize {
        64
    }

    fn default_requests_max() -> usize {
        4096
    }

    fn default_failures_max() -> u32 {
        3
    }

    fn default_ejection() -> Interval {
        Interval(Duration::from_secs(10))
    }
}

/// Which requests go to a group of app servers.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A host name, or `*.` and the end of one; empty for any.
    #[serde(default)]
    pub host: HostPattern,
    /// A path and everything below it.
    #[serde(default)]
    pub path: PathPrefix,
    /// Methods; none for any.
    #[serde(default)]
    pub methods: Vec<MethodName>,
    /// The group's name.
    pub upstream: String,
    /// What takes the place of `path`; the path stays as it is if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<PathPrefix>,
    /// Which host the server is told.
    #[serde(default)]
    pub host_header: HostHeader,
    /// Header fields set in the request.
    #[serde(default)]
    pub request_set: BTreeMap<FieldName, FieldValue>,
    /// Header fields removed from the request.
    #[serde(default)]
    pub request_remove: Vec<FieldName>,
    /// Header fields set in the response.
    #[serde(default)]
    pub response_set: BTreeMap<FieldName, FieldValue>,
    /// Header fields removed from the response.
    #[serde(default)]
    pub response_remove: Vec<FieldName>,
    /// Whether clients share a server's event stream where the server says so, by
    /// `Tidegate-Collapse: KEY` in its response.
    #[serde(default)]
    pub collapse: bool,
    /// Header fields of the request that tell users apart: who has the same in all of them is let in
    /// to a shared stream without the server being asked.
    #[serde(default = "Route::default_collapse_headers")]
    pub collapse_headers: Vec<FieldName>,
}

impl Route {
    /// Everything, to one group.
    pub fn everything(upstream: &str) -> Self {
        Self {
            host: HostPattern::default(),
            path: PathPrefix::default(),
            methods: Vec::new(),
            upstream: upstream.into(),
            rewrite: None,
            host_header: HostHeader::default(),
            request_set: BTreeMap::new(),
            request_remove: Vec::new(),
            response_set: BTreeMap::new(),
            response_remove: Vec::new(),
            collapse: false,
            collapse_headers: Self::default_collapse_headers(),
        }
    }

    fn default_collapse_headers() -> Vec<FieldName> {
        [AUTHORIZATION, COOKIE, ORIGIN].map(FieldName).into()
    }
}

/// Which host the server is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostHeader {
    /// The client's.
    #[default]
    Client,
    /// That of the server's URL.
    Server,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            upstream: OptionalUrl::default(),
            trusted: Vec::new(),
            body_bytes_max: Bytes(0),
            upgrade_idle_timeout: Interval(Duration::from_secs(300)),
            upstreams: Vec::new(),
            routes: Vec::new(),
        }
    }
}
