//! Forward auth: the app server decides who has a stream, of what, and until when; what it takes back
//! ends. The app of these tests knows its users by a cookie.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::app::{App, answer, json};
use support::{Gateway, Request, Subscribe, eventually, http, pause};

/// Boards with forward auth, and a path whose clients name their topics.
fn config(app: &App, keys: &str) -> String {
    let auth = |path: &str| format!("[stream.routes.auth]\nurl = '{}{path}'\n{keys}\n", app.url());
    format!(
        "[[stream.routes]]\npath = '/boards/{{boardId}}/events'\ntopics = ['board.{{boardId}}']\n{}\
         [[stream.routes]]\npath = '/events'\ntopics_from_query = true\n{}",
        auth("/auth/{boardId}"),
        auth("/auth")
    )
}

fn gateway(app: &App, keys: &str) -> Gateway {
    Gateway::builder().config(&config(app, keys)).start()
}

fn board(gateway: &Gateway, user: &str) -> Subscribe {
    gateway.subscriber("").target("/boards/42/events").header("cookie", user)
}

/// Lets everybody in, with these fields.
fn grants(fields: &'static [(&'static str, &'static str)]) -> App {
    App::new(move |_| answer("204 Yes", fields, ""))
}

fn user(request: &Request) -> &str {
    request.header("cookie").unwrap_or("nobody")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

#[track_caller]
fn revoke(gateway: &Gateway, session: &str) -> u64 {
    let answered = http("DELETE", gateway.internal, &format!("/sessions/{session}"), &[], b"");
    answered.expect_status(200).json()["ended"].as_u64().expect("a number")
}

#[test]
fn the_app_is_asked_with_the_clients_credentials_and_its_no_is_the_answer() {
    let login = [("content-type", "application/json"), ("www-authenticate", "Cookie")];
    let app = App::new(move |request| match user(request) {
        "anna" => answer("200 OK", &[], "ignored"),
        "bob" => answer("403 Forbidden", &login[..1], "{\"why\":\"no member\"}"),
        "broken" => answer("500 Oh", &[], "secret"),
        "lost" => answer("302 Found", &[("location", "/login")], ""),
        _ => answer("401 Unauthorized", &login, "{\"why\":\"log in\"}"),
    });
    let gateway = gateway(&app, "");
    let mut stream = board(&gateway, "anna").header("x-other", "1").open();
    stream.expect_hello();
    gateway.topic("board.42").publish("hers");
    stream.expect_data("hers");
    let asked = app.asked();
    assert_eq!(asked[0].line, "GET /auth/42 HTTP/1.1");
    assert_eq!(asked[0].header("cookie"), Some("anna"));
    assert_eq!(asked[0].header("tidegate-topics"), Some("board.42"));
    assert_eq!(asked[0].header("x-other"), None);

    let no = gateway.subscriber("").target("/boards/42/events").response();
    assert_eq!((no.status, no.text()), (401, "{\"why\":\"log in\"}"));
    assert_eq!(no.header("www-authenticate"), Some("Cookie"));
    assert_eq!(no.header("cache-control"), Some("no-store"));
    let no = board(&gateway, "bob").response();
    assert_eq!((no.status, no.text()), (403, "{\"why\":\"no member\"}"));
    for user in ["broken", "lost"] {
        let failed = board(&gateway, user).response();
        assert!(!failed.text().contains("secret"));
        assert_eq!(failed.expect_whole_problem(502), "bad-upstream", "{user}");
    }
    for (result, count) in [("granted", 1.0), ("denied", 2.0), ("failed", 2.0)] {
        gateway.expect_metric("tidegate_auth_requests_total", &[("result", result)], count);
    }
    for (reason, count) in [("denied", 2.0), ("failed", 2.0), ("busy", 0.0)] {
        gateway.expect_metric("tidegate_auth_failures_total", &[("reason", reason)], count);
    }
    gateway.expect_metric("tidegate_subscribers", &[], 1.0);
}

#[test]
fn the_app_sees_which_topics_are_asked_for_and_says_which_are_had() {
    let app = App::new(|request| {
        let asked = request.header("tidegate-topics").unwrap_or_default().to_owned();
        match user(request) {
            "as-asked" => answer("200 OK", &[("tidegate-topics", &asked)], ""),
            _ => answer("200 OK", &[("tidegate-topics", "own.%C3%A9%2Ca, agents.*")], ""),
        }
    });
    let gateway = gateway(&app, "");
    let open = |user: &str, query: &str| {
        let mut stream = gateway.subscriber(query).header("cookie", user).open();
        stream.expect_hello();
        stream
    };
    let mut as_asked = open("as-asked", "topic=b.*&topic=a%2Cb&topic=%C3%A9");
    let mut own = open("other", "topic=secret");
    for topic in ["secret", "a,b", "own.é,a", "b.1", "agents.x", "é"] {
        gateway.topic(topic).publish(topic);
    }
    for topic in ["a,b", "b.1", "é"] {
        as_asked.expect_data(topic);
    }
    for topic in ["own.é,a", "agents.x"] {
        own.expect_data(topic);
    }
    assert_eq!(app.asked()[0].header("tidegate-topics"), Some("a%2Cb, %C3%A9, b.*"));
}

#[test]
fn f13_what_is_replayed_is_of_the_topics_that_the_app_grants() {
    let app = grants(&[("tidegate-topics", "mine")]);
    let gateway = gateway(&app, "");
    let first = gateway.topic("mine").publish("1");
    gateway.topic("board.42").publish("not mine");
    gateway.topic("mine").publish("2");
    let mut stream = board(&gateway, "anna").after(&first).open();
    assert!(stream.expect_hello().resumed);
    stream.expect_data("2");
    stream.expect_silence(Duration::from_millis(100));
}

#[test]
fn a_yes_counts_for_its_ttl_and_for_the_same_credentials_and_topics() {
    let count = AtomicUsize::new(0);
    let app = App::new(move |_| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", &[("tidegate-metadata", &number.to_string())], "")
    });
    let gateway = gateway(&app, "ttl = '500ms'");
    let metadata = |stream: &Subscribe| {
        let hello = stream.open().expect_named("hello").data;
        let hello: serde_json::Value = serde_json::from_str(&hello).expect("JSON");
        hello["metadata"].as_u64().expect("a number")
    };
    let anna = board(&gateway, "anna");
    assert_eq!((metadata(&anna), metadata(&anna)), (0, 0));
    assert_eq!(metadata(&board(&gateway, "bob")), 1);
    assert_eq!(metadata(&anna.clone().target("/boards/7/events")), 2);
    assert_eq!(metadata(&gateway.subscriber("topic=x").header("cookie", "anna")), 3);
    pause(Duration::from_millis(600));
    assert_eq!(metadata(&anna), 4);
}

