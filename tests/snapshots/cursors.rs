//! The seam: who gets a snapshot, of which moment, and what follows it.

use std::time::Duration;

use crate::support::app::{App, answer, json};
use crate::support::{Gateway, pause};
use crate::{board, counting, expect_state, gateway, route};

#[test]
fn a_snapshot_for_all_is_of_its_own_moment_and_what_came_since_is_replayed() {
    let app = counting();
    let gateway = gateway(&app, "ttl = '1m'");
    let mut first = board(&gateway).open();
    first.expect_hello();
    let of = expect_state(&mut first, "1");
    let published: Vec<_> = (0..300)
        .map(|number: i32| gateway.topic("board.42").publish(&number.to_string()))
        .collect();
    for _ in 0..2 {
        let mut later = board(&gateway).open();
        assert_eq!(later.expect_hello().cursor, of);
        assert_eq!(expect_state(&mut later, "1"), of);
        for (number, id) in published.iter().enumerate() {
            assert_eq!(&later.expect_data(&number.to_string()).id, id);
        }
        let live = gateway.topic("board.42").publish("300");
        assert_eq!(later.expect_data("300").id, live);
        gateway.topic("board.7").publish("another board's");
        // The next one is replayed this too.
        if published.len() == 300 {
            break;
        }
    }
    assert_eq!(app.asked().len(), 1);
}

#[test]
fn a_snapshot_that_the_history_does_not_reach_back_to_is_fetched_anew() {
    let app = counting();
    let history = "[history]\nevents_max = 10\n";
    let config = format!("{}{history}", route(&app, "ttl = '1m'"));
    let gateway = Gateway::builder().config(&config).start();
    expect_state_of_new(&gateway, "1");
    for number in 0..10 {
        gateway.topic("board.42").publish(&number.to_string());
    }
    expect_state_of_new(&gateway, "1");
    gateway.topic("board.42").publish("one too many");
    expect_state_of_new(&gateway, "2");
    expect_state_of_new(&gateway, "2");
    assert_eq!(app.asked().len(), 2);
}

#[track_caller]
fn expect_state_of_new(gateway: &Gateway, state: &str) {
    let mut stream = board(gateway).open();
    stream.expect_hello();
    expect_state(&mut stream, state);
}

#[test]
fn an_answer_counts_for_its_ttl() {
    let app = counting();
    let gateway = gateway(&app, "ttl = '300ms'");
    expect_state_of_new(&gateway, "1");
    expect_state_of_new(&gateway, "1");
    pause(Duration::from_millis(400));
    expect_state_of_new(&gateway, "2");
}

#[test]
fn a_good_cursor_needs_no_snapshot_and_a_bad_one_gets_one_behind_the_gap() {
    let app = counting();
    let gateway = gateway(&app, "ttl = '0s'");
    let id = gateway.topic("board.42").publish("seen");
    gateway.topic("board.42").publish("missed");
    let mut back = board(&gateway).after(&id).open();
    assert!(back.expect_hello().resumed);
    back.expect_data("missed");
    assert_eq!(app.asked().len(), 0);

    let ahead = id.replace("-1", "-100");
    let cursors = [("0123456789ab-1", "epoch"), ("what?", "epoch"), (&*ahead, "ahead")];
    for (number, (cursor, reason)) in cursors.into_iter().enumerate() {
        let mut stream = board(&gateway).after(cursor).open();
        let hello = stream.expect_hello();
        assert!(!hello.resumed && hello.id.is_empty(), "{hello:?}");
        let gap = stream.expect_named("gap");
        assert!(gap.data.contains(&format!(r#""reason":"{reason}""#)), "{gap:?}");
        // To lose the stream now is to come back with the old cursor, and get this again.
        assert_eq!(gap.id, "");
        assert_eq!(expect_state(&mut stream, &(number + 1).to_string()), hello.cursor);
        let live = gateway.topic("board.42").publish("live");
        assert_eq!(stream.expect_data("live").id, live);
    }
}

#[test]
fn a_cursor_that_the_history_does_not_reach_back_to_gets_a_snapshot() {
    let app = counting();
    let config = format!("{}[history]\nevents_max = 2\n", route(&app, "ttl = '0s'"));
    let gateway = Gateway::builder().config(&config).start();
    let first = gateway.topic("board.42").publish("0");
    let later: Vec<_> =
        (1..5).map(|number: i32| gateway.topic("board.42").publish(&number.to_string())).collect();
    let mut stream = board(&gateway).after(&first).open();
    stream.expect_hello();
    let gap = stream.expect_named("gap");
    let expected =
        format!(r#"{{"after":"{first}","to":"{}","count":null,"reason":"expired"}}"#, later[3]);
    assert_eq!(gap.data, expected);
    assert_eq!(expect_state(&mut stream, "1"), later[3]);
    gateway.topic("board.42").publish("live");
    stream.expect_data("live");
}

#[test]
fn only_the_last_of_several_events_moves_the_cursor() {
    let app = App::new(|_| {
        let body = "{\"n\":1}\n\n  \n{\"n\":2}\r\n{\"n\":3}";
        answer("200 OK", &[("content-type", "application/x-ndjson; charset=utf-8")], body)
    });
    let gateway = gateway(&app, "");
    gateway.topic("board.42").publish("before");
    let mut stream = board(&gateway).open();
    let cursor = stream.expect_hello().cursor;
    assert_eq!(expect_state(&mut stream, r#"{"n":1}"#), "");
    assert_eq!(expect_state(&mut stream, r#"{"n":2}"#), "");
    assert_eq!(expect_state(&mut stream, r#"{"n":3}"#), cursor);
    assert_eq!(stream.last_event_id(), cursor);
}

#[test]
fn what_is_published_during_the_fetch_comes_behind_the_snapshot() {
    let app = App::new(|_| {
        pause(Duration::from_millis(400));
        json("slow")
    });
    let gateway = gateway(&app, "");
    let before = gateway.topic("board.42").publish("before");
    let asked = board(&gateway).ask();
    pause(Duration::from_millis(150));
    gateway.topic("board.42").publish("during");
    let mut stream = asked.open();
    assert_eq!(stream.expect_hello().cursor, before);
    assert_eq!(expect_state(&mut stream, "slow"), before);
    stream.expect_data("during");
    gateway.topic("board.42").publish("after");
    stream.expect_data("after");
}
