//! `/tail`: the events of a topic as they come, as JSON; what is missing is said.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Deadline, Gateway, pause};
use crate::view;

#[test]
fn a_tail_waits_for_what_comes_and_goes_on_where_it_was() {
    let gateway = Gateway::start();
    gateway.topic("a.1").publish("before");
    let (first, cursor) = thread::scope(|scope| {
        let waiting = scope.spawn(|| view(&gateway, "/tail?topic=a.*&wait=10s"));
        pause(Duration::from_millis(300));
        gateway.topic("b").publish("another's");
        let first = gateway.topic("a.1").publish_named("named", "one\ntwo");
        let answer = waiting.join().expect("an answer");
        assert_eq!(answer["gap"], Value::Null);
        let [event] = &answer["events"].as_array().expect("a list")[..] else {
            panic!("one event: {answer}")
        };
        assert_eq!(event["data"], "one\ntwo");
        assert_eq!((&event["event"], &event["topics"]), (&json!("named"), &json!(["a.1"])));
        (event["id"] == first, answer["cursor"].as_str().expect("a text").to_owned())
    });
    assert!(first);
    let ids: Vec<_> = (0..5).map(|at| gateway.topic("a.2").publish(&at.to_string())).collect();
    let answer = view(&gateway, &format!("/tail?topic=a.*&after={cursor}&limit=3"));
    assert_eq!(answer["events"].as_array().expect("a list").len(), 3);
    let cursor = answer["cursor"].as_str().expect("a text");
    let rest = view(&gateway, &format!("/tail?topic=a.*&after={cursor}&limit=3"));
    let read = |answer: &Value| -> Vec<String> {
        let events = answer["events"].as_array().expect("a list");
        events.iter().map(|event| event["id"].as_str().expect("a text").to_owned()).collect()
    };
    assert_eq!([read(&answer), read(&rest)].concat(), ids);
    // By an event's id too.
    assert_eq!(read(&view(&gateway, &format!("/tail?topic=a.*&after={}", ids[3]))), ids[4..]);
}

#[test]
fn a_tail_without_news_ends_after_its_wait() {
    let gateway = Gateway::start();
    let begun = Instant::now();
    let answer = view(&gateway, "/tail?topic=a&wait=400ms");
    assert_eq!((&answer["events"], &answer["gap"]), (&json!([]), &Value::Null));
    assert!((350..3000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[test]
fn a_tail_is_told_once_of_what_it_missed() {
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "4").start();
    let ids: Vec<_> = (0..10).map(|at| gateway.topic("a").publish(&at.to_string())).collect();
    let before = ids[0].replace("-1", "-0");
    let answer = view(&gateway, &format!("/tail?topic=a&after={before}"));
    let gap = json!({"after": before, "to": ids[5], "count": 6, "reason": "expired"});
    assert_eq!(answer["gap"], gap);
    assert_eq!(answer["events"].as_array().expect("a list").len(), 4);
    let cursor = answer["cursor"].as_str().expect("a text");
    let next = view(&gateway, &format!("/tail?topic=a&after={cursor}"));
    assert_eq!((&next["events"], &next["gap"]), (&json!([]), &Value::Null));

    for (after, reason) in
        [("000000000000-5".to_owned(), "epoch"), (ids[9].replace("-10", "-99"), "ahead")]
    {
        let answer = view(&gateway, &format!("/tail?topic=a&after={after}"));
        assert_eq!(
            (&answer["gap"]["reason"], &answer["gap"]["to"]),
            (&json!(reason), &json!(ids[9]))
        );
        let cursor = answer["cursor"].as_str().expect("a text");
        assert_eq!(view(&gateway, &format!("/tail?topic=a&after={cursor}"))["gap"], Value::Null);
    }
}

#[test]
fn a_gap_is_told_once_although_older_events_come_behind_it() {
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "2").start();
    // Topics forget at different times: the first event is still there, and later ones are gone.
    let first = gateway.topic("a").publish("quiet");
    let ids: Vec<_> = (0..6).map(|at| gateway.topic("b").publish(&at.to_string())).collect();
    let answer =
        view(&gateway, &format!("/tail?topic=*&limit=1&after={}", first.replace("-1", "-0")));
    assert_eq!((&answer["gap"]["to"], &answer["events"][0]["id"]), (&json!(ids[3]), &json!(first)));
    let cursor = answer["cursor"].as_str().expect("a text");
    let next = view(&gateway, &format!("/tail?topic=*&after={cursor}"));
    assert_eq!((&next["gap"], &next["events"][0]["id"]), (&Value::Null, &json!(ids[4])));
}

#[test]
fn a_tail_of_everything_costs_publishers_and_subscribers_no_event() {
    let gateway = Gateway::start();
    let mut stream = gateway.topic("a").subscribe();
    stream.expect_hello();
    thread::scope(|scope| {
        let tail = scope.spawn(|| {
            let (mut seen, mut cursor) = (0, String::new());
            let deadline = Deadline::patient();
            while seen < 500 && deadline.left().is_some() {
                let path = format!("/tail?topic=%3E&wait=5s&limit=50&after={cursor}");
                let answer = view(&gateway, &path);
                assert_eq!(answer["gap"], Value::Null);
                seen += answer["events"].as_array().expect("a list").len();
                answer["cursor"].as_str().expect("a text").clone_into(&mut cursor);
            }
            seen
        });
        pause(Duration::from_millis(300));
        for at in 0..500 {
            gateway.topic("a").publish(&at.to_string());
        }
        assert_eq!(tail.join().expect("a tail"), 500);
    });
    for at in 0..500 {
        stream.expect_data(&at.to_string());
    }
}

#[test]
fn tails_are_bounded() {
    let gateway = Gateway::start();
    let mut waiting: Vec<_> = (0..64).map(|_| gateway.connect_internal()).collect();
    for tail in &mut waiting {
        tail.send_request("GET", "/tail?topic=a&wait=20s", &[], b"");
    }
    crate::support::eventually("64 to wait", || {
        let limits = view(&gateway, "/limits");
        let limits = limits["limits"].as_array().expect("a list");
        let tails = limits.iter().find(|limit| limit["name"] == "tails").expect("it is there");
        (tails["used"] == 64).then_some(())
    });
    gateway.get("/tail?topic=a").expect_problem(503);
    // Who leaves makes room.
    drop(waiting.pop());
    crate::support::eventually("there to be room", || {
        (gateway.get("/tail?topic=a").status == 200).then_some(())
    });
}