#[test]
fn f56_a_stream_ends_when_what_let_it_in_is_over() {
    let app = App::new(|_| {
        let expires = (now() + 2).to_string();
        answer("200 OK", &[("tidegate-expires", &expires), ("tidegate-session", "s")], "")
    });
    let gateway = gateway(&app, "ttl = '1m'");
    let began = Instant::now();
    let mut stream = board(&gateway, "anna").open();
    stream.expect_hello();
    gateway.topic("board.42").publish("still");
    stream.expect_data("still");
    stream.expect_end("auth_expired");
    stream.expect_closed();
    let lived = began.elapsed();
    assert!((900..3500).contains(&lived.as_millis()), "{lived:?}");
    // Nor does the kept decision count any more; a stream ends up to a tick before.
    pause(Duration::from_millis(100));
    board(&gateway, "anna").open().expect_hello();
    assert_eq!(app.asked().len(), 2);
    let ended = [("reason", "auth_expired")];
    gateway.expect_metric("tidegate_streams_closed_total", &ended, 1.0);
}

#[test]
fn f57_a_revoked_sessions_streams_are_closed_on_every_shard() {
    let app = App::new(|request| {
        let session = user(request).trim_end_matches(char::is_numeric).to_owned();
        answer("200 OK", &[("tidegate-session", &session)], "")
    });
    let config = format!("{}[server]\nshards = 4\n", config(&app, "ttl = '1m'"));
    let gateway = Gateway::builder().config(&config).start();
    let mut of_anna: Vec<_> =
        (0..40).map(|tab| board(&gateway, &format!("anna{tab}")).open()).collect();
    let mut of_bob = board(&gateway, "bob").open();
    of_anna.iter_mut().chain([&mut of_bob]).for_each(|stream| drop(stream.expect_hello()));
    gateway.expect_metric("tidegate_subscribers", &[], 41.0);
    let asked = app.asked().len();
    let began = Instant::now();
    assert_eq!(revoke(&gateway, "anna"), 40);
    for stream in &mut of_anna {
        stream.expect_end("revoked");
        stream.expect_closed();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    gateway.topic("board.42").publish("goes on");
    of_bob.expect_data("goes on");
    // What was decided before does not count any more; what is decided now does.
    board(&gateway, "anna0").open().expect_hello();
    board(&gateway, "bob").open().expect_hello();
    assert_eq!(app.asked().len(), asked + 1);
    assert_eq!(revoke(&gateway, "nobody"), 0);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "revoked")], 40.0);
}

