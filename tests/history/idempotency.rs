//! Idempotency keys: what is sent again is published once, and answered as it was.

use super::support::{Gateway, Response, pause};
use super::{seq, with};
use serde_json::{Value, json};
use std::time::Duration;

#[track_caller]
fn answer(response: Response) -> (Value, bool) {
    let answer = response.expect_status(202).json();
    let ids = answer.get("id").or_else(|| answer.get("ids")).expect("ids").clone();
    (ids, answer["duplicate"].as_bool().expect("a flag"))
}

#[test]
fn f18_an_event_that_is_sent_again_comes_once() {
    let gateway = Gateway::start();
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_hello();
    let body = r#"{"topic":"t","data":"paid","key":"order-7"}"#;
    let (first, duplicate) = answer(gateway.publish(body));
    assert!(!duplicate);
    for _ in 0..3 {
        assert_eq!(answer(gateway.publish(body)), (first.clone(), true));
        let raw = gateway.post("/topics/t?key=order-7", &[], b"whatever");
        assert_eq!(answer(raw), (first.clone(), true));
    }
    subscriber.expect_data("paid");
    gateway.topic("t").publish("next");
    subscriber.expect_data("next");
    gateway.expect_metric("tidegate_events_published_total", &[], 2.0);
}

#[test]
fn f18_a_request_that_is_sent_again_gets_its_first_answer() {
    let gateway = Gateway::start();
    let batch = br#"[{"topic":"t","data":1},{"topic":"t","data":2}]"#;
    let headers = [("content-type", "application/json"), ("idempotency-key", "\"a-b-c\"")];
    let first = answer(gateway.post("/publish", &headers, batch));
    let again = answer(gateway.post("/publish", &headers, batch));
    assert_eq!((first.1, again.1), (false, true));
    assert_eq!(first.0, again.0);
    assert_eq!(first.0.as_array().map(Vec::len), Some(2));
    // The key of a request is not that of an event.
    let (id, duplicate) = answer(gateway.publish(r#"{"topic":"t","key":"\"a-b-c\""}"#));
    assert!(!duplicate);
    assert_eq!(seq(id.as_str().unwrap()), 3);
}

#[test]
fn of_a_batch_only_what_is_new_is_published() {
    let gateway = Gateway::start();
    let event = |key: Option<&str>| json!({"topic": "t", "key": key});
    let publish = |events: Vec<Value>| {
        let (ids, duplicate) = answer(gateway.publish(&Value::from(events).to_string()));
        let ids = ids.as_array().unwrap().iter().map(|id| seq(id.as_str().unwrap()));
        (ids.collect::<Vec<_>>(), duplicate)
    };
    assert_eq!(publish(vec![event(Some("a")), event(Some("b"))]), (vec![1, 2], false));
    let mixed = vec![event(Some("b")), event(None), event(Some("c")), event(Some("c"))];
    assert_eq!(publish(mixed), (vec![2, 3, 4, 4], false));
    assert_eq!(publish(vec![event(Some("a")), event(Some("c"))]), (vec![1, 4], true));
}

#[test]
fn a_key_has_its_time() {
    let gateway = with(&[("PUBLISH__IDEMPOTENCY_WINDOW", "1s")]).start();
    let body = r#"{"topic":"t","key":"k"}"#;
    let first = answer(gateway.publish(body));
    pause(Duration::from_millis(1050));
    let later = answer(gateway.publish(body));
    assert_ne!(first.0, later.0);
    assert!(!later.1);
}

#[test]
fn f46_more_keys_than_are_remembered_are_refused() {
    let gateway = with(&[("PUBLISH__IDEMPOTENCY_KEYS_MAX", "2")]).start();
    for key in ["1", "2"] {
        gateway.publish(&json!({"topic": "t", "key": key}).to_string()).expect_status(202);
    }
    let refused = gateway.publish(r#"{"topic":"t","key":"3"}"#);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect_refused(429, "key"), "too-many-keys");
    gateway.publish(r#"{"topic":"t"}"#).expect_status(202);
    assert!(answer(gateway.publish(r#"{"topic":"t","key":"1"}"#)).1);
}

#[test]
fn keys_are_checked() {
    let gateway = Gateway::start();
    for key in [String::new(), "x".repeat(257)] {
        let body = json!({"topic": "t", "key": key}).to_string();
        assert_eq!(gateway.publish(&body).expect_refused(400, "key"), "bad-key");
        let response = gateway.post("/topics/t", &[("idempotency-key", &key)], b"x");
        assert_eq!(response.expect_refused(400, "idempotency-key"), "bad-key");
    }
    let body = r#"{"topic":"t","key":"a"}"#;
    let headers = [("content-type", "application/json"), ("idempotency-key", "b")];
    let both = gateway.post("/publish", &headers, body.as_bytes());
    assert_eq!(both.expect_refused(400, "idempotency-key"), "two-keys");
    gateway.publish(&json!({"topic": "t", "key": "x".repeat(256)}).to_string()).expect_status(202);
}

#[test]
fn publishers_that_race_agree() {
    let gateway = Gateway::start();
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_hello();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let publish = || {
            let mut publisher = gateway.connect_internal();
            let headers = [("content-type", "application/json")];
            let bodies = (0..50).map(|n| format!(r#"{{"topic":"t","data":{n},"key":"{n}"}}"#));
            let post = |body: String| {
                answer(publisher.request("POST", "/publish", &headers, body.as_bytes())).0
            };
            bodies.map(post).collect::<Vec<_>>()
        };
        let publishers: Vec<_> = (0..4).map(|_| scope.spawn(publish)).collect();
        publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|other| *other == ids[0]), "{ids:?}");
    for n in 0..50 {
        subscriber.expect_data(&n.to_string());
    }
    subscriber.expect_silence(Duration::from_millis(50));
}
