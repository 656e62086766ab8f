//! The keys of streams: what holds for all of them, and the routes on which some of it differs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hook::{ForwardAuth, Snapshot};
use crate::config::reload::Applies::{Requests, Streams};
use crate::config::reload::Statements;
use crate::config::template::{PathTemplate, Pattern, TopicTemplate};
use crate::config::units::{Bytes, Interval};
use crate::config::web::{AllowedOrigin, HostPattern};

/// Path of the route that is there when none are given.
const EVENTS: &str = "/events";

/// What a subscriber's stream looks like and how much of it may wait.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stream {
    /// Longest silence on a stream before a heartbeat.
    pub heartbeat: Interval,
    /// Whether there are heartbeats, and whether JavaScript can see them.
    pub heartbeat_kind: HeartbeatKind,
    /// Data of a heartbeat of kind `event`.
    pub heartbeat_data: String,
    /// Cap on a stream's life; each stream draws its own from 80 to 100 % of it.
    pub max_lifetime: Interval,
    /// Reconnect delay told to clients; each stream is told 50 to 150 % of it.
    pub retry: Interval,
    /// Events that may wait for one stream.
    pub ring_frames_max: usize,
    /// Bytes that may wait for one stream.
    pub ring_bytes_max: Bytes,
    /// What becomes of a stream that has more waiting than that.
    pub slow: Slow,
    /// Topics and patterns one stream may name.
    pub topics_max: usize,
    /// How long a long poll waits that does not say.
    pub poll_wait: Interval,
    /// How long a long poll waits at most.
    pub poll_wait_max: Interval,
    /// Whether a client that comes back with a cursor is sent what it has missed.
    pub resume: bool,
    /// Whether what is published to `*` reaches the stream.
    pub broadcast: bool,
    /// Whether the stream tells the topic of each event.
    pub topic_field: TopicField,
    /// Whether streams are compressed for clients that accept it.
    pub compress: bool,
    /// Paths of streams; without any, `/events` with the client's own topics.
    pub routes: Vec<StreamRoute>,
    /// Pages of other origins.
    pub cors: Cors,
    /// Names of the control events.
    pub control: Control,
}

impl Stream {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements = &[
        ("heartbeat", Streams),
        ("heartbeat_kind", Streams),
        ("heartbeat_data", Streams),
        ("max_lifetime", Streams),
        ("retry", Streams),
        ("ring_frames_max", Streams),
        ("ring_bytes_max", Streams),
        ("slow", Streams),
        ("topics_max", Streams),
        ("poll_wait", Streams),
        ("poll_wait_max", Streams),
        ("resume", Streams),
        ("broadcast", Streams),
        ("topic_field", Streams),
        ("compress", Streams),
        ("routes", Streams),
    ];
}

/// Names of the control events; an empty name switches the event off. A name in use is reserved:
/// publishing under it is refused.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// First event of every stream.
    pub hello: String,
    /// Heartbeat of kind `event`; empty for an event without a name.
    pub heartbeat: String,
    /// Events were lost to this stream; never empty.
    pub gap: String,
    /// Last event of a stream the gateway ends.
    pub end: String,
}

impl Control {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements =
        &[("hello", Streams), ("heartbeat", Streams), ("gap", Streams), ("end", Streams)];
}

/// How a heartbeat is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeartbeatKind {
    /// An SSE comment: keeps proxies awake, invisible to JavaScript.
    Comment,
    /// An event: clients can watch for its absence.
    Event,
    /// Not at all.
    Off,
}

/// Whether a stream tells the topic of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicField {
    /// In an SSE comment in front of it.
    Comment,
    /// Nowhere.
    None,
}

/// What becomes of a stream that has more waiting than its ring holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slow {
    /// The oldest goes, and the client is told of the gap.
    DropOldest,
    /// The stream reads on from the history: nothing is lost that is still kept there.
    CatchUp,
    /// The stream is closed; its client comes back with its cursor.
    Disconnect,
}

/// Pages of other origins that may read streams.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Their origins; none for pages of the gateway's own origin only.
    pub origins: Vec<AllowedOrigin>,
    /// Whether they may send cookies.
    pub credentials: bool,
}

impl Cors {
    /// When a change of each key counts.
    pub(in crate::config) const APPLIES: Statements =
        &[("origins", Requests), ("credentials", Requests)];
}

/// A path that streams are at, and what they carry. What is left out is as in [`Stream`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StreamRoute {
    /// A host name, or `*.` and the end of one; empty for any.
    #[serde(default)]
    pub host: HostPattern,
    /// The path, with its parameters.
    pub path: PathTemplate,
    /// Topics and patterns, with the parameters' values in them.
    #[serde(default)]
    pub topics: Vec<TopicTemplate>,
    /// Whether clients name their topics themselves.
    #[serde(default)]
    pub topics_from_query: bool,
    /// See [`Stream::heartbeat`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Interval>,
    /// See [`Stream::heartbeat_kind`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_kind: Option<HeartbeatKind>,
    /// See [`Stream::heartbeat_data`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_data: Option<String>,
    /// See [`Stream::max_lifetime`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Interval>,
    /// See [`Stream::retry`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Interval>,
    /// See [`Stream::ring_frames_max`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_frames_max: Option<usize>,
    /// See [`Stream::ring_bytes_max`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_bytes_max: Option<Bytes>,
    /// See [`Stream::slow`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// See [`Stream::topics_max`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics_max: Option<usize>,
    /// See [`Stream::resume`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<bool>,
    /// See [`Stream::broadcast`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<bool>,
    /// See [`Stream::topic_field`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_field: Option<TopicField>,
    /// See [`Stream::compress`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress: Option<bool>,
    /// Takes the place of [`Stream::cors`] as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Those of the names in [`Stream::control`] that differ.
    #[serde(default)]
    pub control: ControlChanges,
    /// What the parameters may be; those that are not in the path come from the query.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Who may have the streams, which an app server decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<ForwardAuth>,
    /// First events, which an app server has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// The names of control events that a route changes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlChanges {
    /// See [`Control::hello`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// See [`Control::heartbeat`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
    /// See [`Control::gap`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
    /// See [`Control::end`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

