//! The rules of streams and of their routes.

use std::collections::HashSet;

use super::{
    Broken, ENTRIES_MAX, EVENT_NAME_BYTES_MAX, MILLISECOND, RING_FRAMES_MAX, RING_SLACK, SECOND,
    TOPICS_MAX, hook,
};
use crate::config::schema::{Config, HeartbeatKind, Publish, Stream, StreamRoute};
use crate::config::template::{Overlap, TopicTemplate, UrlTemplate, is_parameter_name};
use crate::config::units::Interval;
use crate::config::web::AllowedOrigin;
use crate::topic::is_token;

/// Most bytes of a heartbeat's data: with its name it has to fit the room that a ring has beside events.
const HEARTBEAT_DATA_BYTES_MAX: usize = 512;

/// Query parameters that mean the same on every route.
const QUERY_PARAMETERS: [&str; 8] = [
    "topic",
    "filter",
    "last_event_id",
    "lastEventId",
    "lastEventID",
    "limit",
    "max_duration",
    "wait",
];

pub(super) fn stream(config: &Config, broken: &mut Broken) {
    let Config { stream, publish, .. } = config;
    broken.at_most("stream.routes", stream.routes.len(), ENTRIES_MAX);
    let mut of_all = Broken(Vec::new());
    settings(stream, publish, &mut of_all);
    broken.0.extend(of_all.0.iter().cloned());
    for (index, route) in stream.routes.iter().enumerate() {
        let place = format!("stream.routes[{index}]");
        let mut of_route = Broken(Vec::new());
        settings(&stream.of_route(route), publish, &mut of_route);
        for violation in of_route.0 {
            // What is as for all streams is told once.
            if !of_all.0.contains(&violation) {
                let message = violation.message.replace("`stream.", &format!("`{place}."));
                broken.add(&["stream.routes"], message);
            }
        }
        for fault in faults_of(route).into_iter().chain(hook::faults_of(route, config)) {
            broken.add(&["stream.routes"], format!("`{place}{fault}"));
        }
        if let Some(name) = control_name_of_snapshot(route, stream) {
            let message = format!(
                "`{place}.snapshot.event` is {name:?}, which is a control event on this route: rename one \
                 of the two"
            );
            broken.add(&["stream.routes"], message);
        }
        for (earlier, other) in stream.routes[..index].iter().enumerate() {
            if route.host == other.host && route.path.compare(&other.path) == Overlap::Ambiguous {
                let (one, two) =
                    (String::from(other.path.clone()), String::from(route.path.clone()));
                let message = format!(
                    "`stream.routes[{earlier}].path` is {one:?} and `{place}.path` is {two:?}: some \
                     paths are both, and neither says more about them; change one of the two"
                );
                broken.add(&["stream.routes"], message);
            }
        }
    }
}

/// The name of a route's snapshot, if it is one of its control events.
fn control_name_of_snapshot<'a>(route: &'a StreamRoute, stream: &Stream) -> Option<&'a str> {
    let name = route.snapshot.as_ref()?.event.as_str();
    let settings = stream.of_route(route);
    settings.control_names().any(|own| own == name).then_some(name)
}

/// The rules of what every route has, its own or that of all streams.
fn settings(stream: &Stream, publish: &Publish, broken: &mut Broken) {
    let heartbeat_min = Interval(std::time::Duration::from_millis(100));
    broken.at_least("stream.heartbeat", stream.heartbeat, heartbeat_min);
    let data = stream.heartbeat_data.len();
    if data > HEARTBEAT_DATA_BYTES_MAX {
        let message = format!(
            "`stream.heartbeat_data` has {data} bytes; it must have at most \
             {HEARTBEAT_DATA_BYTES_MAX}"
        );
        broken.add(&["stream.heartbeat_data"], message);
    }
    broken.at_least("stream.max_lifetime", stream.max_lifetime, SECOND);
    broken.at_least("stream.retry", stream.retry, MILLISECOND);
    broken.within("stream.ring_frames_max", stream.ring_frames_max, 1, RING_FRAMES_MAX);
    broken.within("stream.topics_max", stream.topics_max, 1, TOPICS_MAX);
    broken.at_least("stream.poll_wait", stream.poll_wait, MILLISECOND);
    if stream.poll_wait > stream.poll_wait_max {
        let (wait, max) = (stream.poll_wait, stream.poll_wait_max);
        let message = format!(
            "`stream.poll_wait` is {wait}; it must be at most `stream.poll_wait_max`, which is {max}"
        );
        broken.add(&["stream.poll_wait", "stream.poll_wait_max"], message);
    }
    let (ring, event) = (stream.ring_bytes_max, publish.event_bytes_max);
    if ring.0 < event.0.saturating_add(RING_SLACK.0) {
        broken.add(
            &["stream.ring_bytes_max", "publish.event_bytes_max"],
            format!(
                "`stream.ring_bytes_max` is {ring}; it must be at least `publish.event_bytes_max` \
                 ({event}) plus {RING_SLACK}, so that one event always fits a ring"
            ),
        );
    }
    if stream.cors.credentials && stream.cors.origins.contains(&AllowedOrigin::Any) {
        let message = "`stream.cors.credentials` is true and `stream.cors.origins` has \"*\", so that \
                       any page could read a stream as its visitor: name the origins";
        broken.add(&["stream.cors.credentials", "stream.cors.origins"], message.into());
    }
    control(stream, broken);
}

