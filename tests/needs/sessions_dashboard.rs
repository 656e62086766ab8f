//! A: a dashboard of terminal sessions, on desktops and phones.

use std::process::{Child, Command, Stdio};
use std::thread::{Scope, ScopedJoinHandle, scope};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::page::Page;
use crate::process::Client;
use crate::relay::Relay;
use crate::support::lines::Lines;
use crate::support::{Deadline, PATIENCE, Subscriber, pause};
use crate::system::System;

const DASHBOARD: &str = "sessions_dashboard";

/// Signs in; gives the cookie.
#[track_caller]
fn sign_in(system: &System) -> String {
    let answer = system.ask("POST", "/login", &json!({"name": "Anna"})).expect_status(200);
    let cookie = answer.header("set-cookie").expect("a cookie");
    cookie.split(';').next().expect("a pair").to_owned()
}

/// Signs in on a page, and waits for its stream.
#[track_caller]
fn sign_in_on(page: &mut Page) {
    page.run("fetch('/login', { method: 'POST', body: JSON.stringify({ name: 'Anna' }) })");
    page.reload();
    page.wait_for_entry("hello", None);
}

#[track_caller]
fn report(system: &System, id: &str, fields: &Value) {
    system.ask("PUT", &format!("/api/sessions/{id}"), fields).expect_status(200);
}

#[test]
fn need_a1_the_page_gets_a_ping_every_ten_seconds() {
    let system = System::start(DASHBOARD);
    let mut page = system.page("/");
    sign_in_on(&mut page);
    // As shipped; 1.8 heartbeats are the 18 seconds of silence that the dashboard allows (A2).
    assert_eq!(page.run("live.staleMs"), 18_000);
    let ping = page.wait("state.pings[0]");
    assert_eq!(ping["data"], json!({"type": "ping"}));
    let opened = page.wait_for_entry("hello", None);
    let time = |entry: &Value| entry["at"].as_u64().expect("a time");
    let silence = Duration::from_millis(time(&ping) - time(&opened));
    // A stream's first comes after half an interval or later, so that those that opened at once do not all
    // get theirs at once.
    assert!((4_900..11_500).contains(&silence.as_millis()), "{silence:?}");
}

#[test]
fn need_a2_a_stream_that_went_silent_is_opened_anew_and_goes_on() {
    let system = System::setup(DASHBOARD).set("stream.heartbeat", "300ms").start();
    let relay = Relay::to(system.gateway.public);
    let mut page = Page::open(relay.address, "/?retryBaseMs=50");
    sign_in_on(&mut page);
    page.wait("state.pings.length > 2");
    relay.silence();
    let silent = Instant::now();
    report(&system, "s-1", &json!({"title": "while nobody heard"}));
    page.wait_for_entry("stale", None);
    let noticed = silent.elapsed();
    assert!((300..2_000).contains(&noticed.as_millis()), "noticed after {noticed:?}");
    let title = page.wait("state.sessions['s-1']?.title");
    assert_eq!(title, "while nobody heard");
    // It came by the stream, which went on where it had been, and by no other way.
    let hellos = page.entries("hello");
    assert_eq!(hellos.last().expect("one a stream")["resumed"], true, "{hellos:?}");
    assert_eq!(page.entries("refetch").len(), 1, "that of the start");
}

#[test]
fn need_a3_a_page_that_comes_back_fetches_what_is_old() {
    let system = System::start(DASHBOARD);
    let relay = Relay::to(system.gateway.public);
    let mut page = Page::open(relay.address, "/?refetchAfterMs=300&retryBaseMs=50");
    sign_in_on(&mut page);
    let shipped = page.run("import('./live.js').then(({ TIMES }) => TIMES.refetchAfterMs)");
    assert_eq!(shipped, 4_000);
    for (hook, comes_back) in [
        ("visibilitychange", "document.dispatchEvent(new Event('visibilitychange'))"),
        ("pageshow", "window.dispatchEvent(new PageTransitionEvent('pageshow'))"),
        ("focus", "window.dispatchEvent(new Event('focus'))"),
    ] {
        pause(Duration::from_millis(350));
        page.run(comes_back);
        let fetched = page.wait_for_entry("refetch", Some(hook));
        assert!(fetched["ageMs"].as_u64() > Some(300), "{fetched}");
        // What is fresh is not fetched again.
        let before = page.entries("refetch").len();
        page.run(comes_back);
        pause(Duration::from_millis(50));
        assert_eq!(page.entries("refetch").len(), before, "{hook}");
    }
    relay.cut();
    page.set_offline(true);
    pause(Duration::from_millis(350));
    report(&system, "s-1", &json!({"title": "while offline"}));
    relay.mend();
    page.set_offline(false);
    page.wait_for_entry("refetch", Some("online"));
    assert_eq!(page.wait("state.sessions['s-1']?.title"), "while offline");
    // And its stream is there again.
    report(&system, "s-2", &json!({"title": "live"}));
    page.wait("state.sessions['s-2']");
}