/// What a parameter may be: `"[0-9]+"`, or with a value for who leaves it out,
/// `{ pattern = "[0-9]+", default = "0" }`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "WrittenParameter", into = "WrittenParameter")]
pub struct Parameter {
    /// What a value has to match.
    pub pattern: Pattern,
    /// The value of a parameter that is left out; without one, it must be there.
    pub default: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected parameters like \"[0-9]+\" or { pattern = \"[0-9]+\", default = \"0\" }"
)]
enum WrittenParameter {
    Pattern(String),
    WithDefault { pattern: String, default: String },
}

impl TryFrom<WrittenParameter> for Parameter {
    type Error = String;

    fn try_from(written: WrittenParameter) -> Result<Self, String> {
        let (pattern, default) = match written {
            WrittenParameter::Pattern(pattern) => (pattern, None),
            WrittenParameter::WithDefault { pattern, default } => (pattern, Some(default)),
        };
        Ok(Self { pattern: pattern.try_into()?, default })
    }
}

impl From<Parameter> for WrittenParameter {
    fn from(Parameter { pattern, default }: Parameter) -> Self {
        match default {
            None => Self::Pattern(pattern.into()),
            Some(default) => Self::WithDefault { pattern: pattern.into(), default },
        }
    }
}

impl Stream {
    /// The names that control events have on these streams: nobody else's events can have them.
    pub fn control_names(&self) -> impl Iterator<Item = &str> {
        let control = &self.control;
        let is_event = self.heartbeat_kind == HeartbeatKind::Event;
        let heartbeat = is_event.then_some(&control.heartbeat);
        let names = [Some(&control.hello), heartbeat, Some(&control.gap), Some(&control.end)];
        names.into_iter().flatten().map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The settings of a route: these, but for what it changes. They have no routes.
    pub fn of_route(&self, route: &StreamRoute) -> Self {
        let own = &route.control;
        let name = |own: &Option<String>, shared: &String| own.as_ref().unwrap_or(shared).clone();
        Self {
            heartbeat: route.heartbeat.unwrap_or(self.heartbeat),
            heartbeat_kind: route.heartbeat_kind.unwrap_or(self.heartbeat_kind),
            heartbeat_data: name(&route.heartbeat_data, &self.heartbeat_data),
            max_lifetime: route.max_lifetime.unwrap_or(self.max_lifetime),
            retry: route.retry.unwrap_or(self.retry),
            ring_frames_max: route.ring_frames_max.unwrap_or(self.ring_frames_max),
            ring_bytes_max: route.ring_bytes_max.unwrap_or(self.ring_bytes_max),
            slow: route.slow.unwrap_or(self.slow),
            topics_max: route.topics_max.unwrap_or(self.topics_max),
            poll_wait: self.poll_wait,
            poll_wait_max: self.poll_wait_max,
            resume: route.resume.unwrap_or(self.resume),
            broadcast: route.broadcast.unwrap_or(self.broadcast),
            topic_field: route.topic_field.unwrap_or(self.topic_field),
            compress: route.compress.unwrap_or(self.compress),
            routes: Vec::new(),
            cors: route.cors.as_ref().unwrap_or(&self.cors).clone(),
            control: Control {
                hello: name(&own.hello, &self.control.hello),
                heartbeat: name(&own.heartbeat, &self.control.heartbeat),
                gap: name(&own.gap, &self.control.gap),
                end: name(&own.end, &self.control.end),
            },
        }
    }
}

impl StreamRoute {
    /// A route whose clients name their topics themselves, with the settings of all streams.
    pub fn open(path: PathTemplate) -> Self {
        Self {
            host: HostPattern::Any,
            path,
            topics: Vec::new(),
            topics_from_query: true,
            heartbeat: None,
            heartbeat_kind: None,
            heartbeat_data: None,
            max_lifetime: None,
            retry: None,
            ring_frames_max: None,
            ring_bytes_max: None,
            slow: None,
            topics_max: None,
            resume: None,
            broadcast: None,
            topic_field: None,
            compress: None,
            cors: None,
            control: ControlChanges::default(),
            parameters: BTreeMap::new(),
            auth: None,
            snapshot: None,
        }
    }

    /// The route that is there when none are given: `/events`.
    pub fn events() -> Self {
        Self::open(EVENTS.to_owned().try_into().expect("the constant is a path"))
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            heartbeat: Interval(Duration::from_secs(15)),
            heartbeat_kind: HeartbeatKind::Comment,
            heartbeat_data: "{}".into(),
            max_lifetime: Interval(Duration::from_secs(3600)),
            retry: Interval(Duration::from_secs(2)),
            ring_frames_max: 256,
            ring_bytes_max: Bytes::mib(1),
            slow: Slow::DropOldest,
            topics_max: 128,
            poll_wait: Interval(Duration::from_secs(25)),
            poll_wait_max: Interval(Duration::from_secs(60)),
            resume: true,
            broadcast: true,
            topic_field: TopicField::None,
            compress: false,
            routes: Vec::new(),
            cors: Cors::default(),
            control: Control::default(),
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self {
            hello: "hello".into(),
            heartbeat: "heartbeat".into(),
            gap: "gap".into(),
            end: "end".into(),
        }
    }
}
