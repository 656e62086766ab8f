//! `GET /events?topic=…`: from the head of a stream route's request to a [`Subscription`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, VARY};
use http::request::Parts;

use super::accept::{Form, form};
use super::routes::RouteId;
use crate::access::Access;
use crate::config::schema::Stream;
use crate::config::units::Interval;
use crate::event::EventNames;
use crate::hook::{Grant, Snapshot};
use crate::interest::Interest;
use crate::media::accepts_gzip;
use crate::query;
use crate::sse::{Cursor, LAST_EVENT_ID};
use crate::topic::{Filter, TOPIC_BYTES_MAX, TopicError};

/// A valid wish for a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose settings the stream has.
    pub route: RouteId,
    /// Topics and patterns: sorted, each once, at least one. Two streams with equal filters are
    /// written the same bytes.
    pub filters: Box<[Filter]>,
    /// Of what goes to these, events with these names.
    pub names: EventNames,
    /// What the client has already.
    pub cursor: Cursor,
    /// End after this many events.
    pub limit: Option<u32>,
    /// End after this time.
    pub max_duration: Option<Duration>,
    /// Be a long poll: answered once, with what there is after this time at the latest.
    pub poll: Option<Duration>,
    /// Be compressed.
    pub gzip: bool,
    /// Header fields of the response beside those of every stream.
    pub fields: HeaderMap,
    /// How the stream begins.
    pub opening: Opening,
    /// What the app server said that the client may have, if it was asked.
    pub grant: Option<Arc<Grant>>,
    /// Held for as long as the stream is there, by a stream of events that are fetched for it.
    pub interest: Option<Interest>,
    /// For its lines in the access log, if it has any.
    pub access: Option<Box<Access>>,
}

/// How a stream begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// With what the client has missed, or live.
    #[default]
    Plain,
    /// With what the app server said.
    Snapshot(Arc<Snapshot>),
    /// The client is told to come back, and the stream ends.
    ComeBack,
}

/// Why a request is not a subscription. All of them are the client's to mend; none is worth a
/// retry as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The client accepts nothing that a stream is.
    NotAcceptable,
    /// No `topic` parameter.
    NoTopic {
        /// The route's path.
        path: Box<str>,
    },
    /// More `topic` parameters than one stream may name.
    TooManyTopics {
        /// How many it may name.
        max: usize,
    },
    /// A `topic` parameter, or what a route makes of its parameters, is neither a topic nor a pattern.
    Topic(TopicError),
    /// A parameter of the route is not what it may be.
    Parameter {
        /// The parameter's name.
        name: Box<str>,
        /// What is wrong with it.
        fault: ParameterFault,
    },
    /// A parameter is not UTF-8 after percent-decoding.
    NotUtf8 {
        /// The parameter's name.
        parameter: &'static str,
    },
    /// `limit` is not a number of events.
    Limit,
    /// `max_duration` is not a length of time.
    MaxDuration,
    /// `wait` is not a length of time.
    Wait,
    /// `filter` is not names of events.
    Filter,
}

/// What is wrong with a parameter of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterFault {
    /// It is not there, and has to match this.
    Missing(Box<str>),
    /// It is there more than once.
    Repeated,
    /// It is not UTF-8 after percent-decoding.
    NotUtf8,
    /// It is longer than a topic may be.
    TooLong,
    /// It does not match this.
    Pattern(Box<str>),
    /// It matches, and would be more than one token of a topic.
    NotAToken,
}

impl fmt::Display for ParameterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(pattern) => {
                write!(f, "the parameter is missing; its value has to match {pattern}")
            }
            Self::Repeated => write!(f, "the parameter is there more than once"),
            Self::NotUtf8 => write!(f, "the value is not UTF-8"),
            Self::TooLong => write!(f, "the value has at most {TOPIC_BYTES_MAX} bytes"),
            Self::Pattern(pattern) => write!(f, "the value has to match {pattern}"),
            Self::NotAToken => write!(
                f,
                "the value is part of a topic's name: it is not empty and has no `.`, `*`, `>`, \
                 spaces, control, bidi or zero-width characters"
            ),
        }
    }
}

