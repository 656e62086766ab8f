//! One broken rule at a time, and what it says.

use super::*;
use crate::config::schema::{HeartbeatKind, Stream};
use crate::config::web::OptionalUrl;

type Change = fn(&mut Config);

fn broken(change: impl FnOnce(&mut Config)) -> Vec<String> {
    let mut config = Config::default();
    change(&mut config);
    let violations = config.validate().err().unwrap_or_default();
    violations.iter().map(ToString::to_string).collect()
}

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_defaults_break_nothing() {
    assert_eq!(Config::default().validate(), Ok(()));
}

#[test]
fn the_internal_listener_stays_on_loopback() {
    for inside in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(broken(|c| c.server.internal = address(inside)).is_empty(), "{inside}");
    }
    for outside in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"] {
        let messages = broken(|c| c.server.internal = address(outside));
        assert_eq!(
            messages,
            [format!(
                "`server.internal` is {outside}, which is not a loopback address, so anyone \
                 who reaches it could publish: bind it to 127.0.0.1 and reach it through an \
                 SSH tunnel or a sidecar on the same host; publish credentials are not \
                 available in this version"
            )]
        );
    }
}

#[test]
fn the_listeners_do_not_overlap() {
    for listen in ["0.0.0.0:8081", "127.0.0.1:8081", "[::]:8081", "[::ffff:127.0.0.1]:8081"] {
        let messages = broken(|c| c.server.listen = address(listen));
        assert_eq!(messages.len(), 1, "{listen}");
        assert!(messages[0].contains("they overlap; give them different ports"), "{listen}");
    }
    assert!(broken(|c| c.server.listen = address("127.0.0.2:8081")).is_empty());
    let any_port = |c: &mut Config| {
        c.server.listen = address("127.0.0.1:0");
        c.server.internal = address("127.0.0.1:0");
    };
    assert!(broken(any_port).is_empty());
}

const ZERO: Interval = Interval(Duration::ZERO);
const TWO_DAYS: Interval = Interval(Duration::from_secs(2 * 24 * 3600));

fn millis(n: u64) -> Interval {
    Interval(Duration::from_millis(n))
}

fn assert_range(change: Change, key: &str, value: &str, bound: &str) {
    assert_eq!(broken(change), [format!("`{key}` is {value}; it must be at {bound}")]);
}

