//! `/streams/{id}/explain`: why a stream has an event, or has not. `shard/model_tests.rs` holds the
//! answers to what clients really have.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Gateway, Subscriber, eventually, pause};
use crate::view;

/// Longer than a tick of the streams' clock.
const MOMENT: Duration = Duration::from_millis(150);

#[track_caller]
fn open(gateway: &Gateway, query: &str) -> (Subscriber, String) {
    let mut stream = gateway.subscribe(query);
    let id = stream.expect_hello().session.as_str().expect("a text").to_owned();
    (stream, id)
}

#[track_caller]
fn explain(gateway: &Gateway, id: &str, event: &str) -> Value {
    view(gateway, &format!("/streams/{id}/explain?event={event}"))
}

#[track_caller]
fn expect(explained: &Value, outcome: &str, delivered: Option<bool>) {
    assert_eq!(explained["outcome"], outcome, "{explained}");
    assert_eq!(explained["delivered"], json!(delivered), "{explained}");
    assert!(explained["why"].as_str().is_some_and(|why| why.ends_with('.')), "{explained}");
}

#[test]
fn what_was_delivered_not_asked_for_or_never_was_is_told_apart() {
    let gateway = Gateway::start();
    let before = gateway.topic("a.1").publish("before");
    pause(MOMENT);
    let (mut stream, id) = open(&gateway, "topic=a.*&topic=b");
    pause(MOMENT);
    let one = gateway.topic("a.1").publish("one");
    let other = gateway.topic("c").publish("other");
    let all = gateway.publish(r#"{"topic":"*","data":"all"}"#).expect_status(202).json();
    stream.expect_data("one");
    stream.expect_data("all");
    let delivered = eventually("the events to count as sent", || {
        let explained = explain(&gateway, &id, &one);
        (explained["outcome"] != "waiting").then_some(explained)
    });
    expect(&delivered, "delivered", Some(true));
    assert_eq!(
        (&delivered["event_topics"], &delivered["matched_by"]),
        (&json!(["a.1"]), &json!("a.*"))
    );
    let everyone = explain(&gateway, &id, all["id"].as_str().expect("a text"));
    expect(&everyone, "delivered", Some(true));
    assert_eq!(everyone["event_topics"], json!(["*"]));
    let not_asked = explain(&gateway, &id, &other);
    expect(&not_asked, "not_asked_for", Some(false));
    assert_eq!(not_asked["event_topics"], json!(["c"]));
    assert_eq!(not_asked["stream_topics"], json!(["b", "a.*"]));
    expect(&explain(&gateway, &id, &before), "before_it_opened", None);
    let (epoch, _) = one.split_once('-').expect("an id");
    expect(&explain(&gateway, &id, &format!("{epoch}-99")), "not_yet", Some(false));
    expect(&explain(&gateway, &id, "000000000000-1"), "other_order", Some(false));

    let path = |topic| format!("/streams/{id}/explain?topic={topic}");
    let by_topic = view(&gateway, &path("a.7"));
    expect(&by_topic, "asked_for", None);
    assert_eq!(by_topic["matched_by"], "a.*");
    expect(&view(&gateway, &path("a.7.8")), "not_asked_for", Some(false));
    for bad in ["", "event=x", "event=a-1", "event=000000000000-0", "topic=a&event=000000000000-1"]
    {
        gateway.get(&format!("/streams/{id}/explain?{bad}")).expect_refused(400, "event");
    }
    drop(stream);
    eventually("the stream to be gone", || (gateway.get(&path("a")).status == 404).then_some(()));
}

#[test]
fn what_a_slow_client_lost_is_in_its_gap() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "10")
        .start();
    let mut stream = gateway.subscriber("topic=t").receive_buffer(4096).open();
    let id = view(&gateway, "/streams")["streams"][0]["id"].as_str().expect("a text").to_owned();
    pause(MOMENT);
    let data = "x".repeat(2000);
    let mut ids = Vec::new();
    let owed = eventually("events to be lost to the stream", || {
        ids.extend((0..20).map(|_| gateway.topic("t").publish(&data)));
        Some(view(&gateway, &format!("/streams/{id}"))).filter(|shown| !shown["gap_owed"].is_null())
    });
    let lost = owed["gap_owed"]["to"].as_str().expect("a text").to_owned();
    let explained = explain(&gateway, &id, &lost);
    expect(&explained, "dropped", Some(false));
    assert_eq!((&explained["gap"]["told"], &explained["gap"]["to"]), (&json!(false), &json!(lost)));
    expect(&explain(&gateway, &id, ids.last().expect("some")), "waiting", None);
    expect(&explain(&gateway, &id, &ids[0]), "delivered", Some(true));

    // Once the client has read its gap, it is told, and what it lost stays lost.
    let gap = loop {
        let event = stream.next();
        if event.event == "gap" {
            break event;
        }
    };
    let gap: Value = serde_json::from_str(&gap.data).expect("JSON");
    let explained = explain(&gateway, &id, &lost);
    expect(&explained, "dropped", Some(false));
    assert_eq!(explained["gap"]["told"], true);
    for field in ["after", "to", "count", "reason"] {
        assert_eq!(explained["gap"][field], gap[field], "{field}");
    }
}