impl SubscribeError {
    /// The header, query parameter or part of the path that is wrong.
    pub fn field(&self) -> &str {
        match self {
            Self::NotAcceptable => "accept",
            Self::Parameter { name, .. } => name,
            Self::NoTopic { .. } | Self::TooManyTopics { .. } | Self::Topic(_) => "topic",
            Self::NotUtf8 { parameter } => parameter,
            Self::Limit => "limit",
            Self::MaxDuration => "max_duration",
            Self::Wait => "wait",
            Self::Filter => "filter",
        }
    }
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAcceptable => {
                write!(
                    f,
                    "a stream is text/event-stream, or application/json for a long poll, and the \
                     request accepts neither"
                )
            }
            Self::NoTopic { path } => {
                write!(f, "name at least one topic: {path}?topic=board.42")
            }
            Self::TooManyTopics { max } => write!(f, "one stream may name at most {max} topics"),
            Self::Topic(error) => error.fmt(f),
            Self::Parameter { fault, .. } => fault.fmt(f),
            Self::NotUtf8 { .. } => write!(f, "the value is not UTF-8"),
            Self::Limit => write!(f, "limit is a number of events, 1 or more"),
            Self::MaxDuration => {
                write!(f, "max_duration is a length of time of 100 ms or more, such as 30s")
            }
            Self::Wait => write!(f, "wait is a length of time, such as 25s"),
            Self::Filter => write!(
                f,
                "filter names up to {FILTER_NAMES_MAX} events, each with 1 to {FILTER_NAME_BYTES_MAX} \
                 bytes and no control characters: filter=task.created,task.deleted"
            ),
        }
    }
}

impl std::error::Error for SubscribeError {}

/// Names that one subscription may be limited to. Worst case: this times [`FILTER_NAME_BYTES_MAX`] an audience.
const FILTER_NAMES_MAX: usize = 64;

/// Longest name of an event, in bytes.
const FILTER_NAME_BYTES_MAX: usize = 256;

/// Shortest `max_duration`: below the resolution of a shard's timers it would mean nothing.
const DURATION_MIN: Duration = Duration::from_millis(100);

/// Reads the topics that a client names itself on a route at `path`.
pub(super) fn topics_of(
    query: &str,
    topics_max: usize,
    path: &str,
) -> Result<Vec<Filter>, SubscribeError> {
    let mut filters = Vec::new();
    for (_, value) in query::pairs(query).filter(|(name, _)| **name == *b"topic") {
        let text = utf8(&value, "topic")?;
        filters.push(Filter::parse(text).map_err(SubscribeError::Topic)?);
        if filters.len() > topics_max {
            return Err(SubscribeError::TooManyTopics { max: topics_max });
        }
    }
    if filters.is_empty() {
        return Err(SubscribeError::NoTopic { path: path.into() });
    }
    Ok(filters)
}

