//! Memory: of the process, and of the kernel for its sockets. What has a budget of its own is counted once;
//! what each client may hold is counted for as many clients as there are places.

use super::measured::{
    COMPRESSOR_BYTES, FILTER_BYTES, HTTP1_BYTES, HTTP2_BYTES, KEY_BYTES, PATTERN_BYTES, POLL_BYTES,
    PROCESS_BYTES, REPLAY_BYTES, REQUEST_BYTES, RESPONSE_BYTES, RING_BYTES, SET_BYTES, SHARD_BYTES,
    SOCKET_BYTES, SOURCE_BYTES, TCP_WMEM_MAX, TLS_BYTES, TOPIC_BYTES, UNSENT_BYTES,
};
use super::table::{Amount, Row, Section};
use super::wire::Wire;
use super::{Case, Protocol, routes, upstreams};
use crate::config::schema::{Source, Store, Stream, StreamRoute};
use crate::event::Destination;
use crate::history::kept_bytes;
use crate::hub::KEY_BYTES_MAX;

/// A topic, as long as many.
pub(super) const TOPIC_NAME: &str = "board.42.status";
const TOPIC_NAME_BYTES: f64 = TOPIC_NAME.len() as f64;
/// An idempotency key that is a UUID.
const UUID_BYTES: f64 = 36.0;
/// A place of a queue: a pointer and a stamp.
const SLOT_BYTES: f64 = 16.0;
/// A newline of a body becomes seven bytes of a frame, and both are there for a moment.
const BODY_GROWTH: f64 = 8.0;

/// Memory of the process.
pub(super) fn of_process(case: &Case<'_>, wire: &Wire) -> Section {
    let mut rows = budgets(case, wire);
    let each = per_place(case, wire);
    let largest = each.iter().filter_map(|row| row.at_most).reduce(Amount::larger);
    let sum = |amounts: Vec<Option<Amount>>| {
        amounts.into_iter().flatten().reduce(|a, b| a + b).unwrap_or(Amount::bytes(0.0))
    };
    let expected = sum(rows.iter().chain(&each).map(|row| row.expected).collect());
    let mut at_most = sum(rows.iter().map(|row| row.at_most).chain([largest]).collect());
    if routes(case.config).iter().any(|route| case.config.stream.of_route(route).compress) {
        // What is kept and what waits, again in its compressed form.
        let kept: Vec<_> = rows.iter().filter(|row| KEPT.contains(&row.id)).collect();
        let again = sum(kept.iter().map(|row| row.at_most).collect());
        let compressors = Amount::about_bytes(case.shards * COMPRESSOR_BYTES);
        let row = Row::new("compressed", "compressed forms of what is kept")
            .expected(compressors)
            .at_most(again + compressors)
            .by("stream.compress");
        at_most = at_most + again + compressors;
        rows.push(row);
    }
    rows.extend(each);
    rows.push(
        Row::new("total", "all, with the largest of what clients may hold")
            .expected(expected)
            .at_most(at_most),
    );
    Section { id: "memory", title: "MEMORY", rows }
}

/// Rows of events that also have a compressed form.
const KEPT: [&str; 3] = ["history", "retained", "mailboxes"];

/// What is bounded as a whole.
fn budgets(case: &Case<'_>, wire: &Wire) -> Vec<Row> {
    let config = case.config;
    let history = &config.history;
    let mailbox = &config.mailbox;
    let process = Amount::about_bytes(PROCESS_BYTES + case.shards * SHARD_BYTES);
    let queues = case.shards * mailbox.events_max as f64 * SLOT_BYTES;
    let keys = |bytes: f64| Amount::about_bytes(KEY_BYTES + bytes);
    let keys_max = config.publish.idempotency_keys_max as f64;
    let window = config.publish.idempotency_window.0.as_secs_f64();
    let keys_expected = match case.load.has_keys {
        true => (case.published_per_second() * window).min(keys_max),
        false => 0.0,
    };
    let publishers = f64::from(case.load.publishers);
    let body = config.publish.body_bytes_max.0 as f64;
    let mut rows = vec![
        Row::new("process", "the process and its shards").expected(process).at_most(process),
        Row::new("history", "the past of all topics")
            .expected(Amount::about_bytes(history_bytes(case, wire)))
            .at_most(Amount::bytes(history.total_bytes_max.0 as f64))
            .by("history.total_bytes_max"),
        Row::new("retained", "retained values")
            .expected(Amount::bytes(0.0))
            .at_most(Amount::bytes(history.retained_bytes_max.0 as f64))
            .by("history.retained_bytes_max"),
        Row::new("mailboxes", "mailboxes of the shards")
            .expected(Amount::bytes(queues))
            .at_most(Amount::bytes(queues + case.shards * mailbox.bytes_max.0 as f64))
            .by("mailbox.bytes_max, server.shards"),
        Row::new("keys", "idempotency keys")
            .expected(keys(UUID_BYTES).times(keys_expected))
            .at_most(keys(KEY_BYTES_MAX as f64).times(keys_max))
            .by("publish.idempotency_keys_max"),
        Row::new("publishers", "requests of publishers")
            .expected(Amount::bytes(0.0))
            .at_most(Amount::bytes(publishers * body * BODY_GROWTH))
            .by("publish.body_bytes_max"),
        Row::new("replays", "streams that are told of the past")
            .expected(Amount::bytes(0.0))
            .at_most(Amount::about_bytes(case.shards * history.replays_max as f64 * REPLAY_BYTES))
            .by("history.replays_max"),
    ];
    rows.extend(of_some_configurations(case));
    rows
}