#[test]
fn f57_a_revocation_while_the_app_decides_is_not_overtaken() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = App::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        pause(Duration::from_millis(500));
        answer("200 OK", &[("tidegate-session", "a/b c")], "")
    });
    let gateway = gateway(&app, "ttl = '1m'");
    let asked = board(&gateway, "anna").ask();
    eventually("the app to be asked", || (count.load(Ordering::SeqCst) == 1).then_some(()));
    // It has said yes in its mind, and then it takes that back.
    assert_eq!(revoke(&gateway, "a%2Fb%20c"), 0);
    let mut stream = asked.open();
    stream.expect_hello();
    stream.expect_end("revoked");
    stream.expect_closed();
    let mut later = board(&gateway, "anna").open();
    later.expect_hello();
    assert_eq!(count.load(Ordering::SeqCst), 2);
    later.expect_silence(Duration::from_millis(100));
}

/// What a session may not have any more is not its stream's first event either.
#[test]
fn f57_a_stream_that_a_revocation_overtakes_gets_no_snapshot() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = App::new(move |request| match request.line.contains("/auth") {
        true => {
            counted.fetch_add(1, Ordering::SeqCst);
            pause(Duration::from_millis(500));
            answer("204 Yes", &[("tidegate-session", "s")], "")
        }
        false => json("secret"),
    });
    let url = app.url();
    let config = format!(
        "[[stream.routes]]\npath = '/board'\ntopics = ['board']\n\
         [stream.routes.auth]\nurl = '{url}/auth'\n\
         [stream.routes.snapshot]\nurl = '{url}/state'\nevent = 'state'\n"
    );
    let gateway = Gateway::builder().config(&config).start();
    let asked = gateway.subscriber("").target("/board").ask();
    eventually("the app to be asked", || (count.load(Ordering::SeqCst) == 1).then_some(()));
    assert_eq!(revoke(&gateway, "s"), 0);
    let mut stream = asked.open();
    stream.expect_hello();
    stream.expect_end("revoked");
    stream.expect_closed();
}

