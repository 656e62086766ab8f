//! One broken rule at a time, and what it says.

use super::*;

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
        c.stream.control.gap.clear();
        c.stream.control.end.clear();
    };
    assert!(broken(off).is_empty());
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