#[test]
fn need_a4_the_fallback_is_the_streams_own_url_and_forgets_nothing() {
    let both = r#"topics = ["sessions.*", "board"]"#;
    let three = r#"topics = ["sessions.*", "board", "alerts"]"#;
    let system = System::setup(DASHBOARD).edit(both, three).start();
    let relay = Relay::to(system.gateway.public);
    let mut page = Page::open(relay.address, "/?retryBaseMs=20&retryMaxMs=20&attemptsMax=2");
    sign_in_on(&mut page);
    report(&system, "s-1", &json!({"title": "streamed"}));
    page.wait("state.sessions['s-1']");
    page.block_streams("**/api/live*");
    relay.cut();
    relay.mend();
    page.wait_for_entry("polling", None);
    // Of both data sets, by long polls from where the stream was.
    report(&system, "s-2", &json!({"title": "polled"}));
    system.ask("PUT", "/api/board/c-1", &json!({"text": "polled too"})).expect_status(200);
    page.wait(
        "state.sessions['s-2']?.title === 'polled' && state.board['c-1']?.text === 'polled too'",
    );
    let polled = page.wait(
        "live.journal.filter(({ what }) => what === 'polled').reduce((sum, { events }) => sum + events, 0)",
    );
    assert_eq!(polled, 2, "each once");
    assert_eq!(page.entries("refetch").len(), 1, "that of the start");
    // And the stream goes on from where the polls were.
    page.unblock("**/api/live*");
    page.run("window.dispatchEvent(new Event('focus'))");
    page.wait("live.status === 'open'");
    report(&system, "s-3", &json!({"title": "streamed again"}));
    page.wait("state.sessions['s-3']");
    let hellos = page.entries("hello");
    assert_eq!(hellos.last().expect("one a stream")["resumed"], true, "{hellos:?}");

    // The topic that was added to the stream is in the fallback, and so are the app's rights.
    let poll = |cookie: &str, cursor: &str| {
        let request = system.stream("/api/live?wait=5s").header("accept", "application/json");
        request.header("cookie", cookie).after(cursor).response()
    };
    let cookie = sign_in(&system);
    let cursor = system.gateway.topic("alerts").publish_named("alert_raised", "{}");
    let mut stream = system.stream("/api/live").header("cookie", &cookie).after(&cursor).open();
    stream.expect_hello();
    let id = system.gateway.topic("alerts").publish_named("alert_raised", "{\"n\":2}");
    assert_eq!(stream.expect_named("alert_raised").id, id);
    let polled = poll(&cookie, &cursor).expect_status(200).json();
    let event = json!({"id": id, "topic": "alerts", "event": "alert_raised", "data": "{\"n\":2}"});
    assert_eq!(polled["events"], json!([event]));
    poll("", &cursor).expect_status(401);
}