fn control(stream: &Stream, broken: &mut Broken) {
    let control = &stream.control;
    let is_event = stream.heartbeat_kind == HeartbeatKind::Event;
    let names = [
        ("stream.control.hello", &control.hello, true),
        ("stream.control.heartbeat", &control.heartbeat, is_event),
        ("stream.control.gap", &control.gap, true),
        ("stream.control.end", &control.end, true),
    ];
    if control.gap.is_empty() {
        let message = "`stream.control.gap` is empty; a loss is never silent, so gaps can be renamed \
                       and not switched off";
        broken.add(&["stream.control.gap"], message.into());
    }
    // An empty name is no name; heartbeats of other kinds have no use for theirs.
    for (index, (key, name, in_use)) in names.iter().enumerate() {
        if name.len() > EVENT_NAME_BYTES_MAX {
            let length = name.len();
            let message =
                format!("`{key}` has {length} bytes; it must have at most {EVENT_NAME_BYTES_MAX}");
            broken.add(&[key], message);
        }
        // CR and LF would end the `event:` line; no other control character helps anyone.
        if name.chars().any(char::is_control) {
            let message = format!("`{key}` is {name:?}; it must not have control characters");
            broken.add(&[key], message);
        }
        let twin = names[..index]
            .iter()
            .find(|(_, other, other_in_use)| *in_use && *other_in_use && other == name);
        if let (Some((other, ..)), false) = (twin, name.is_empty()) {
            let message =
                format!("`{key}` and `{other}` are both {name:?}; control names must differ");
            broken.add(&[key, other], message);
        }
    }
}

/// What is wrong with a route's topics and parameters, as the end of a sentence that begins with its
/// place.
fn faults_of(route: &StreamRoute) -> Vec<String> {
    let mut faults = Vec::new();
    match (route.topics.len(), route.topics_from_query) {
        (0, false) => faults.push(
            ".topics` is empty; name what its streams carry, or let clients do so with \
             `topics_from_query = true`"
                .into(),
        ),
        (1.., true) => faults.push(
            ".topics` names topics and `topics_from_query` is true; clients name theirs, or the \
             route does"
                .into(),
        ),
        (count, _) if count > TOPICS_MAX => {
            faults.push(format!(".topics` has {count} entries; it must have at most {TOPICS_MAX}"));
        }
        _ => {}
    }
    let in_path: HashSet<_> = route.path.parameters().collect();
    let in_topics: HashSet<_> = route.topics.iter().flat_map(TopicTemplate::parameters).collect();
    let urls = route.snapshot.iter().map(|snapshot| &snapshot.url);
    let urls = urls.chain(route.auth.iter().map(|auth| &auth.url));
    let in_urls: HashSet<_> = urls.flat_map(UrlTemplate::parameters).collect();
    let mut unknown: Vec<_> = in_topics
        .iter()
        .filter(|name| !in_path.contains(**name) && !route.parameters.contains_key(**name))
        .collect();
    unknown.sort_unstable();
    for name in unknown {
        faults.push(format!(
            ".topics` has {{{name}}}, which is not in the path; if it comes from the query, give it a \
             pattern in `parameters`"
        ));
    }
    for (name, parameter) in &route.parameters {
        let of_query = !in_path.contains(name.as_str());
        let at = format!(".parameters.{name}`");
        if !is_parameter_name(name) {
            faults.push(format!(
                ".parameters` has {name:?}; a name is of letters, digits, `_` and `-`"
            ));
        } else if of_query && QUERY_PARAMETERS.contains(&name.as_str()) {
            faults.push(format!(
                "{at} has a name that means the same on every route; choose another"
            ));
        } else if of_query && !in_topics.contains(name.as_str()) && !in_urls.contains(name.as_str())
        {
            faults.push(format!("{at} is in neither the path nor the topics: use it or remove it"));
        }
        match &parameter.default {
            Some(_) if !of_query => {
                faults
                    .push(format!("{at} has a default, and a part of the path is never left out"));
            }
            Some(default) if !is_token(default) || !parameter.pattern.matches(default) => {
                faults.push(format!(
                    "{at} has {default:?} as its default, which no client could send; give it one \
                     that matches its pattern and is one token of a topic"
                ));
            }
            _ => {}
        }
    }
    faults
}
