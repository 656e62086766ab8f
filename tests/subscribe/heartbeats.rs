//! Heartbeats: a sign of life that keeps a quiet stream's cursor at the head.

use super::listen_to;
use super::support::{Builder, Gateway};

/// A gateway whose streams beat every 200 ms.
fn beating(kind: &str) -> Builder {
    Gateway::builder()
        .env("TIDEGATE__STREAM__HEARTBEAT", "200ms")
        .env("TIDEGATE__STREAM__HEARTBEAT_KIND", kind)
}

/// Heartbeats until one is newer than an event: the first may have been under way before it.
const BEATS_MAX: usize = 10;

#[test]
fn a_comment_keeps_a_quiet_streams_cursor_at_the_head() {
    let gateway = beating("comment").start();
    let mut subscriber = gateway.topic("quiet").subscribe();
    assert_eq!(subscriber.expect_hello().heartbeat_ms, 200);
    let id = gateway.topic("busy").publish("not yours");
    let beats = (0..BEATS_MAX).take_while(|_| {
        assert_eq!(subscriber.expect_comment(), "");
        subscriber.last_event_id() != id
    });
    assert!(beats.count() < BEATS_MAX, "the cursor stays at {}", subscriber.last_event_id());
    // No event came of it, and the cursor is worth resuming from.
    let mut resumed = gateway.subscriber("topic=quiet").after(&id).open();
    assert!(resumed.expect_hello().resumed);
    gateway.topic("quiet").publish("yours");
    subscriber.expect_data("yours");
    resumed.expect_data("yours");
}

#[test]
fn an_event_keeps_a_quiet_streams_cursor_at_the_head() {
    let gateway = beating("event").start();
    let mut subscriber = listen_to(&gateway, &["quiet"]);
    let id = gateway.topic("busy").publish("not yours");
    let beats = (0..BEATS_MAX).take_while(|_| {
        let beat = subscriber.expect_named("heartbeat");
        assert_eq!((beat.data.as_str(), beat.retry), ("{}", None));
        beat.id != id
    });
    assert!(beats.count() < BEATS_MAX, "the cursor stays at {}", subscriber.last_event_id());
}

#[test]
fn a_heartbeat_can_have_another_name() {
    let gateway = beating("event").env("TIDEGATE__STREAM__CONTROL__HEARTBEAT", "ping").start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    subscriber.expect_named("ping");
    subscriber.expect_named("ping");
}

#[test]
fn heartbeats_go_on_until_the_end() {
    let gateway = beating("comment").start();
    let mut subscriber = gateway.subscribe("topic=t&max_duration=1s");
    subscriber.expect_hello();
    for _ in 0..3 {
        subscriber.expect_comment();
    }
    subscriber.expect_end("limit");
    subscriber.expect_closed();
}
