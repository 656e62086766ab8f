//! Slow streams where they do not drop their oldest: they catch up from the history, or are closed and
//! come back.

use std::time::Duration;

use super::support::{Gateway, Subscriber};
use super::{gap_of, seq, with};

/// Publishes numbers to `t` in one batch, each with so many bytes after it.
#[track_caller]
fn publish(gateway: &Gateway, numbers: std::ops::Range<usize>) {
    for from in numbers.clone().step_by(500) {
        let numbers = from..numbers.end.min(from + 500);
        let events: Vec<_> =
            numbers.map(|n| format!(r#"{{"topic":"t","data":"{}"}}"#, data(n))).collect();
        gateway.publish(&format!("[{}]", events.join(","))).expect_status(202);
    }
}

fn data(number: usize) -> String {
    format!("{number} {}", "x".repeat(400))
}

fn slow(gateway: &Gateway) -> Subscriber {
    let mut subscriber = gateway.subscriber("topic=t").receive_buffer(4096).open();
    subscriber.expect_hello();
    subscriber
}

fn catching_up(events_max: &str) -> Gateway {
    with(&[
        ("STREAM__SLOW", "catch_up"),
        ("STREAM__RING_FRAMES_MAX", "16"),
        ("SERVER__SEND_BUFFER", "4KiB"),
        ("HISTORY__EVENTS_MAX", events_max),
        ("HISTORY__BYTES_MAX", "64MiB"),
    ])
    .start()
}

#[test]
fn a_stream_that_catches_up_loses_nothing_that_is_kept() {
    let gateway = catching_up("100000");
    let mut subscriber = slow(&gateway);
    let mut prompt = gateway.topic("t").subscribe();
    prompt.expect_hello();
    for round in 0..3 {
        let numbers = round * 4000..(round + 1) * 4000;
        publish(&gateway, numbers.clone());
        for number in numbers.clone() {
            prompt.expect_data(&data(number));
        }
        // The client has not read for a while; then it does, and lags behind once more.
        for number in numbers {
            subscriber.expect_data(&data(number));
        }
    }
    publish(&gateway, 12_000..12_001);
    subscriber.expect_data(&data(12_000));
    gateway.expect_metric("tidegate_events_dropped_total", &[("reason", "slow")], 0.0);
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], 0.0);
    assert!(gateway.metric("tidegate_replays_total", &[("result", "complete")]) >= 3.0);
}

#[test]
fn what_is_no_longer_kept_is_a_gap() {
    let gateway = catching_up("200");
    let mut subscriber = slow(&gateway);
    publish(&gateway, 0..4000);
    let (mut last, mut gaps, mut received) = (0, 0, 0);
    while last < 4000 {
        let event = subscriber.next();
        if event.event == "gap" {
            let (gap, after, to) = gap_of(&event);
            assert_eq!((after, &gap["reason"]), (last, &"slow".into()));
            last = to;
            gaps += 1;
            continue;
        }
        assert_eq!(seq(&event.id), last + 1);
        assert_eq!(event.data, data(last as usize));
        last += 1;
        received += 1;
    }
    assert!(gaps >= 1 && received >= 200, "{gaps} gaps, {received} events");
    publish(&gateway, 4000..4001);
    subscriber.expect_data(&data(4000));
}

#[test]
fn a_stream_that_is_too_slow_can_be_closed_and_come_back() {
    let gateway = with(&[
        ("STREAM__SLOW", "disconnect"),
        ("STREAM__RING_FRAMES_MAX", "16"),
        ("SERVER__SEND_BUFFER", "4KiB"),
        ("HISTORY__EVENTS_MAX", "100000"),
        ("HISTORY__BYTES_MAX", "64MiB"),
    ])
    .start();
    let mut subscriber = slow(&gateway);
    let mut prompt = gateway.topic("t").subscribe();
    prompt.expect_hello();
    for number in 0..2000 {
        publish(&gateway, number..number + 1);
        prompt.expect_data(&data(number));
    }
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "slow")], 1.0);
    let got = subscriber.drain(Duration::from_millis(200)).len();
    assert!(got < 2000);
    let mut back = gateway.subscriber("topic=t").after(subscriber.last_event_id()).open();
    assert!(back.expect_hello().resumed);
    for number in got..2000 {
        back.expect_data(&data(number));
    }
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], 0.0);
}