/// What only some configurations have.
fn of_some_configurations(case: &Case<'_>) -> Vec<Row> {
    let config = case.config;
    let mut rows = Vec::new();
    if config.history.store == Store::Disk {
        rows.push(
            Row::new("log", "the event log, while it is opened")
                .expected(Amount::bytes(0.0))
                .at_most(Amount::bytes(config.history.log_segment_bytes.0 as f64))
                .by("history.log_segment_bytes"),
        );
    }
    if routes(config).iter().any(|route| route.auth.is_some() || route.snapshot.is_some()) {
        let hooks = &config.hooks;
        let answer = routes(config).iter().map(snapshot_bytes).fold(REQUEST_BYTES, f64::max);
        let most = 2.0 * hooks.cache_bytes_max.0 as f64
            + hooks.fetches_max as f64 * answer
            + hooks.waiting_max as f64 * REQUEST_BYTES;
        rows.push(
            Row::new("hooks", "answers of app servers and who waits for them")
                .expected(Amount::bytes(0.0))
                .at_most(Amount::about_bytes(most))
                .by("hooks.cache_bytes_max, .fetches_max, .waiting_max"),
        );
    }
    let patterns: usize = routes(config).iter().map(|route| route.parameters.len()).sum();
    if patterns > 0 {
        rows.push(
            Row::new("patterns", "patterns of the routes' parameters")
                .expected(Amount::bytes(0.0))
                .at_most(Amount::about_bytes(patterns as f64 * PATTERN_BYTES))
                .by("stream.routes"),
        );
    }
    if !config.source.is_empty() {
        let events = |source: &Source| 3.0 * source.event_bytes_max.0 as f64;
        let most: f64 = config.source.iter().map(|source| SOURCE_BYTES + events(source)).sum();
        rows.push(
            Row::new("sources", "configured sources")
                .expected(Amount::about_bytes(config.source.len() as f64 * SOURCE_BYTES))
                .at_most(Amount::about_bytes(most))
                .by("source"),
        );
    }
    let groups = upstreams(config);
    let idle: usize = groups.iter().map(|group| group.servers.len() * group.idle_max).sum();
    if idle > 0 {
        rows.push(
            Row::new("links", "unused connections to app servers")
                .expected(Amount::bytes(0.0))
                .at_most(Amount::about_bytes(case.shards * idle as f64 * REQUEST_BYTES))
                .by("proxy.upstreams (idle_max)"),
        );
    }
    rows
}

/// What the history has of this load, once it has run for long.
fn history_bytes(case: &Case<'_>, wire: &Wire) -> f64 {
    let history = &case.config.history;
    let topic = events_kept(case) * event_bytes(wire);
    let topics = (case.load.topics as f64).min(history.topics_max as f64);
    let all = topics * (topic.min(history.bytes_max.0 as f64) + TOPIC_BYTES + TOPIC_NAME_BYTES);
    all.min(history.total_bytes_max.0 as f64)
}

/// What the process grows by for an event, wherever it is.
fn event_bytes(wire: &Wire) -> f64 {
    kept_bytes(&wire.chunk, &Destination::Everyone) as f64 + TOPIC_NAME_BYTES
}

/// Events of one topic that there is room and time for, bytes aside.
pub(super) fn events_kept(case: &Case<'_>) -> f64 {
    let history = &case.config.history;
    let lived = case.load.events_per_second * history.age_max.0.as_secs_f64();
    lived.min(history.events_max as f64)
}

