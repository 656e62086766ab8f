//! `/topics`: what the history holds, and how many streams get it. And the gateway as a whole.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Gateway, eventually};
use crate::{all_pages, texts, view};

#[test]
fn a_topic_is_shown_with_its_history_and_subscribers() {
    let gateway = Gateway::start();
    let unknown = json!({
        "topic": "a.1", "subscribers": 0, "events": 0, "bytes": 0, "first_id": null,
        "last_id": null, "retained": 0,
    });
    assert_eq!(view(&gateway, "/topics/a.1"), unknown);
    let queries = ["topic=a.1", "topic=a.*&topic=a.1", "topic=a.%3E", "topic=b"];
    let mut streams: Vec<_> = queries.iter().map(|query| gateway.subscribe(query)).collect();
    streams.iter_mut().for_each(|stream| drop(stream.expect_hello()));
    let first = gateway.topic("a.1").publish("one");
    let retained = r#"{"topic":"a.1","data":"two","retain":true}"#;
    let last = gateway.publish(retained).expect_status(202).json()["id"].clone();
    let shown = view(&gateway, "/topics/a.1");
    let bytes = shown["bytes"].as_u64().expect("a number");
    assert!((100..2000).contains(&bytes), "{shown}");
    let expected = json!({
        "topic": "a.1", "subscribers": 3, "events": 2, "bytes": bytes, "first_id": first,
        "last_id": last, "retained": 1,
    });
    assert_eq!(shown, expected);
    let list = view(&gateway, "/topics?prefix=a.");
    assert_eq!(list, json!({"topics": [expected], "next": null}));
    gateway.get("/topics/a.*").expect_problem(400);
    gateway.get("/topics/%ff").expect_problem(400);
}

#[test]
fn what_goes_to_everyone_is_a_topic_of_its_own() {
    let gateway = Gateway::start();
    let _streams = ["topic=a", "topic=b"].map(|query| gateway.subscribe(query));
    gateway.publish(r#"{"topic":"*","data":"x"}"#).expect_status(202);
    let list = view(&gateway, "/topics?prefix=*");
    assert_eq!(
        (&list["topics"][0]["topic"], &list["topics"][0]["events"]),
        (&json!("*"), &json!(1))
    );
    eventually("both streams to be open", || {
        (view(&gateway, "/topics?prefix=*")["topics"][0]["subscribers"] == 2).then_some(())
    });
}

#[test]
fn pages_have_every_topic_once_however_many_there_are() {
    let gateway = Gateway::start();
    let _all = gateway.subscribe("topic=%3E");
    let batch: Vec<Value> = (0..1500)
        .map(|at| json!({"topic": format!("{}.{at}", ["card", "list"][at % 2]), "data": "x"}))
        .collect();
    for part in batch.chunks(500) {
        gateway.publish(&Value::from(part).to_string()).expect_status(202);
    }
    for (query, expected) in [
        ("", 1501),
        ("prefix=card.&", 750),
        ("pattern=*.7&", 1),
        ("prefix=list.1&pattern=list.*&", 306),
    ] {
        let listed = all_pages(&gateway, &format!("/topics?{query}"), "topics", 83);
        let names: BTreeSet<_> = texts(&listed, "topic").into_iter().collect();
        assert_eq!((listed.len(), names.len()), (expected, expected), "{query}");
        let everybody_gets_it = |topic: &Value| topic["subscribers"] == 1;
        assert!(listed.iter().all(everybody_gets_it), "{query}");
    }
}

#[test]
fn the_gateway_as_a_whole_adds_up() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__SHARDS", "2").start();
    let mut streams: Vec<_> = (0..6).map(|_| gateway.topic("a").subscribe()).collect();
    streams.iter_mut().for_each(|stream| drop(stream.expect_hello()));
    let id = gateway.topic("a").publish("x");
    streams.iter_mut().for_each(|stream| drop(stream.expect_data("x")));
    let stats = eventually("six deliveries", || {
        Some(view(&gateway, "/stats")).filter(|stats| stats["counters"]["events_delivered"] == 6)
    });
    assert_eq!(stats["head"], id);
    assert_eq!(stats["counters"]["streams_http1"], 6);
    assert_eq!(stats["counters"]["events_published"], 1);
    let timed: u64 = stats["fanout"]["counts"].as_array().expect("a list").iter().map(as_u64).sum();
    assert_eq!(timed, 6);
    let bounds = stats["fanout"]["bounds_seconds"].as_array().expect("a list").len();
    assert_eq!(stats["fanout"]["counts"].as_array().expect("a list").len(), bounds + 1);

    let shards = view(&gateway, "/shards");
    let shards = shards["shards"].as_array().expect("a list");
    assert_eq!(shards.len(), 2);
    let open: u64 = shards.iter().map(|shard| as_u64(&shard["counters"]["streams_http1"])).sum();
    assert_eq!(open, 6);
    assert!(shards.iter().all(|shard| as_u64(&shard["silence_ms"]) < 5000), "{shards:?}");

    let limits = view(&gateway, "/limits");
    let connections = &limits["limits"][0];
    assert_eq!(
        (&connections["name"], &connections["used"]),
        (&json!("server.connections_max"), &json!(6))
    );
    assert!(as_u64(&connections["max"]) > 6);

    let version = view(&gateway, "/version");
    assert_eq!(
        (&version["version"], &version["shards"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!(2))
    );
    assert_eq!(version["durability"], "memory");
    assert!(id.starts_with(version["epoch"].as_str().expect("a text")));
}

fn as_u64(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}
