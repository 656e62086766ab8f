//! What becomes of a stream when the app server gives no snapshot, and where it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::app::{App, answer, json};
use crate::support::{Gateway, Response, pause};
use crate::{board, expect_state, gateway, route};

#[track_caller]
fn refused(answered: String, keys: &str) -> Response {
    let app = App::new(move |_| answered.clone());
    let gateway = gateway(&app, keys);
    let response = board(&gateway).response();
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
    response
}

#[test]
fn an_answer_of_no_use_is_a_502_that_says_why() {
    let plain = [("content-type", "text/plain")];
    let stream = [("content-type", "text/event-stream")];
    let gzip = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (answered, why) in [
        (answer("500 Oh", &[], "secret"), "it is 500 Internal Server Error, and not 200"),
        (answer("200 OK", &plain, "x"), "its content-type is \"text/plain\""),
        (answer("200 OK", &gzip, "x"), "it is compressed"),
        (json(&"x".repeat(2000)), "it has more than 1000 bytes"),
        (answer("200 OK", &stream, "event: hello\ndata: x\n\n"), "an event is named \"hello\""),
        ("nonsense\r\n\r\n".into(), "no answer"),
        (String::new(), "no answer"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into(), "its answer broke off"),
    ] {
        let response = refused(answered, "bytes_max = 1000");
        let detail = response.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(detail.contains(why) && !detail.contains("secret"), "{detail:?}, not {why:?}");
        response.expect_whole_problem(502);
    }
    let slow = App::new(|_| {
        pause(Duration::from_secs(1));
        json("late")
    });
    let gateway = gateway(&slow, "timeout = '200ms'");
    assert_eq!(board(&gateway).response().expect_whole_problem(504), "upstream-timeout");
}

