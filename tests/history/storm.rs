//! Many clients that come back at once.

use std::thread;

use super::support::{Stop, Subscriber};
use super::{expect_numbers, publish_numbers, with};

#[test]
fn f73_who_comes_with_too_many_others_is_told_to_come_back_later() {
    let gateway =
        with(&[("HISTORY__REPLAYS_MAX", "0"), ("SERVER__SHARDS", "1"), ("STREAM__RETRY", "5s")])
            .start();
    let ids = publish_numbers(&gateway, "t", 0..3);
    let mut retries = Vec::new();
    for _ in 0..5 {
        let mut shed = gateway.subscriber("topic=t").after(&ids[0]).open();
        assert_eq!(shed.head().status, 200, "after another status a browser would not come back");
        shed.expect_hello();
        assert_eq!(shed.expect_stop(), Stop::Complete);
        assert_eq!(shed.last_event_id(), ids[0], "it comes back with the same cursor");
        retries.push(shed.retry_ms().expect("a time to come back after"));
    }
    assert!(retries.iter().all(|retry| (2500..=7500).contains(retry)), "{retries:?}");
    retries.dedup();
    assert!(retries.len() > 1, "all at the same time: {retries:?}");
    // Who needs nothing of the past is served.
    let mut new = gateway.topic("t").subscribe();
    new.expect_hello();
    publish_numbers(&gateway, "t", 3..4);
    expect_numbers(&mut new, 3..4);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "shed")], 5.0);
}

#[test]
fn f73_a_crowd_that_comes_back_gets_everything_once() {
    let gateway = with(&[("HISTORY__EVENTS_MAX", "5000")]).start();
    let ids = publish_numbers(&gateway, "t", 0..1000);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (gateway, ids) = (&gateway, &ids);
            scope.spawn(move || {
                let at = |n: usize| if n.is_multiple_of(3) { 0 } else { (n * 131 + thread) % 1000 };
                let mut streams: Vec<(usize, Subscriber)> = (0..100)
                    .map(|n| (at(n), gateway.subscriber("topic=t").after(&ids[at(n)]).open()))
                    .collect();
                for (at, stream) in &mut streams {
                    assert!(stream.expect_hello().resumed);
                    expect_numbers(stream, *at + 1..1000);
                }
            });
        }
    });
    gateway.expect_metric("tidegate_replays_total", &[("result", "gap")], 0.0);
}
