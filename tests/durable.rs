//! The log on disk: what was acknowledged is there after the process is gone, under the id it was given,
//! and who comes back notices nothing but the break.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{Builder, Gateway, Subscriber, run_cli};

/// A gateway with its log in this folder.
fn with_log(folder: &Path, fsync: &str) -> Builder {
    let path = folder.join("log");
    Gateway::builder()
        .env("TIDEGATE__HISTORY__STORE", "disk")
        .env("TIDEGATE__HISTORY__PATH", path.to_str().expect("UTF-8"))
        .env("TIDEGATE__HISTORY__FSYNC", fsync)
        .env("TIDEGATE__HISTORY__EVENTS_MAX", "100000")
        .env("TIDEGATE__HISTORY__LOG_SEGMENT_BYTES", "32MiB")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder for a log")
}

/// Ends the process as a crash would.
fn crash(mut gateway: Gateway) {
    gateway.kill();
    gateway.wait();
}

#[track_caller]
fn resume(gateway: &Gateway, query: &str, cursor: &str) -> Subscriber {
    let mut subscriber = gateway.subscriber(query).after(cursor).open();
    let hello = subscriber.expect_hello();
    assert!(hello.resumed, "{hello:?}");
    subscriber
}

fn parts(id: &str) -> (&str, u64) {
    let (epoch, seq) = id.split_once('-').expect("an id");
    (epoch, seq.parse().expect("a number"))
}

#[test]
fn f79_what_was_acknowledged_survives_kill_9() {
    for fsync in ["always", "50ms"] {
        let folder = folder();
        let gateway = with_log(folder.path(), fsync).start();
        let mut subscriber = gateway.subscribe("topic=t");
        subscriber.expect_hello();
        let seen = gateway.topic("t").publish("seen");
        assert_eq!(subscriber.expect_data("seen").id, seen);
        let missed = gateway.topic("t").publish("missed");
        gateway.topic("other").publish("not asked for");
        crash(gateway);

        let gateway = with_log(folder.path(), fsync).start();
        gateway.expect_log("the event log is read");
        let mut back = resume(&gateway, "topic=t", &seen);
        assert_eq!(back.expect_data("missed").id, missed);
        let new = gateway.topic("t").publish("new");
        assert_eq!(back.expect_data("new").id, new);
        assert_eq!((parts(&new).0, parts(&new).1), (parts(&seen).0, 4), "no id is given twice");
    }
}