#[test]
#[rustfmt::skip] // A table.
fn every_range_names_its_key_value_and_bound() {
    assert_range(|c| { c.server.shards = 1025; }, "server.shards", "1025", "most 1024");
    assert_range(|c| { c.server.drain = ZERO; }, "server.drain", "0s", "least 1ms");
    assert_range(|c| { c.server.header_timeout = ZERO; }, "server.header_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.header_bytes_max = Bytes(1); }, "server.header_bytes_max", "1B", "least 8KiB");
    assert_range(|c| { c.server.header_bytes_max = Bytes::mib(2); }, "server.header_bytes_max", "2MiB", "most 1MiB");
    assert_range(|c| { c.server.header_fields_max = 0; }, "server.header_fields_max", "0", "least 1");
    assert_range(|c| { c.server.header_fields_max = 1001; }, "server.header_fields_max", "1001", "most 1000");
    assert_range(|c| { c.server.request_line_bytes_max = Bytes(1); }, "server.request_line_bytes_max", "1B", "least 256B");
    assert_range(|c| { c.server.keepalive_timeout = ZERO; }, "server.keepalive_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.http2_control_frames_max = 99; }, "server.http2_control_frames_max", "99", "least 100");
    assert_range(|c| { c.server.http2_window_timeout = ZERO; }, "server.http2_window_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.http2_ping_interval = ZERO; }, "server.http2_ping_interval", "0s", "least 1ms");
    assert_range(|c| { c.server.body_timeout = ZERO; }, "server.body_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.send_timeout = ZERO; }, "server.send_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.accept_backlog = 0; }, "server.accept_backlog", "0", "least 1");
    assert_range(|c| { c.server.send_buffer = Bytes(1); }, "server.send_buffer", "1B", "least 4KiB");
    assert_range(|c| { c.server.send_buffer = Bytes::mib(1024); }, "server.send_buffer", "1GiB", "most 512MiB");
    assert_range(|c| { c.server.tcp_user_timeout = ZERO; }, "server.tcp_user_timeout", "0s", "least 1ms");
    assert_range(|c| { c.server.tcp_user_timeout = TWO_DAYS; }, "server.tcp_user_timeout", "2days", "most 1day");
    assert_range(|c| { c.server.tcp_keepalive = ZERO; }, "server.tcp_keepalive", "0s", "least 1s");
    assert_range(|c| { c.server.tcp_keepalive = TWO_DAYS; }, "server.tcp_keepalive", "2days", "most 9h 6m 7s");
    assert_range(|c| { c.server.http2_streams_max = 0; }, "server.http2_streams_max", "0", "least 1");
    assert_range(|c| { c.stream.heartbeat = millis(99); }, "stream.heartbeat", "99ms", "least 100ms");
    assert_range(|c| { c.stream.max_lifetime = millis(999); }, "stream.max_lifetime", "999ms", "least 1s");
    assert_range(|c| { c.stream.retry = ZERO; }, "stream.retry", "0s", "least 1ms");
    assert_range(|c| { c.stream.ring_frames_max = 0; }, "stream.ring_frames_max", "0", "least 1");
    assert_range(|c| { c.stream.ring_frames_max = 65_537; }, "stream.ring_frames_max", "65537", "most 65536");
    assert_range(|c| { c.stream.topics_max = 0; }, "stream.topics_max", "0", "least 1");
    assert_range(|c| { c.stream.topics_max = 1025; }, "stream.topics_max", "1025", "most 1024");
    assert_range(|c| { c.publish.body_bytes_max = Bytes(0); }, "publish.body_bytes_max", "0B", "least 1B");
    assert_range(|c| { c.publish.event_bytes_max = Bytes(0); }, "publish.event_bytes_max", "0B", "least 1B");
    assert_range(|c| { c.publish.batch_events_max = 0; }, "publish.batch_events_max", "0", "least 1");
    assert_range(|c| { c.publish.topics_max = 0; }, "publish.topics_max", "0", "least 1");
    assert_range(|c| { c.publish.topics_max = 1025; }, "publish.topics_max", "1025", "most 1024");
}

#[test]
fn one_event_fits_a_ring_and_one_request_a_mailbox() {
    let cases: [(&str, Change); 4] = [
        (
            "`stream.ring_bytes_max` is 512KiB; it must be at least \
             `publish.event_bytes_max` (512KiB) plus 1KiB, so that one event always fits a ring",
            |c| {
                c.stream.ring_bytes_max = Bytes::kib(512);
            },
        ),
        (
            "`publish.body_bytes_max` is 9MiB; it must be at most an eighth of \
             `mailbox.bytes_max` (64MiB), so that one request always fits a mailbox",
            |c| {
                c.publish.body_bytes_max = Bytes::mib(9);
            },
        ),
        (
            "`publish.event_bytes_max` is 33MiB; it must be at most half of \
             `mailbox.bytes_max` (64MiB), so that one event never fills a mailbox",
            |c| {
                c.publish.event_bytes_max = Bytes::mib(33);
                c.stream.ring_bytes_max = Bytes::mib(34);
            },
        ),
        (
            "`publish.batch_events_max` is 16385; it must be at most `mailbox.events_max` \
             (16384), so that one request always fits a mailbox",
            |c| {
                c.publish.batch_events_max = 16_385;
            },
        ),
    ];
    for (message, change) in cases {
        assert_eq!(broken(change), [message]);
    }
    assert!(broken(|c| c.stream.ring_bytes_max = Bytes::kib(513)).is_empty());
    let messages = broken(|c| c.mailbox.events_max = 0);
    assert_eq!(messages[1], "`mailbox.events_max` is 0; it must be at least 1");
}

#[test]
fn control_names_are_distinct_sse_event_names() {
    assert_eq!(
        broken(|c| c.stream.control.end = "gap".into()),
        ["`stream.control.end` and `stream.control.gap` are both \"gap\"; control names must \
          differ"]
    );
    // Unused names may repeat: a comment heartbeat's, and those switched off.
    assert!(broken(|c| c.stream.control.heartbeat = "gap".into()).is_empty());
    let off = |c: &mut Config| {
        c.stream.control.hello.clear();
        c.stream.control.end.clear();
    };
    assert!(broken(off).is_empty());
    assert_eq!(
        broken(|c| c.stream.control.gap.clear()),
        ["`stream.control.gap` is empty; a loss is never silent, so gaps can be renamed and not \
          switched off"]
    );
    let named_heartbeat = |c: &mut Config| {
        c.stream.heartbeat_kind = HeartbeatKind::Event;
        c.stream.control.heartbeat = "hello".into();
    };
    assert_eq!(broken(named_heartbeat).len(), 1);
    for bad in ["a\rb", "a\nb", "a\0b", "a\u{85}b", "a\u{7f}b"] {
        assert_eq!(
            broken(|c| c.stream.control.hello = bad.into()),
            [format!("`stream.control.hello` is {bad:?}; it must not have control characters")]
        );
    }
    assert_eq!(
        broken(|c| c.stream.control.hello = "é".repeat(33)),
        ["`stream.control.hello` has 66 bytes; it must have at most 64"]
    );
}

fn with_routes(text: &str) -> Vec<String> {
    broken(|c| c.stream = toml::from_str(text).expect(text))
}

#[test]
fn a_route_is_held_to_the_rules_of_all_streams_and_told_by_its_place() {
    let route = "[[routes]]\npath = '/a'\ntopics = ['a']\n";
    assert!(with_routes(route).is_empty());
    for (text, message) in [
        ("heartbeat = '1ms'", "`stream.routes[1].heartbeat` is 1ms; it must be at least 100ms"),
        ("ring_frames_max = 0", "`stream.routes[1].ring_frames_max` is 0; it must be at least 1"),
        (
            "control = { gap = '' }",
            "`stream.routes[1].control.gap` is empty; a loss is never silent, so gaps can be \
             renamed and not switched off",
        ),
        (
            "control = { hello = 'end' }",
            "`stream.routes[1].control.end` and `stream.routes[1].control.hello` are both \"end\"; \
             control names must differ",
        ),
        (
            "ring_bytes_max = '1KiB'",
            "`stream.routes[1].ring_bytes_max` is 1KiB; it must be at least \
             `publish.event_bytes_max` (512KiB) plus 1KiB, so that one event always fits a ring",
        ),
    ] {
        let second = "[[routes]]\npath = '/b'\ntopics = ['b']\n";
        assert_eq!(with_routes(&format!("{route}{second}{text}")), [message]);
    }
    // What all streams have wrong is not the routes' fault.
    let messages = with_routes(&format!("heartbeat = '1ms'\n{route}"));
    assert_eq!(messages, ["`stream.heartbeat` is 1ms; it must be at least 100ms"]);
    let long = format!("heartbeat_data = '{}'", "x".repeat(513));
    let expected = "`stream.heartbeat_data` has 513 bytes; it must have at most 512";
    assert_eq!(with_routes(&long), [expected]);
}

#[test]
fn two_routes_of_which_neither_says_more_are_refused_by_name() {
    let routes = |paths: &[&str]| {
        let route = |path: &&str| format!("[[routes]]\ntopics = ['a']\n{path}\n");
        with_routes(&paths.iter().map(route).collect::<String>())
    };
    for (one, other) in
        [("/{a}/x", "/y/{b}"), ("/{a}", "/{b}"), ("/a", "/a"), ("/a/{x}/{y}", "/{b}/c/d")]
    {
        let messages = routes(&[
            "path = '/z/z/z/z'",
            &format!("path = '{one}'"),
            &format!("path = '{other}'"),
        ]);
        assert_eq!(
            messages,
            [format!(
                "`stream.routes[1].path` is {one:?} and `stream.routes[2].path` is {other:?}: some \
                 paths are both, and neither says more about them; change one of the two"
            )]
        );
    }
    assert!(routes(&["path = '/a/{x}'", "path = '/a/b'", "path = '/{y}/{x}'"]).is_empty());
    assert!(routes(&["path = '/a'", "path = '/a'\nhost = 'a.com'"]).is_empty());
}

#[test]
fn a_routes_topics_and_parameters_fit_together() {
    let query = "path = '/a'\ntopics = ['a.{b}']\n";
    for (text, fault) in [
        (
            "path = '/a'",
            ".topics` is empty; name what its streams carry, or let clients do so with \
             `topics_from_query = true`",
        ),
        (
            "path = '/a'\ntopics = ['a']\ntopics_from_query = true",
            ".topics` names topics and `topics_from_query` is true; clients name theirs, or the \
             route does",
        ),
        (
            query,
            ".topics` has {b}, which is not in the path; if it comes from the query, give it a \
             pattern in `parameters`",
        ),
        (
            "path = '/a'\ntopics = ['a.{limit}']\nparameters = { limit = '[0-9]+' }",
            ".parameters.limit` has a name that means the same on every route; choose another",
        ),
        (
            "path = '/a'\ntopics = ['a']\nparameters = { b = '[0-9]+' }",
            ".parameters.b` is in neither the path nor the topics: use it or remove it",
        ),
        (
            "path = '/{b}'\ntopics = ['{b}']\nparameters = { b = { pattern = '.', default = 'x' } }",
            ".parameters.b` has a default, and a part of the path is never left out",
        ),
        (
            &format!("{query}parameters = {{ b = {{ pattern = '.', default = '*' }} }}"),
            ".parameters.b` has \"*\" as its default, which no client could send; give it one that \
             matches its pattern and is one token of a topic",
        ),
    ] {
        let messages = with_routes(&format!("[[routes]]\n{text}\n"));
        assert_eq!(messages, [format!("`stream.routes[0]{fault}")]);
    }
}

#[test]
fn a_hook_at_a_path_needs_the_proxys_upstream() {
    for hook in ["auth", "snapshot"] {
        let text = format!("[[routes]]\npath = '/a'\ntopics = ['a']\n{hook} = {{ url = '/b' }}\n");
        let fault = format!(
            "`stream.routes[0].{hook}.url` is a path on `proxy.upstream`, which is empty: set that, or \
             give the whole URL"
        );
        assert_eq!(with_routes(&text), [fault]);
        let stream: Stream = toml::from_str(&text).unwrap();
        let upstream: OptionalUrl = "http://127.0.0.1:3000".to_owned().try_into().unwrap();
        let set = |c: &mut Config| (c.stream, c.proxy.upstream) = (stream, upstream);
        assert!(broken(set).is_empty());
    }
}

#[test]
fn f59_credentials_with_any_origin_are_refused() {
    let any = "cors = { origins = ['https://a.com', '*'], credentials = true }";
    let fault = |place: &str| {
        format!(
            "`{place}.cors.credentials` is true and `{place}.cors.origins` has \"*\", so that any \
             page could read a stream as its visitor: name the origins"
        )
    };
    assert_eq!(with_routes(any), [fault("stream")]);
    let route = format!("[[routes]]\npath = '/a'\ntopics = ['a']\n{any}");
    assert_eq!(with_routes(&route), [fault("stream.routes[0]")]);
    assert!(with_routes(&any.replace(", '*'", "")).is_empty());
    assert!(with_routes(&any.replace("true", "false")).is_empty());
}

#[test]
fn a_misspelt_log_level_is_refused() {
    for good in ["info", "WARN", "off", "info,tidegate=debug", "tidegate[stream{id=1}]=trace"] {
        assert!(broken(|c| c.log.level = good.into()).is_empty(), "{good}");
    }
    for bad in ["", "inof", "tidegate", "info,,", "tidegate=loud"] {
        let messages = broken(|c| c.log.level = bad.into());
        assert_eq!(
            messages,
            [format!(
                "`log.level` is {bad:?}; expected off, error, warn, info, debug or trace, or \
                 a filter like \"info,tidegate=debug\""
            )]
        );
    }
}

#[test]
fn a_source_says_which_of_its_fields_is_wrong() {
    use crate::config::schema::Source;
    type Change = fn(&mut Source);
    let with = |change: Change| {
        let url = "http://127.0.0.1:1/".to_owned().try_into().unwrap();
        let mut source = Source::new("a", url);
        change(&mut source);
        broken(|c| c.source = vec![source])
    };
    assert_eq!(with(|_| {}), [""; 0]);
    let cases: [(Change, &str); 7] = [
        (
            |s| s.conflate = ["a".into(), String::new()].into(),
            "`source[0].conflate` has \"\"; name events, with 1 to 256 bytes each",
        ),
        (|s| s.name = "a.b".into(), "`source[0].name` is \"a.b\"; give it 1 to 128 letters"),
        (|s| s.topics.clear(), "`source[0].topics` is empty"),
        (|s| s.connect_timeout = ZERO, "`source[0].connect_timeout` is 0s"),
        (|s| s.event_bytes_max = Bytes(0), "`source[0].event_bytes_max` is 0B"),
        (
            |s| s.retry_max = millis(10),
            "`source[0].retry_max` is 10ms; it must be at least `retry`",
        ),
        (|s| s.retry_factor = f64::NAN, "`source[0].retry_factor` is NaN"),
    ];
    for (change, message) in cases {
        let messages = with(change);
        assert!(messages.len() == 1 && messages[0].starts_with(message), "{messages:?}");
    }
    let url = || "http://127.0.0.1:1/".to_owned().try_into().unwrap();
    let twice = broken(|c| c.source = vec![Source::new("a", url()), Source::new("a", url())]);
    assert!(twice[0].contains("like that of a source before it"), "{twice:?}");
    let too_many = broken(|c| c.sources.sources_max = 0);
    assert_eq!(too_many, ["`sources.sources_max` is 0; it must be at least 1"]);
    assert_eq!(broken(|c| c.sources.topic = "a.*".into()).len(), 1);
    assert!(broken(|c| c.sources.topic.clear()).is_empty());
}
