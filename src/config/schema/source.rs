//! The keys of sources: upstream servers whose event streams the gateway reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::reload::Applies::Restart;
use crate::config::reload::Statements;
use crate::config::units::{Bytes, Interval};
use crate::config::web::{FieldName, FieldValue, StreamUrl};
use crate::topic::Template;

/// What is shown in place of a secret.
pub const REDACTED: &str = "***";

/// All sources together.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sources {
    /// File that keeps the sources which were put by the internal API; empty to forget them.
    pub path: String,
    /// Topic under which each source's states are published; empty for none.
    pub topic: String,
    /// Sources, those of the configuration included.
    pub sources_max: usize,
}

impl Sources {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements =
        &[("path", Restart), ("topic", Restart), ("sources_max", Restart)];
}

/// An upstream server's event stream. The body of `PUT /sources/{name}` has the same fields.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is called: letters, digits, `-` and `_`.
    #[serde(default)]
    pub name: String,
    /// Where the stream is.
    pub url: StreamUrl,
    /// Where its events go: the first template whose fields an event has.
    #[serde(default = "Source::default_topics")]
    pub topics: Vec<Template>,
    /// Names of events that tell a state: one that waits for a slow stream gives way to the next of its
    /// name and topic. `message` are those without a name.
    #[serde(default)]
    pub conflate: BTreeSet<String>,
    /// Header fields of the request. Their values are secrets.
    #[serde(default)]
    pub headers: BTreeMap<FieldName, FieldValue>,
    /// File of the authorities (PEM) that the server's certificate must come from; empty for those of
    /// the system.
    #[serde(default)]
    pub ca: String,
    /// Longest wait for a connection.
    #[serde(default = "Source::default_connect_timeout")]
    pub connect_timeout: Interval,
    /// Longest silence, before the response's head and then within the stream; 0 for any.
    #[serde(default = "Source::default_stale_timeout")]
    pub stale_timeout: Interval,
    /// Name and data of one event.
    #[serde(default = "Source::default_event_bytes_max")]
    pub event_bytes_max: Bytes,
    /// Delay before the first reconnect, unless the server has said another.
    #[serde(default = "Source::default_retry")]
    pub retry: Interval,
    /// What the delay is multiplied by after each failure.
    #[serde(default = "Source::default_retry_factor")]
    pub retry_factor: f64,
    /// Longest delay.
    #[serde(default = "Source::default_retry_max")]
    pub retry_max: Interval,
    /// Up to how much of the delay is added to it at random.
    #[serde(default = "Source::default_retry_jitter")]
    pub retry_jitter: f64,
    /// Attempts one after the other that may fail; 0 for as many as it takes.
    #[serde(default)]
    pub attempts_max: u32,
}

impl Source {
    /// A source of which nothing else is said.
    pub fn new(name: &str, url: StreamUrl) -> Self {
        Self {
            name: name.into(),
            url,
            topics: Self::default_topics(),
            conflate: BTreeSet::new(),
            headers: BTreeMap::new(),
            ca: String::new(),
            connect_timeout: Self::default_connect_timeout(),
            stale_timeout: Self::default_stale_timeout(),
            event_bytes_max: Self::default_event_bytes_max(),
            retry: Self::default_retry(),
            retry_factor: Self::default_retry_factor(),
            retry_max: Self::default_retry_max(),
            retry_jitter: Self::default_retry_jitter(),
            attempts_max: 0,
        }
    }

    /// The same without its secrets: to be shown.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let hidden = || FieldValue::try_from(REDACTED.to_owned()).expect("three stars are text");
        let headers = self.headers.keys().map(|name| (name.clone(), hidden())).collect();
        Self { headers, url: self.url.without_query(REDACTED), ..self.clone() }
    }

    fn default_topics() -> Vec<Template> {
        vec![Template::try_from("{source}".to_owned()).expect("a field is a template")]
    }

    fn default_connect_timeout() -> Interval {
        Interval(Duration::from_secs(10))
    }

    fn default_stale_timeout() -> Interval {
        Interval(Duration::ZERO)
    }

    fn default_event_bytes_max() -> Bytes {
        Bytes::kib(256)
    }

    fn default_retry() -> Interval {
        Interval(Duration::from_secs(1))
    }

    fn default_retry_factor() -> f64 {
        2.0
    }

    fn default_retry_max() -> Interval {
        Interval(Duration::from_secs(30))
    }

    fn default_retry_jitter() -> f64 {
        0.2
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self { path: String::new(), topic: "tidegate.sources".into(), sources_max: 10_000 }
    }
}
