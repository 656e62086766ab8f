//! Retained values: the last event of a topic, and of an event name, is what a new subscriber is told
//! first.

use std::time::Duration;

use super::support::{Gateway, pause};
use super::{publish_numbers, with};

#[track_caller]
fn retain(gateway: &Gateway, topic: &str, event: &str, data: &str) -> String {
    let path = format!("/topics/{topic}?retain=true&event={event}");
    let answer = gateway.post(&path, &[], data.as_bytes()).expect_status(202).json();
    answer["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_new_subscriber_is_told_the_last_value_before_what_is_new() {
    let gateway = Gateway::start();
    retain(&gateway, "t", "", "old");
    let value = retain(&gateway, "t", "", "new");
    let head = gateway.topic("t").publish("not retained");
    let mut subscriber = gateway.topic("t").subscribe();
    let hello = subscriber.expect_hello();
    assert_eq!(hello.id, "", "the cursor moves once the values are there");
    assert_eq!(subscriber.expect_data("new").id, value);
    assert_eq!(subscriber.expect_comment(), "");
    assert_eq!(subscriber.last_event_id(), head);
    gateway.topic("t").publish("live");
    subscriber.expect_data("live");
}

#[test]
fn each_topic_and_each_name_has_its_own() {
    let gateway = Gateway::start();
    retain(&gateway, "a", "state", "a's first state");
    retain(&gateway, "a", "title", "a's title");
    retain(&gateway, "b.1", "", "b's");
    retain(&gateway, "c", "", "not asked for");
    retain(&gateway, "a", "state", "a's state");
    let everyone = r#"{"topic":"*","event":"notice","data":"everyone's","retain":true}"#;
    gateway.publish(everyone).expect_status(202);
    for query in ["topic=a&topic=b.*", "topic=b.1&topic=a&topic=b.*"] {
        let mut subscriber = gateway.subscribe(query);
        subscriber.expect_hello();
        for data in ["a's title", "b's", "a's state", "everyone's"] {
            assert_eq!(subscriber.next().data, data);
        }
        subscriber.expect_silence(Duration::from_millis(50));
    }
}

#[test]
fn an_empty_one_removes_it() {
    let gateway = Gateway::start();
    let mut early = gateway.topic("t").subscribe();
    early.expect_hello();
    retain(&gateway, "t", "", "value");
    retain(&gateway, "t", "other", "stays");
    retain(&gateway, "t", "", "");
    // Who is there is told.
    for data in ["value", "stays", ""] {
        assert_eq!(early.next().data, data);
    }
    let mut late = gateway.topic("t").subscribe();
    late.expect_hello();
    late.expect_named("other");
    late.expect_silence(Duration::from_millis(50));
}

#[test]
fn a_value_has_its_time() {
    let gateway = Gateway::start();
    let body = r#"{"topic":"t","data":"short","retain":true,"ttl":1}"#;
    gateway.publish(body).expect_status(202);
    retain(&gateway, "t", "lasting", "long");
    pause(Duration::from_millis(1100));
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_hello();
    subscriber.expect_named("lasting");
    subscriber.expect_silence(Duration::from_millis(50));
}

#[test]
fn who_comes_back_with_its_cursor_is_not_told_again() {
    let gateway = Gateway::start();
    retain(&gateway, "t", "", "value");
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_hello();
    subscriber.expect_data("value");
    subscriber.expect_comment();
    let cursor = subscriber.last_event_id().to_owned();
    publish_numbers(&gateway, "t", 0..1);
    let mut back = gateway.subscriber("topic=t").after(&cursor).open();
    assert!(back.expect_hello().resumed);
    back.expect_data("0");
    back.expect_silence(Duration::from_millis(50));
}

#[test]
fn a_value_outlives_the_history() {
    let gateway = with(&[("HISTORY__EVENTS_MAX", "2")]).start();
    let start = gateway.topic("other").publish("start");
    let value = retain(&gateway, "t", "state", "value");
    let ids = publish_numbers(&gateway, "t", 0..5);
    let mut new = gateway.topic("t").subscribe();
    new.expect_hello();
    assert_eq!(new.expect_named("state").id, value);
    // Who was away while it was published gets it with what else is left.
    let mut back = gateway.subscriber("topic=t").after(&start).open();
    back.expect_hello();
    let gap = back.expect_named("gap");
    assert!(gap.data.contains(&format!(r#""to":"{}","count":3"#, ids[2])), "{}", gap.data);
    assert_eq!(back.expect_named("state").id, value);
    back.expect_data("3");
    back.expect_data("4");
}

#[test]
fn who_comes_from_another_epoch_is_told_the_values_after_the_gap() {
    let gateway = Gateway::start();
    let value = retain(&gateway, "t", "", "value");
    let head = gateway.topic("t").publish("passing");
    for cursor in ["000000000000-5", "garbage"] {
        let mut subscriber = gateway.subscriber("topic=t").after(cursor).open();
        let hello = subscriber.expect_hello();
        assert_eq!((hello.resumed, hello.id.as_str()), (false, ""));
        let gap = subscriber.expect_named("gap");
        assert!(gap.data.contains(r#""count":null,"reason":"epoch""#), "{}", gap.data);
        assert!(gap.data.contains(&format!(r#""to":"{head}""#)), "{}", gap.data);
        assert_eq!(subscriber.expect_data("value").id, value);
        subscriber.expect_comment();
        assert_eq!(subscriber.last_event_id(), head);
        subscriber.expect_silence(Duration::from_millis(50));
    }
}

#[test]
fn without_room_a_value_is_refused_and_nothing_is_lost() {
    let gateway = with(&[("HISTORY__RETAINED_BYTES_MAX", "4KiB")]).start();
    let large = "x".repeat(3000);
    retain(&gateway, "a", "", &large);
    let refused = gateway.post("/topics/b?retain=true", &[], large.as_bytes());
    assert_eq!(refused.expect_refused(507, "retain"), "retained-full");
    retain(&gateway, "a", "", &large);
    gateway.topic("b").publish(&large);
    retain(&gateway, "a", "", "");
    retain(&gateway, "b", "", &large);
    gateway.expect_metric("tidegate_publish_requests_total", &[("code", "507")], 1.0);
}

#[test]
fn many_values_come_in_pages_and_none_is_missed() {
    let gateway = Gateway::start();
    let events: Vec<_> =
        (0..2000).map(|n| format!(r#"{{"topic":"v.{n}","data":"{n}","retain":true}}"#)).collect();
    gateway.publish(&format!("[{}]", events.join(","))).expect_status(202);
    let mut subscriber = gateway.subscribe("topic=v.*");
    subscriber.expect_hello();
    for n in 0..2000 {
        subscriber.expect_data(&n.to_string());
    }
    gateway.topic("v.5").publish("live");
    subscriber.expect_data("live");
}