#[test]
fn f30_a_snapshot_comes_from_the_url_itself_or_not_at_all() {
    let elsewhere = App::new(|_| json("elsewhere"));
    let location = format!("{}/api/boards/42/state", elsewhere.url());
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let response = refused(answer(status, &[("location", &location)], ""), "");
        let detail = response.json()["detail"].to_string();
        assert!(detail.contains("set `url` to where it redirects to"), "{detail}");
        assert_eq!(response.expect_whole_problem(502), "bad-upstream");
    }
    let app = App::new(|_| json("here"));
    let gateway = gateway(&app, "");
    for value in ["%2e%2e", "a%2Fb", "a%3Fx=1", "@evil", "a%0d%0ab", "%25%32%65", "a%23b"] {
        let target = format!("/boards/{value}/events");
        let stream = gateway.subscriber("").target(&target);
        // What is no part of a topic is refused before anybody is asked.
        if value.contains("%2e") || value.contains("%0d") {
            assert_eq!(stream.response().expect_refused(400, "boardId"), "bad-parameter");
            continue;
        }
        stream.header("x-forwarded-host", "evil").open().expect_hello();
    }
    for request in app.asked() {
        let target = request.line.split(' ').nth(1).expect("a target");
        let value =
            target.strip_prefix("/api/boards/").and_then(|rest| rest.strip_suffix("/state"));
        let value = value.unwrap_or_else(|| panic!("{target}"));
        assert!(!value.contains(['/', '?', '#', '@']), "{target}");
        assert_eq!(request.header("host"), Some(&app.url()["http://".len()..]));
    }
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn what_an_app_denies_is_the_clients_answer() {
    let login = [("content-type", "application/json"), ("www-authenticate", "Bearer realm=\"b\"")];
    let cookie = [("set-cookie", "theirs=1")];
    for (status, fields) in [("401 No", &login[..]), ("403 No", &cookie[..]), ("404 No", &[])] {
        // Whatever else is to happen when it fails: this is no failure.
        let response = refused(answer(status, fields, "{\"why\":1}"), "on_failure = 'skip'");
        assert_eq!(response.status.to_string(), status[..3]);
        assert_eq!(response.text(), "{\"why\":1}");
        let is_login = status == "401 No";
        assert_eq!(response.header("www-authenticate").is_some(), is_login);
        assert_eq!(response.header("content-type").is_some(), is_login);
        assert_eq!(response.header("set-cookie"), None);
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn a_failing_app_can_be_left_out_or_waited_for() {
    let works = Arc::new(AtomicBool::new(false));
    let working = Arc::clone(&works);
    let app = App::new(move |_| match working.load(Ordering::Relaxed) {
        true => json("fine"),
        false => answer("503 Busy", &[], ""),
    });
    let skipping = gateway(&app, "on_failure = 'skip'");
    let mut stream = board(&skipping).open();
    let hello = stream.expect_hello();
    assert_eq!(hello.id, hello.cursor);
    skipping.topic("board.42").publish("live");
    stream.expect_data("live");

    let retrying = gateway(&app, "on_failure = 'retry'");
    let mut told = board(&retrying).open();
    assert_eq!(told.expect_hello().id, "", "the cursor stays where it was");
    told.expect_closed();
    assert!(told.retry_ms().is_some());
    retrying.expect_metric("tidegate_streams_closed_total", &[("reason", "shed")], 1.0);
    works.store(true, Ordering::Relaxed);
    let mut back = board(&retrying).open();
    back.expect_hello();
    expect_state(&mut back, "fine");
}

#[test]
fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let app = App::new(|_| {
        pause(Duration::from_millis(300));
        answer("500 Oh", &[], "")
    });
    let gateway = gateway(&app, "ttl = '1m'");
    let asked: Vec<_> = (0..50).map(|_| board(&gateway).ask()).collect();
    for asked in asked {
        assert_eq!(asked.response().expect_whole_problem(502), "bad-upstream");
    }
    assert_eq!(app.asked().len(), 1);
    board(&gateway).response().expect_whole_problem(502);
    assert_eq!(app.asked().len(), 2);
}

#[test]
fn who_waits_and_how_many_are_asked_at_once_is_bounded() {
    let app = App::new(|_| {
        pause(Duration::from_millis(400));
        json("x")
    });
    let bounds = "[hooks]\nfetches_max = 2\nwaiting_max = 4\n";
    let config = format!("{}{bounds}", route(&app, "ttl = '0s'"));
    let gateway = Gateway::builder().config(&config).start();
    let began = Instant::now();
    let of_user = |user: u32| board(&gateway).header("cookie", &user.to_string());
    let asked: Vec<_> = (0..4).map(|user| of_user(user).ask()).collect();
    pause(Duration::from_millis(100));
    assert_eq!(of_user(5).response().expect_whole_problem(503), "upstream-busy");
    for asked in asked {
        asked.open().expect_hello();
    }
    assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
    of_user(6).open().expect_hello();
}

#[test]
fn a_route_that_makes_no_sense_is_refused_by_name() {
    for (keys, why) in [
        (
            "[stream.routes.auth]\nurl = 'http://a/{x}'",
            "auth.url` has {x}, which is not in the path",
        ),
        ("[stream.routes.auth]\nurl = 'http://a'\ntimeout = '0s'", "auth.timeout` is 0s"),
        ("headers = ['tidegate-topics']", "has \"tidegate-topics\", which is not a client's"),
        ("bytes_max = '64MiB'", "snapshot.bytes_max` is 64MiB; it must be 1B to a quarter"),
        ("timeout = '0s'", "snapshot.timeout` is 0s; it must be at least 1ms"),
        ("headers = ['host']", "snapshot.headers` has \"host\", which is not a client's"),
        ("on_failure = 'ignore'", "expected one of `fail`, `skip`, `retry`"),
        ("ttl = '1s'\n[stream.routes.control]\nend = 'state'", "is a control event on this route"),
    ] {
        let app = App::new(|_| json("x"));
        let (_, said) = Gateway::builder().config(&route(&app, keys)).expect_refusal();
        assert!(said.contains(why), "{said}");
    }
    let url =
        "[[stream.routes]]\npath = '/a'\ntopics = ['a']\nsnapshot = { url = 'http://a/{x}' }\n";
    let (_, said) = Gateway::builder().config(url).expect_refusal();
    assert!(said.contains("snapshot.url` has {x}, which is not in the path"), "{said}");
}