#[test]
fn what_the_history_has_forgotten_is_not_guessed() {
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "3").start();
    let (mut stream, id) = open(&gateway, "topic=a");
    let ids: Vec<_> = (0..5).map(|at| gateway.topic("a").publish(&at.to_string())).collect();
    (0..5).for_each(|at| drop(stream.expect_data(&at.to_string())));
    let explained = explain(&gateway, &id, &ids[0]);
    expect(&explained, "no_longer_known", None);
    assert_eq!(explained["event_topics"], Value::Null);
}

#[test]
fn what_a_filter_by_name_leaves_out_is_not_called_lost() {
    let gateway = Gateway::start();
    let (mut stream, id) = open(&gateway, "topic=t&filter=wanted");
    pause(MOMENT);
    let other = gateway.topic("t").publish_named("other", "1");
    let unnamed = gateway.topic("t").publish("2");
    let wanted = gateway.topic("t").publish_named("wanted", "3");
    stream.expect_data("3");
    for (event, name) in [(other, json!("other")), (unnamed, Value::Null)] {
        let explained = explain(&gateway, &id, &event);
        expect(&explained, "filtered_by_name", Some(false));
        assert_eq!((&explained["event_name"], &explained["matched_by"]), (&name, &json!("t")));
        assert_eq!(explained["stream_names"], json!(["wanted"]));
    }
    eventually("the event to count as sent", || {
        (explain(&gateway, &id, &wanted)["outcome"] == "delivered").then_some(())
    });
    assert_eq!(view(&gateway, &format!("/streams/{id}"))["names"], json!(["wanted"]));
}

#[test]
fn what_a_newer_event_took_the_place_of_is_no_drop() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB").start();
    let mut stream = gateway.subscriber("topic=t").receive_buffer(4096).open();
    let id = view(&gateway, "/streams")["streams"][0]["id"].as_str().expect("a text").to_owned();
    pause(MOMENT);
    let keyed = |data: &str| {
        let event = json!({"topic": "t", "conflate": "load", "data": data});
        let published = gateway.publish(&event.to_string()).expect_status(202).json();
        published["id"].as_str().expect("a text").to_owned()
    };
    let first = keyed("first");
    // Until the client's socket takes no more.
    let padding = "x".repeat(20_000);
    eventually("the stream to be behind", || {
        gateway.topic("t").publish(&padding);
        (view(&gateway, &format!("/streams/{id}"))["state"] == "behind").then_some(())
    });
    let (older, newer) = (keyed("older"), keyed("newer"));
    eventually("a newer event to take the place of an older", || {
        let explained = explain(&gateway, &id, &older);
        (explained["outcome"] != "waiting").then(|| {
            expect(&explained, "conflated", Some(false));
            assert_eq!(explained["gap"], Value::Null);
        })
    });
    expect(&explain(&gateway, &id, &newer), "waiting", None);
    while stream.next().data != "newer" {}
    // It was written; but what became of its kind while they waited is not kept.
    for event in [&first, &older, &newer] {
        eventually("the stream to be past them", || {
            let explained = explain(&gateway, &id, event);
            (explained["outcome"] == "delivered_or_conflated").then(|| {
                expect(&explained, "delivered_or_conflated", None);
            })
        });
    }
}