#[test]
fn an_answer_says_what_it_is_worth() {
    for (fsync, durability) in [("always", "synced"), ("100ms", "buffered")] {
        let folder = folder();
        let gateway = with_log(folder.path(), fsync).start();
        let answer = gateway.publish(r#"{"topic":"t"}"#).expect_status(202).json();
        assert_eq!(answer["durability"], durability);
    }
}

#[test]
fn values_and_keys_survive_too() {
    let folder = folder();
    let gateway = with_log(folder.path(), "50ms").start();
    let value = r#"{"topic":"door","event":"state","data":"open","retain":true}"#;
    gateway.publish(value).expect_status(202);
    gateway.publish(r#"{"topic":"gone","data":"x","retain":true}"#).expect_status(202);
    gateway.publish(r#"{"topic":"gone","data":"","retain":true}"#).expect_status(202);
    let keyed = r#"{"topic":"t","data":"paid","key":"order-7"}"#;
    let first = gateway.publish(keyed).expect_status(202).json();
    let headers = [("content-type", "application/json"), ("idempotency-key", "r-1")];
    let batch = br#"[{"topic":"t"},{"topic":"t"}]"#;
    let of_batch = gateway.post("/publish", &headers, batch).expect_status(202).json();
    crash(gateway);

    let gateway = with_log(folder.path(), "50ms").start();
    let mut new = gateway.subscribe("topic=door&topic=gone");
    new.expect_hello();
    assert_eq!(new.expect_named("state").data, "open");
    let again = gateway.publish(keyed).expect_status(202).json();
    assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &Value::Bool(true)));
    let again = gateway.post("/publish", &headers, batch).expect_status(202).json();
    assert_eq!((&again["ids"], &again["duplicate"]), (&of_batch["ids"], &Value::Bool(true)));
    gateway.topic("door").publish("live");
    new.expect_data("live");
}

/// Publishes until the log's oldest file is gone.
fn fill_until_trimmed(gateway: &Gateway, folder: &Path) {
    let files = || {
        let names = fs::read_dir(folder.join("log"))
            .expect("the log")
            .map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
        names.filter(|name| name.ends_with(".log")).min()
    };
    let oldest = files();
    let event = "x".repeat(60_000);
    support::eventually("the oldest file goes", || {
        gateway.topic("fill").publish(&event);
        (files() != oldest).then_some(())
    });
}

#[test]
fn f79_values_outlive_the_files_that_their_records_were_in() {
    let folder = folder();
    let start = || {
        with_log(folder.path(), "50ms")
            .env("TIDEGATE__HISTORY__LOG_SEGMENT_BYTES", "1MiB")
            .env("TIDEGATE__HISTORY__LOG_BYTES_MAX", "2MiB")
            .env("TIDEGATE__PUBLISH__BODY_BYTES_MAX", "128KiB")
            .start()
    };
    let gateway = start();
    let publish = |gateway: &Gateway, json| gateway.publish(json).expect_status(202).json();
    let door = publish(&gateway, r#"{"topic":"door","event":"state","data":"open","retain":true}"#);
    publish(&gateway, r#"{"topic":["one","other"],"data":"of both","retain":true}"#);
    publish(&gateway, r#"{"topic":"removed","data":"before","retain":true}"#);
    publish(&gateway, r#"{"topic":"passing","data":"x","retain":true,"ttl":1}"#);
    fill_until_trimmed(&gateway, folder.path());
    // What happens to a value after its record is gone counts, also when that record is gone too.
    publish(&gateway, r#"{"topic":"removed","data":"","retain":true}"#);
    publish(&gateway, r#"{"topic":"other","data":"of one","retain":true}"#);
    publish(&gateway, r#"{"topic":"other","data":"","retain":true}"#);
    crash(gateway);
    let gateway = start();
    for _ in 0..3 {
        fill_until_trimmed(&gateway, folder.path());
    }
    crash(gateway);

    let verify = run_cli(&["log", "verify", folder.path().join("log").to_str().expect("UTF-8")]);
    let said = String::from_utf8_lossy(&verify.stdout);
    assert!(verify.status.success() && said.contains(", 2 values, "), "{said}");
    let gateway = start();
    let mut new = gateway.subscribe("topic=door&topic=one&topic=other&topic=removed&topic=passing");
    new.expect_hello();
    let value = new.expect_named("state");
    assert_eq!((value.data.as_str(), &value.id.into()), ("open", &door["id"]));
    new.expect_data("of both");
    let live = gateway.topic("other").publish("live");
    assert_eq!(new.expect_data("live").id, live);
    // It is a value only: who comes back from before is told that there was more.
    let mut back =
        gateway.subscriber("topic=door").after(door["id"].as_str().expect("an id")).open();
    assert!(!back.expect_hello().resumed);
    back.expect_gap();
}

#[test]
fn an_orderly_end_leaves_a_log_without_a_fault() {
    let folder = folder();
    let mut gateway = with_log(folder.path(), "1m").start();
    let ids: Vec<_> = (0..100).map(|n| gateway.topic("t").publish(&n.to_string())).collect();
    gateway.terminate();
    assert!(gateway.wait().success());
    let verify = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["log", "verify"])
        .arg(folder.path().join("log"))
        .output()
        .expect("the command runs");
    assert!(verify.status.success(), "{}", String::from_utf8_lossy(&verify.stdout));
    let gateway = with_log(folder.path(), "1m").start();
    let mut back = resume(&gateway, "topic=t", &ids[49]);
    for n in 50..100 {
        back.expect_data(&n.to_string());
    }
}

#[test]
fn f66_damage_in_the_log_is_a_gap_for_who_comes_back() {
    let folder = folder();
    let mut gateway = with_log(folder.path(), "50ms").start();
    let ids: Vec<_> = (0..200).map(|n| gateway.topic("t").publish(&n.to_string())).collect();
    gateway.terminate();
    gateway.wait();
    let file = folder.path().join("log/0000000001.log");
    let mut bytes = fs::read(&file).expect("the log's first file");
    // The file is longer than what was written: its rest is reserved.
    let written = bytes.iter().rposition(|&byte| byte != 0).expect("a log");
    bytes[written / 2] ^= 0x10;
    fs::write(&file, bytes).expect("the log's first file");

    let gateway = with_log(folder.path(), "50ms").start();
    gateway.expect_log("damaged from here on");
    let mut back = gateway.subscriber("topic=t").after(&ids[9]).open();
    assert!(!back.expect_hello().resumed);
    let gap = back.expect_named("gap");
    let data: Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!((&data["reason"], &data["count"]), (&"corrupt".into(), &Value::Null));
    assert_eq!(data["after"], *ids[9]);
    // What was before the damage is there, unchanged; what was after it, nobody is given.
    let mut next = 10;
    let new = gateway.topic("t").publish("new");
    loop {
        let event = back.expect_event();
        if event.id == new {
            assert_eq!(event.data, "new");
            break;
        }
        assert_eq!((&event.id, event.data), (&ids[next], next.to_string()));
        next += 1;
    }
    assert!((20..180).contains(&next), "{next} events were left");
    assert!(parts(&new).1 > parts(data["to"].as_str().expect("an id")).1);
    assert!(parts(&new).1 > parts(&ids[199]).1, "no id is given twice");
    // Who has everything after the damage is told nothing.
    let mut prompt = gateway.subscriber("topic=t").after(&new).open();
    assert!(prompt.expect_hello().resumed);
}

#[test]
fn f67_a_second_process_on_the_same_log_is_refused() {
    let folder = folder();
    let _first = with_log(folder.path(), "always").start();
    let (status, said) = with_log(folder.path(), "always").expect_refusal();
    assert!(!status.success());
    assert!(said.contains("history.path"), "{said}");
    assert!(said.contains(folder.path().to_str().expect("UTF-8")), "{said}");
}

#[test]
fn a_log_without_a_folder_is_refused_with_the_way_out() {
    let (status, said) =
        Gateway::builder().env("TIDEGATE__HISTORY__STORE", "disk").expect_refusal();
    assert!(!status.success());
    assert!(said.contains("history.path"), "{said}");
}

/// Published by one thread until the process is killed: what was answered, in order.
fn publish_until_killed(gateway: &Gateway, round: usize) -> Vec<(String, String)> {
    let mut ledger = Vec::new();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut answered = Vec::new();
            let mut publisher = gateway.connect_internal();
            for n in 0.. {
                let data = format!("{round}.{n}");
                let body = format!(r#"[{{"topic":"t","data":"{data}"}},{{"topic":"u"}}]"#);
                let headers = [("content-type", "application/json")];
                let attempt = std::panic::AssertUnwindSafe(|| {
                    publisher.request("POST", "/publish", &headers, body.as_bytes())
                });
                // The connection breaks when the process is killed.
                let Ok(response) = std::panic::catch_unwind(attempt) else { return answered };
                if response.status != 202 {
                    return answered;
                }
                let id = response.json()["ids"][0].as_str().expect("an id").to_owned();
                answered.push((id, data));
            }
            answered
        });
        support::pause(std::time::Duration::from_millis(20 + (round as u64 * 37) % 80));
        gateway.kill();
        ledger = publisher.join().expect("the publisher ends");
    });
    ledger
}

/// `KILL_ROUNDS=300` for the whole of it.
#[test]
fn f79_no_acknowledged_event_is_lost_by_kill_9_under_load() {
    let rounds = std::env::var("KILL_ROUNDS").map_or(6, |text| text.parse().expect("a number"));
    let folder = folder();
    let start = {
        let gateway = with_log(folder.path(), "always").start();
        let start = gateway.topic("t").publish("start");
        crash(gateway);
        start
    };
    let mut ledger: Vec<(String, String)> = Vec::new();
    for round in 0..rounds {
        let fsync = if round % 2 == 0 { "always" } else { "20ms" };
        let mut gateway = with_log(folder.path(), fsync).start();
        let last = ledger.last().map_or(&start, |(id, _)| id).clone();
        let answered = publish_until_killed(&gateway, round);
        gateway.wait();
        for (id, _) in &answered {
            assert!(parts(id).1 > parts(&last).1, "{id} was given before: round {round}");
        }
        ledger.extend(answered);

        // Every acknowledged event is there once; what was on its way may be there too.
        let from = ledger.len().saturating_sub(2_000);
        let cursor = from.checked_sub(1).map_or(&start, |before| &ledger[before].0).clone();
        let gateway = with_log(folder.path(), fsync).start();
        let mut back = resume(&gateway, "topic=t", &cursor);
        for (id, data) in &ledger[from..] {
            loop {
                let event = back.expect_event();
                if event.id == *id {
                    assert_eq!(event.data, *data);
                    break;
                }
                assert!(
                    parts(&event.id).1 < parts(id).1,
                    "{id} is missing in round {round}: got {event:?}"
                );
            }
        }
        crash(gateway);
    }
    assert!(ledger.len() > rounds * 5, "{} events in {rounds} rounds", ledger.len());
}