/// Reads a subscription to `filters`, with these settings, from a request's head. Unknown parameters are left alone, since
/// clients add their own (cache busters, polyfills).
pub(super) fn parse(
    route: RouteId,
    settings: &Stream,
    mut filters: Vec<Filter>,
    head: &Parts,
    mut fields: HeaderMap,
) -> Result<Subscription, SubscribeError> {
    let form = form(&head.headers).ok_or(SubscribeError::NotAcceptable)?;
    let mut wait = settings.poll_wait.0;
    let mut cursor = Cursor::Live;
    let mut limit = None;
    let mut max_duration = None;
    let mut names = Vec::new();
    for (name, value) in query::pairs(head.uri.query().unwrap_or_default()) {
        match &*name {
            b"last_event_id" | b"lastEventId" | b"lastEventID" => cursor = Cursor::parse(&value),
            b"filter" => add_names(&value, &mut names)?,
            b"limit" => limit = Some(parse_limit(&value)?),
            b"max_duration" => max_duration = Some(parse_duration(&value)?),
            b"wait" => wait = parse_wait(&value)?.min(settings.poll_wait_max.0),
            _ => {}
        }
    }
    filters.sort_unstable();
    filters.dedup();
    // A header is what a reconnecting client sends by itself; the query's value may be as old as
    // the page.
    if let Some(header) = cursor_of(&head.headers) {
        cursor = header;
    }
    let poll = (form == Form::Poll).then_some(wait);
    let may_be_compressed = settings.compress && form == Form::Stream;
    let gzip = may_be_compressed && accepts_gzip(&head.headers);
    if may_be_compressed {
        fields.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
    if gzip {
        fields.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(Subscription {
        route,
        filters: filters.into(),
        names: if names.is_empty() { EventNames::default() } else { EventNames::only(names) },
        cursor,
        limit,
        max_duration,
        poll,
        gzip,
        fields,
        opening: Opening::Plain,
        grant: None,
        interest: None,
        access: None,
    })
}

/// The cursor that a reconnecting client sends by itself.
pub(super) fn cursor_of(headers: &HeaderMap) -> Option<Cursor> {
    let header = headers.get(LAST_EVENT_ID).filter(|header| !header.is_empty());
    header.map(|header| Cursor::parse(header.as_bytes()))
}

fn utf8<'a>(value: &'a [u8], parameter: &'static str) -> Result<&'a str, SubscribeError> {
    std::str::from_utf8(value).map_err(|_| SubscribeError::NotUtf8 { parameter })
}

fn add_names(value: &[u8], names: &mut Vec<Box<str>>) -> Result<(), SubscribeError> {
    for name in utf8(value, "filter")?.split(',') {
        let is_name = (1..=FILTER_NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(char::is_control)
            && names.len() < FILTER_NAMES_MAX;
        if !is_name {
            return Err(SubscribeError::Filter);
        }
        names.push(name.into());
    }
    Ok(())
}

fn parse_limit(value: &[u8]) -> Result<u32, SubscribeError> {
    let text = utf8(value, "limit")?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SubscribeError::Limit);
    }
    text.parse().ok().filter(|&limit| limit > 0).ok_or(SubscribeError::Limit)
}

fn parse_duration(value: &[u8]) -> Result<Duration, SubscribeError> {
    utf8(value, "max_duration")?
        .parse::<Interval>()
        .ok()
        .map(|interval| interval.0)
        .filter(|&duration| duration >= DURATION_MIN)
        .ok_or(SubscribeError::MaxDuration)
}

fn parse_wait(value: &[u8]) -> Result<Duration, SubscribeError> {
    let wait = utf8(value, "wait")?.parse::<Interval>();
    wait.map(|wait| wait.0).map_err(|_| SubscribeError::Wait)
}

#[cfg(test)]
mod tests {
    //! Requests that are subscriptions, and each way in which one is not.

    use http::Request;
    use proptest::prelude::*;

    use super::*;
    use crate::sse::{Epoch, EventId};

    fn parse_uri(uri: &str) -> Result<Subscription, SubscribeError> {
        parse_with(uri, &[])
    }

    fn parse_with(uri: &str, headers: &[(&str, &str)]) -> Result<Subscription, SubscribeError> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        parse_head(&head)
    }

    fn parse_head(head: &Parts) -> Result<Subscription, SubscribeError> {
        let filters = topics_of(head.uri.query().unwrap_or_default(), 4, head.uri.path())?;
        parse(RouteId::default(), &Stream::default(), filters, head, HeaderMap::new())
    }

    #[test]
    fn filters_are_sorted_and_counted_once() {
        let one = parse_uri("/events?topic=b&topic=a.*&topic=b").unwrap();
        let other = parse_uri("/events?topic=a.%2A&topic=%62").unwrap();
        assert_eq!(one.filters, other.filters);
        assert_eq!(one.filters.len(), 2);
    }

    #[test]
    fn f44_the_number_of_topics_is_capped() {
        let query: String = (0..100_000).map(|topic| format!("topic=t{topic}&")).collect();
        let request = Request::builder().uri("/events").body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        head.uri = format!("/events?{}", &query[..60_000]).parse().unwrap();
        assert_eq!(parse_head(&head), Err(SubscribeError::TooManyTopics { max: 4 }));
        assert!(parse_uri("/events?topic=1&topic=2&topic=3&topic=4").is_ok());
    }

    #[test]
    fn bad_parameters_are_named() {
        for (uri, field) in [
            ("/events", "topic"),
            ("/events?topic=", "topic"),
            ("/events?topics=a", "topic"),
            ("/events?topic=%ff", "topic"),
            ("/events?topic=a%00b", "topic"),
            ("/events?topic=a.%3E.b", "topic"),
            ("/events?topic=a&limit=0", "limit"),
            ("/events?topic=a&limit=-1", "limit"),
            ("/events?topic=a&limit=+1", "limit"),
            ("/events?topic=a&limit=99999999999", "limit"),
            ("/events?topic=a&max_duration=soon", "max_duration"),
            ("/events?topic=a&max_duration=1ms", "max_duration"),
            ("/events?topic=a&wait=long", "wait"),
            ("/events?topic=a&wait=-1s", "wait"),
            ("/events?topic=a&filter=", "filter"),
            ("/events?topic=a&filter=a,,b", "filter"),
            ("/events?topic=a&filter=a%0ab", "filter"),
            ("/events?topic=a&filter=%ff", "filter"),
            ("/events?topic=a&max_duration=18446744073709552s", "max_duration"),
            ("/events?topic=a&max_duration=18446744073709551615s%20500ms%20500ms", "max_duration"),
        ] {
            assert_eq!(parse_uri(uri).expect_err(uri).field(), field, "{uri}");
        }
    }

    #[test]
    fn the_cursor_header_beats_the_query() {
        let id = |seq| Cursor::At(EventId { epoch: Epoch::new(0), seq });
        for name in ["last_event_id", "lastEventId", "lastEventID"] {
            let uri = format!("/events?topic=a&{name}=000000000000-3");
            assert_eq!(parse_uri(&uri).unwrap().cursor, id(3));
            let header = [("Last-Event-ID", "000000000000-4")];
            assert_eq!(parse_with(&uri, &header).unwrap().cursor, id(4));
        }
        assert_eq!(parse_uri("/events?topic=a").unwrap().cursor, Cursor::Live);
    }

    #[test]
    fn a_poll_waits_as_long_as_it_asks_and_may() {
        let json = ("accept", "application/json");
        let wait =
            |query: &str| parse_with(&format!("/events?topic=a{query}"), &[json]).unwrap().poll;
        assert_eq!(wait(""), Some(Duration::from_secs(25)));
        assert_eq!(wait("&wait=0s"), Some(Duration::ZERO));
        assert_eq!(wait("&wait=1500ms"), Some(Duration::from_millis(1500)));
        assert_eq!(wait("&wait=1h"), Some(Duration::from_secs(60)));
        assert_eq!(parse_uri("/events?topic=a&wait=1s").unwrap().poll, None);
        let html = parse_with("/events?topic=a", &[("accept", "text/html")]);
        assert_eq!(html, Err(SubscribeError::NotAcceptable));
    }

    #[test]
    fn f44_names_of_a_filter_are_sorted_and_bounded() {
        let names =
            |query: &str| parse_uri(&format!("/events?topic=a{query}")).map(|asked| asked.names);
        assert_eq!(names("").unwrap(), EventNames::default());
        assert_eq!(names("&filter=b,a&filter=b"), names("&filter=a&filter=b"));
        assert!(names("&filter=a").unwrap().are_limited());
        let many = "x,".repeat(FILTER_NAMES_MAX - 1);
        assert!(names(&format!("&filter={many}x")).is_ok());
        assert_eq!(names(&format!("&filter={many}x,x")), Err(SubscribeError::Filter));
        assert!(names(&format!("&filter={}", "n".repeat(256))).is_ok());
        assert_eq!(names(&format!("&filter={}", "n".repeat(257))), Err(SubscribeError::Filter));
    }

    #[test]
    fn limits_are_read() {
        let stream = parse_uri("/events?topic=a&limit=5&max_duration=30s").unwrap();
        assert_eq!(stream.limit, Some(5));
        assert_eq!(stream.max_duration, Some(Duration::from_secs(30)));
    }

    proptest! {
        #[test]
        fn arbitrary_queries_never_panic(query in "[ -~]{0,200}") {
            for (name, value) in query::pairs(&query) {
                let _ = (parse_limit(&value), parse_duration(&value), name);
            }
        }
    }
}