#[test]
fn f57_over_http2_a_revoked_stream_ends_too() {
    let app = grants(&[("tidegate-session", "s")]);
    let gateway = gateway(&app, "");
    let mut curl = std::process::Command::new("curl");
    curl.args(["--http2-prior-knowledge", "--silent", "--max-time", "10"]);
    curl.arg(format!("http://{}/boards/42/events", gateway.public));
    let child = curl.stdout(std::process::Stdio::piped()).spawn().expect("curl is installed");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], 1.0);
    assert_eq!(revoke(&gateway, "s"), 1);
    let output = child.wait_with_output().expect("curl ends");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("a stream is UTF-8");
    assert!(text.contains("event: end\n") && text.contains(r#""reason":"revoked""#), "{text}");
}

#[test]
fn f30_where_the_app_is_asked_is_the_operators_choice_alone() {
    let elsewhere = App::new(|_| answer("200 OK", &[], ""));
    let location = format!("{}/auth", elsewhere.url());
    let app = App::new(move |request| match user(request) {
        "anna" => answer("200 OK", &[], ""),
        _ => answer("307 Temporary", &[("location", &location)], ""),
    });
    let gateway = gateway(&app, "");
    let refused = board(&gateway, "bob").response();
    assert!(refused.text().contains("set `url` to where it redirects to"), "{}", refused.text());
    refused.expect_whole_problem(502);
    let odd = board(&gateway, "anna").target("/boards/a%2Fb%3Fc%40d/events");
    odd.header("x-forwarded-host", "evil").open().expect_hello();
    assert_eq!(app.asked()[1].line, "GET /auth/a%2Fb%3Fc%40d HTTP/1.1");
    assert_eq!(elsewhere.asked().len(), 0);
}

#[test]
fn an_answer_that_makes_no_sense_is_a_502_that_names_the_field() {
    let long = "s".repeat(129);
    for (name, value) in [
        ("tidegate-topics", "a..*"),
        ("tidegate-topics", ""),
        ("tidegate-topics", "%ff"),
        ("tidegate-session", ""),
        ("tidegate-session", &long),
        ("tidegate-expires", "soon"),
        ("tidegate-expires", "-1"),
        ("tidegate-metadata", "{"),
    ] {
        let value = value.to_owned();
        let app = App::new(move |_| answer("200 OK", &[(name, &value)], ""));
        let gateway = gateway(&app, "");
        let refused = board(&gateway, "anna").response();
        assert!(refused.text().contains(&format!("`{name}`")), "{}", refused.text());
        assert_eq!(refused.expect_whole_problem(502), "bad-upstream");
    }
}

#[test]
fn who_may_not_have_the_stream_is_told_nothing_of_its_snapshot() {
    let app = App::new(|request| match request.line.contains("/auth") {
        true if user(request) == "anna" => answer("200 OK", &[], ""),
        true => answer("403 Forbidden", &[], ""),
        false => json("state"),
    });
    let snapshot =
        format!("[stream.routes.snapshot]\nurl = '{}/state'\nevent = 'state'", app.url());
    let gateway = gateway(&app, &snapshot);
    assert_eq!(board(&gateway, "bob").response().status, 403);
    assert_eq!(app.asked().len(), 1);
    let mut stream = board(&gateway, "anna").open();
    stream.expect_hello();
    assert_eq!(stream.expect_named("state").data, "state");
}

#[test]
fn sessions_are_ended_by_the_internal_listener_only() {
    let app = grants(&[]);
    let gateway = gateway(&app, "");
    assert_eq!(http("DELETE", gateway.public, "/sessions/s", &[], b"").status, 404);
    let answered = http("GET", gateway.internal, "/sessions/s", &[], b"");
    assert_eq!(answered.header("allow"), Some("DELETE"));
    for path in ["/sessions/", &format!("/sessions/{}", "s".repeat(129))] {
        let answered = http("DELETE", gateway.internal, path, &[], b"");
        assert_eq!(answered.expect_whole_problem(404), "not-found");
    }
}

#[test]
fn who_finds_too_many_waiting_is_refused_and_counted_as_such() {
    let app = App::new(|_| {
        pause(Duration::from_millis(400));
        answer("204 Yes", &[], "")
    });
    let bounds = "[hooks]\nfetches_max = 1\nwaiting_max = 1\n";
    let gateway = Gateway::builder().config(&format!("{}{bounds}", config(&app, ""))).start();
    let anna = board(&gateway, "anna").ask();
    eventually("the app to be asked", || (app.asked().len() == 1).then_some(()));
    assert_eq!(board(&gateway, "bob").response().expect_whole_problem(503), "upstream-busy");
    gateway.expect_metric("tidegate_auth_failures_total", &[("reason", "busy")], 1.0);
    anna.open().expect_hello();
    gateway.expect_metric("tidegate_auth_failures_total", &[], 1.0);
}