/// What clients hold: a row for each thing that one of them can be, times the places there are.
fn per_place(case: &Case<'_>, wire: &Wire) -> Vec<Row> {
    let config = case.config;
    let all = |bytes: f64| case.places * bytes;
    // Requests of one connection at a time.
    let requests = match case.load.protocol {
        Protocol::H1 | Protocol::Tls => 1.0,
        Protocol::H2 => f64::from(config.server.http2_streams_max),
    };
    let streams = case.streams();
    let cost = case.cost([HTTP1_BYTES, TLS_BYTES, HTTP2_BYTES]);
    let stream = cost.of_stream(case.streams_per_connection());
    let sets = streams.min(case.shards * case.load.topics as f64);
    let most = routes(config).iter().map(|route| stream_bytes_max(case, route)).fold(0.0, f64::max);
    let ring = routes(config)
        .iter()
        .map(|route| ring_bytes_max(case, &config.stream.of_route(route)))
        .fold(0.0, f64::max);
    let snapshot = routes(config).iter().map(snapshot_bytes).fold(0.0, f64::max);
    let retained = config.history.retained_bytes_max.0 as f64;
    let head = config.server.header_bytes_max.0 as f64;
    let poll = POLL_BYTES + ring + snapshot + retained;
    vec![
        Row::new("streams", "streams that keep up").expected(Amount::about_bytes(streams * stream)),
        Row::new("sets", "what they have subscribed to")
            .expected(Amount::about_bytes(sets * SET_BYTES)),
        Row::new("rings", "rings of those whose clients do not read")
            .expected(Amount::about_bytes(rings_expected(case, wire))),
        Row::new("each_stream", "a stream for each client, its ring full")
            .at_most(Amount::about_bytes(all(cost.connection + requests * (cost.stream + most))))
            .by("server.connections_max, stream.ring_bytes_max, .topics_max"),
        Row::new("each_head", "or a request's head")
            .at_most(Amount::about_bytes(all(requests * (REQUEST_BYTES + head))))
            .by("server.connections_max, .header_bytes_max"),
        Row::new("each_poll", "or a long poll that is answered")
            .at_most(Amount::about_bytes(all(requests * poll)))
            .by("server.connections_max, stream.ring_bytes_max, history.retained_bytes_max"),
        Row::new("each_response", "or a response that is read slowly")
            .at_most(Amount::about_bytes(all(requests * (REQUEST_BYTES + RESPONSE_BYTES))))
            .by("server.connections_max"),
    ]
}

/// What one stream of a route can hold: its subscription set, its ring, a snapshot that nobody else has any
/// more.
fn stream_bytes_max(case: &Case<'_>, route: &StreamRoute) -> f64 {
    let stream = case.config.stream.of_route(route);
    let filters = if route.topics_from_query { stream.topics_max } else { route.topics.len() };
    let set = SET_BYTES + filters as f64 * FILTER_BYTES;
    let forms = if stream.compress { 2.0 } else { 1.0 };
    let places = RING_BYTES + stream.ring_frames_max as f64 * SLOT_BYTES;
    set + places + forms * ring_bytes_max(case, &stream) + snapshot_bytes(route)
}

/// What waits in one ring at most.
fn ring_bytes_max(case: &Case<'_>, stream: &Stream) -> f64 {
    let event = case.config.publish.event_bytes_max.0 as f64;
    (stream.ring_bytes_max.0 as f64).min(stream.ring_frames_max as f64 * event)
}

/// A route's snapshot at most, in two forms.
fn snapshot_bytes(route: &StreamRoute) -> f64 {
    route.snapshot.as_ref().map_or(0.0, |snapshot| 2.0 * snapshot.bytes_max.0 as f64)
}

/// Slow streams of a topic wait for the same events, which are there once.
fn rings_expected(case: &Case<'_>, wire: &Wire) -> f64 {
    let slow = case.slow_streams();
    let stream = &case.stream;
    let frames = stream.ring_frames_max as f64;
    let places = match case.load.protocol {
        Protocol::H1 => RING_BYTES + frames * SLOT_BYTES,
        // They have a ring in any case, and it was measured with them.
        Protocol::Tls | Protocol::H2 => 0.0,
    };
    let weight = wire.chunk.len() as f64 + TOPIC_NAME_BYTES;
    let fit = (stream.ring_bytes_max.0 as f64 / weight).floor();
    let waiting = frames.min(fit) * event_bytes(wire);
    let moves = if case.load.events_per_second > 0.0 { 1.0 } else { 0.0 };
    slow * places + slow.min(case.load.topics as f64) * waiting * moves
}

/// Memory of the kernel, for sockets.
pub(super) fn of_kernel(case: &Case<'_>) -> Section {
    let connections = case.connections();
    let slow = (case.slow_streams() / case.streams_per_connection()).ceil();
    // Linux doubles what SO_SNDBUF asks for, for what it needs itself.
    let buffer = 2.0 * case.config.server.send_buffer.0 as f64;
    let (unsent, most, key) = match case.load.protocol {
        Protocol::H1 => (
            Amount::about_bytes(UNSENT_BYTES.min(buffer)),
            Amount::bytes(buffer),
            "server.connections_max, server.send_buffer",
        ),
        // These sockets are hyper's or rustls', and the kernel decides.
        Protocol::Tls | Protocol::H2 => (
            Amount::about_bytes(UNSENT_BYTES),
            Amount::about_bytes(TCP_WMEM_MAX),
            "server.connections_max, net.ipv4.tcp_wmem",
        ),
    };
    let socket = Amount::about_bytes(SOCKET_BYTES);
    let rows = vec![
        Row::new("sockets", "sockets")
            .expected(socket.times(connections))
            .at_most(socket.times(case.places))
            .by("server.connections_max"),
        Row::new("unsent", "bytes that clients do not take")
            .expected(unsent.times(slow))
            .at_most(most.times(case.places))
            .by(key),
        Row::new("total", "all; net.ipv4.tcp_mem bounds the whole host's")
            .expected(socket.times(connections) + unsent.times(slow))
            .at_most(socket.times(case.places) + most.times(case.places)),
    ];
    Section { id: "kernel", title: "KERNEL MEMORY", rows }
}
