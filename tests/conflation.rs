//! `conflate`: what waits for a slow stream gives way to what is newer of its kind.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::{Event, Gateway, Subscriber};

#[track_caller]
fn gateway(ring_frames_max: &str) -> Gateway {
    Gateway::builder()
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", ring_frames_max)
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .start()
}

#[track_caller]
fn slow(gateway: &Gateway, query: &str) -> Subscriber {
    gateway.subscriber(query).receive_buffer(4096).open()
}

/// Everything up to an event named `last`.
#[track_caller]
fn up_to_last(stream: &mut Subscriber) -> Vec<Event> {
    stream.expect_hello();
    std::iter::repeat_with(|| stream.next()).take_while(|event| event.event != "last").collect()
}

fn seq(id: &str) -> u64 {
    id.split_once('-').expect("an id").1.parse().expect("a number")
}

#[test]
fn need_d7_a_slow_stream_gets_the_newest_of_each_kind_and_no_gap() {
    let gateway = gateway("8");
    let mut stream = slow(&gateway, "topic=cpu.*&topic=log");
    let padding = "x".repeat(10_000);
    let rounds = 100;
    for round in 0..rounds {
        for host in ["a", "b"] {
            let event = format!(
                r#"{{"topic":"cpu.{host}","conflate":"load","data":"{host} {round} {padding}"}}"#
            );
            gateway.publish(&event).expect_status(202);
        }
        if round % 40 == 20 {
            gateway.topic("log").publish(&format!("log {round}"));
        }
    }
    gateway.topic("log").publish_named("last", "");
    let conflated = gateway.metric("tidegate_events_conflated_total", &[]);
    let events = up_to_last(&mut stream);
    let mut newest = BTreeMap::new();
    let (mut last, mut logs) = (0, 0);
    for event in &events {
        assert_eq!(event.event, "message", "no gap");
        assert!(seq(&event.id) > last, "{} after {last}", event.id);
        last = seq(&event.id);
        let mut words = event.data.split(' ');
        let (kind, round) = (words.next().expect("a kind"), words.next().expect("a round"));
        logs += usize::from(kind == "log");
        newest.insert(kind.to_owned(), round.parse::<u32>().expect("a number"));
    }
    assert_eq!((newest["a"], newest["b"], logs), (rounds - 1, rounds - 1, 2));
    let published = 2 * rounds as usize + 2;
    assert!(events.len() < published / 2, "{} of {published} came", events.len());
    // Each is accounted for.
    assert_eq!(events.len() + conflated as usize, published);
    gateway.expect_metric("tidegate_events_dropped_total", &[], 0.0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
}

#[test]
fn other_topics_other_keys_and_events_without_one_stay() {
    let gateway = gateway("200");
    let mut stream = slow(&gateway, "topic=a&topic=b");
    let padding = "x".repeat(10_000);
    for _ in 0..60 {
        gateway.topic("a").publish(&padding);
    }
    for (topics, key) in [
        (r#""a""#, r#","conflate":"k""#),
        (r#"["b","a"]"#, r#","conflate":"k""#),
        (r#""a""#, r#","conflate":"l""#),
        (r#""a""#, ""),
        (r#""*""#, r#","conflate":"k""#),
        // These two are of one kind, which was there.
        (r#"["a","b"]"#, r#","conflate":"k""#),
        (r#""*""#, r#","conflate":"k""#),
    ] {
        gateway.publish(&format!(r#"{{"topic":{topics},"data":"key"{key}}}"#)).expect_status(202);
    }
    gateway.topic("a").publish_named("last", "");
    gateway.expect_metric("tidegate_events_conflated_total", &[], 2.0);
    let events = up_to_last(&mut stream);
    assert!(events.iter().all(|event| event.event == "message"));
    assert_eq!(events.iter().filter(|event| event.data == "key").count(), 5);
    assert_eq!(events.len(), 65);
}

#[test]
fn who_keeps_up_and_who_comes_back_get_every_event() {
    let gateway = Gateway::start();
    let mut stream = gateway.topic("t").subscribe();
    stream.expect_hello();
    let target = "/topics/t?conflate=k";
    let before = gateway.topic("t").publish("0");
    stream.expect_data("0");
    for number in 1..5 {
        let number = number.to_string();
        gateway.post(target, &[], number.as_bytes()).expect_status(202);
        stream.expect_data(&number);
    }
    let mut resumed = gateway.subscriber("topic=t").after(&before).open();
    resumed.expect_hello();
    for number in 1..5 {
        resumed.expect_data(&number.to_string());
    }
    stream.expect_silence(Duration::from_millis(50));
}

#[test]
fn a_conflation_key_has_a_bound() {
    let gateway = Gateway::start();
    let publish = |key: &str| gateway.publish(&format!(r#"[{{"topic":"t","conflate":"{key}"}}]"#));
    publish(&"k".repeat(256)).expect_status(202);
    for key in ["", &"k".repeat(257)] {
        let response = publish(key);
        assert_eq!(response.json()["field"], "[0].conflate");
        assert_eq!(response.expect_problem(400), "urn:tidegate:problem:bad-conflate");
    }
    gateway.post("/topics/t?conflate=", &[], b"").expect_problem(400);
}