#[test]
fn need_a5_every_kind_of_client_has_each_update_within_two_seconds() {
    const UPDATES: usize = 40;
    let system = System::start(DASHBOARD);
    let mut desktop = system.page("/");
    let mut phone = Page::on(system.gateway.public, "/", Some("Pixel 7"));
    for page in [&mut desktop, &mut phone] {
        sign_in_on(page);
    }
    let agent = phone.run("`${navigator.userAgent} ${innerWidth}`").to_string();
    assert!(agent.contains("Mobile") && agent.contains(" 4"), "no phone: {agent}");

    let cookie = sign_in(&system);
    let url = format!("http://{}/api/live", system.gateway.public);
    let order = json!({
        "url": url, "cookie": cookie, "names": ["session_updated"], "ready": "hello", "last": "none",
    });
    let mut scripts: Vec<Client> = (0..3).map(|_| Client::node_eventsource(&order)).collect();
    scripts.extend((0..3).map(|_| Client::python_httpx_sse(&order)));
    scripts.iter_mut().for_each(Client::expect_ready);
    let curls: Vec<Curl> = (0..4).map(|_| Curl::start(&url, &cookie)).collect();
    let mut sockets: Vec<Subscriber> =
        (0..200).map(|_| system.stream("/api/live").header("cookie", &cookie).open()).collect();
    sockets.iter_mut().for_each(|socket| drop(socket.expect_hello()));

    let mut latencies: Vec<Duration> = Vec::new();
    for number in 0..UPDATES {
        let id = format!("s-{number}");
        let sent = Instant::now();
        let arrived = scope(|scope| {
            let mut watching: Vec<ScopedJoinHandle<'_, Duration>> = Vec::new();
            for client in &mut scripts {
                watching.push(watch(scope, sent, || client.expect_line()["data"].to_string()));
            }
            for curl in &curls {
                watching.push(watch(scope, sent, || curl.expect(&id)));
            }
            watching.push(watch(scope, sent, || {
                sockets.iter_mut().map(|socket| socket.expect_named("session_updated").data).fold(
                    String::new(),
                    |_, data| {
                        assert!(data.contains(&id), "{data}");
                        data
                    },
                )
            }));
            report(&system, &id, &json!({"title": id, "at": now_ms()}));
            watching
                .into_iter()
                .map(|one| one.join().expect("it has the update"))
                .collect::<Vec<_>>()
        });
        latencies.extend(arrived);
    }
    for page in [&mut desktop, &mut phone] {
        page.wait(&format!("Object.keys(state.arrivals).length === {UPDATES}"));
        let arrivals: Vec<u64> = serde_json::from_value(page.run("Object.values(state.arrivals)"))
            .expect("milliseconds");
        latencies.extend(arrivals.into_iter().map(Duration::from_millis));
    }
    latencies.sort_unstable();
    let p99 = latencies[latencies.len() * 99 / 100];
    println!(
        "{} updates seen: p50 {:?}, p99 {p99:?}, the last {:?}",
        latencies.len(),
        latencies[latencies.len() / 2],
        latencies[latencies.len() - 1]
    );
    assert!(latencies[latencies.len() - 1] < Duration::from_secs(2), "{latencies:?}");
}

#[test]
fn who_is_not_signed_in_has_no_stream_and_who_signs_out_loses_it() {
    let system = System::start(DASHBOARD);
    let refused = system.stream("/api/live").response().expect_status(401);
    assert_eq!(refused.json(), json!({"error": "sign in first"}), "the app's own words");
    let cookie = sign_in(&system);
    let mut stream = system.stream("/api/live").header("cookie", &cookie).open();
    let hello: Value = serde_json::from_str(&stream.expect_named("hello").data).expect("JSON");
    assert_eq!(hello["metadata"], json!({"name": "Anna"}));
    let headers = [("cookie", &*cookie)];
    let mut connection = system.gateway.connect_public();
    let out = connection.request("POST", "/logout", &headers, b"").expect_status(200);
    assert_eq!(out.json(), json!({"ended": 1}));
    stream.expect_end("revoked");
    system.stream("/api/live").header("cookie", &cookie).response().expect_status(401);
}

/// How long after `sent` a client has the update.
fn watch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    sent: Instant,
    receive: impl FnOnce() -> String + Send + 'scope,
) -> ScopedJoinHandle<'scope, Duration> {
    scope.spawn(move || {
        receive();
        sent.elapsed()
    })
}

fn now_ms() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    time.as_millis() as u64
}

/// curl, listening.
struct Curl {
    child: Child,
    lines: Lines,
}

impl Curl {
    fn start(url: &str, cookie: &str) -> Self {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--no-buffer", "--noproxy", "*", "--cookie", cookie, url]);
        curl.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = curl.spawn().expect("curl is installed: run `make deps`");
        let lines = Lines::of(child.stdout.take().expect("stdout is piped"));
        let listening = Self { child, lines };
        listening.expect("heartbeat_ms");
        listening
    }

    #[track_caller]
    fn expect(&self, text: &str) -> String {
        let found = self.lines.wait_from(0, Deadline::after(PATIENCE), |line| {
            (line.starts_with("data: ") && line.contains(text)).then(|| line.to_owned())
        });
        found.unwrap_or_else(|why| panic!("waited for {text:?}: {why}"))
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
