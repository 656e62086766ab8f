//! C: an app builder's task events, from one firehose.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::page::Page;
use crate::relay::Relay;
use crate::support::{Connection, Subscribe, Subscriber, eventually};
use crate::system::System;

const TASKS: &str = "task_events";
const FIREHOSE: &str = "/api/events";

#[track_caller]
fn create(system: &System, title: &str) -> Value {
    system.ask("POST", "/api/tasks", &json!({"title": title})).expect_status(201).json()
}

#[track_caller]
fn set_status(system: &System, task: &Value, status: &str) {
    let path = format!("/api/tasks/{}", task["id"].as_str().expect("an id"));
    system.ask("PATCH", &path, &json!({"status": status})).expect_status(200);
}

#[track_caller]
fn firehose(system: &System) -> Subscriber {
    let mut stream = system.stream(FIREHOSE).open();
    stream.expect_hello();
    stream
}

/// A client that opens its stream and never reads, with little room in its kernel.
#[track_caller]
fn stuck(system: &System) -> Subscriber {
    system.stream(FIREHOSE).receive_buffer(4096).open()
}

#[test]
fn need_c1_publishing_never_raises_and_waits_for_no_reader() {
    const TASKS_MADE: usize = 300;
    let system = System::start(TASKS);
    let large = "x".repeat(20_000);
    // Nobody listens; then the same with a crowd that does not read, whose rings are full at the end.
    let slowest_ms = || system.ask("GET", "/api/slowest-publish", &Value::Null).json();
    let make = || {
        let began = Instant::now();
        (0..TASKS_MADE).for_each(|_| drop(create(&system, &large)));
        (began.elapsed(), slowest_ms().as_f64().expect("milliseconds"))
    };
    create(&system, "the first one is slower");
    slowest_ms();
    let (alone, slowest_alone) = make();
    let readers: Vec<_> = (0..100).map(|_| stuck(&system)).collect();
    let (among_stuck, slowest_among_stuck) = make();
    let waiting = system.gateway.metric("tidegate_ring_frames", &[]);
    assert!(waiting > 1000.0, "the readers are not stuck: {waiting} events wait");
    println!(
        "{TASKS_MADE} tasks in {alone:?}, the slowest publish {slowest_alone:.1} ms; among stuck readers in \
         {among_stuck:?}, {slowest_among_stuck:.1} ms"
    );
    assert!(slowest_among_stuck < 500.0, "a publish took {slowest_among_stuck} ms");
    drop(readers);
    // Without a gateway the app goes on; what it could not tell, pages fetch.
    system.gateway.kill();
    let mut app = Connection::open(system.app.address());
    let body = json!({"title": "unheard"}).to_string();
    let headers = [("content-type", "application/json")];
    app.request("POST", "/api/tasks", &headers, body.as_bytes()).expect_status(201);
}

#[test]
fn need_c2_a_slow_reader_loses_its_oldest_events_and_is_told_how_many() {
    const EVENTS: usize = 2_000;
    const RING: u64 = 256;
    let system = System::start(TASKS);
    let mut slow = stuck(&system);
    let mut prompt = firehose(&system);
    let data = |number: usize| json!({"number": number, "text": "x".repeat(2_000)});
    let batch: Vec<Value> =
        (0..EVENTS).map(|number| json!({"topic": "task.log", "data": data(number)})).collect();
    for part in batch.chunks(50) {
        system.gateway.publish(&json!(part).to_string()).expect_status(202);
        part.iter().for_each(|_| drop(prompt.expect_event()));
    }
    slow.expect_hello();
    let (mut received, mut lost, mut numbers) = (0, 0, Vec::new());
    while numbers.last() != Some(&(EVENTS as u64 - 1)) {
        let event = slow.next();
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        if event.event == "gap" {
            assert_eq!(data["reason"], "slow", "{data}");
            lost += data["count"].as_u64().expect("how many is known");
            numbers.clear();
        } else {
            received += 1;
            numbers.push(data["number"].as_u64().expect("a number"));
        }
    }
    assert_eq!(received + lost, EVENTS as u64, "every event came or was counted");
    assert!(lost > 0, "it was not slow");
    // What it still got are the newest, all of them.
    assert!(numbers.len() as u64 >= RING, "{} at the end", numbers.len());
    let first = numbers[0];
    assert!(numbers.iter().copied().eq(first..EVENTS as u64), "{numbers:?}");
}

#[test]
fn need_c3_events_are_named_frames_and_data_is_an_object() {
    let system = System::start(TASKS);
    let url = format!("http://{}{FIREHOSE}?limit=3", system.gateway.public);
    let curl = Command::new("curl")
        .args(["--silent", "--no-buffer", "--noproxy", "*", "--max-time", "20", &url])
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is installed: run `make deps`");
    system.gateway.expect_metric("tidegate_subscribers", &[], 1.0);
    let task = create(&system, "one");
    set_status(&system, &task, "running");
    system.ask("POST", "/api/memory", &Value::Null).expect_status(204);
    let output = curl.wait_with_output().expect("curl ends");
    let text = String::from_utf8(output.stdout).expect("a stream is UTF-8");
    for frame in [
        "event: task.created\ndata: {\"id\":\"t-1\",\"status\":\"created\",\"title\":\"one\"}\n\n",
        "event: task.status\ndata: {\"id\":\"t-1\",\"status\":\"running\"}\n\n",
        "event: memory.changed\ndata: {}\n\n",
    ] {
        assert!(text.contains(frame), "no {frame:?} in {text}");
    }
}

#[test]
fn need_c4_one_stream_has_the_events_of_all_topics() {
    let system = System::start(TASKS);
    let mut page = system.page("/");
    page.wait_for_entry("hello", None);
    let task = create(&system, "one");
    set_status(&system, &task, "done");
    page.wait("state.tasks['t-1']?.status === 'done'");
    assert_eq!(
        page.run("state.events.map(({ type }) => type)"),
        json!(["task.created", "task.status"])
    );
    system.stream("/events?topic=task.created").response().expect_status(404);
}

#[test]
fn need_c5_comments_keep_a_proxy_from_closing_a_quiet_stream() {
    // nginx closes what is silent for a second.
    let through_nginx = |kind: &str| {
        let system = System::setup(TASKS)
            .set("stream.heartbeat", "300ms")
            .set("stream.heartbeat_kind", kind);
        let system = system.start();
        let nginx = Nginx::before(system.gateway.public);
        let mut stream = Subscribe::new(nginx.address, "").target(FIREHOSE).open();
        stream.expect_hello();
        (system, nginx, stream)
    };
    let (system, _nginx, mut stream) = through_nginx("comment");
    stream.expect_silence(Duration::from_secs(3));
    stream.expect_comment();
    create(&system, "after a while");
    stream.expect_named("task.created");
    let (_system, _nginx, mut stream) = through_nginx("off");
    stream.expect_stop();
}

#[test]
fn need_c6_stream_max_seconds_ends_streams_and_pages_come_back() {
    let system =
        System::setup(TASKS).env("STREAM_MAX_SECONDS", "1").set("stream.retry", "100ms").start();
    let mut page = system.page("/");
    let ended = page.wait_for_entry("waiting", Some("end"));
    assert_eq!(ended["reason"], "max_lifetime");
    let delay_ms = ended["delayMs"].as_u64().expect("when to come back");
    assert!((50..=150).contains(&delay_ms), "{delay_ms}");
    // It goes on where it was: nothing to fetch.
    let again = page.wait("live.journal.filter(({ what }) => what === 'hello')[1]");
    assert_eq!(again["resumed"], true);
    assert_eq!(page.entries("refetch").len(), 1, "that of the start");
    create(&system, "afterwards");
    page.wait("state.events.length === 1");
}

#[test]
fn need_c7_proxies_are_told_not_to_buffer() {
    let system = System::start(TASKS);
    let stream = firehose(&system);
    assert_eq!(stream.head().header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.head().header("cache-control"), Some("no-store, no-transform"));
    // nginx does as it is told: what is published is there at once.
    let nginx = Nginx::before(system.gateway.public);
    let mut through = Subscribe::new(nginx.address, "").target(FIREHOSE).open();
    through.expect_hello();
    create(&system, "at once");
    through.expect_named("task.created");
}

#[test]
fn need_c8_new_kinds_of_events_need_nothing_at_the_gateway() {
    let system = System::start(TASKS);
    let mut page = system.page("/");
    page.wait_for_entry("hello", None);
    system.ask("POST", "/api/triggers/nightly", &Value::Null).expect_status(204);
    system.ask("POST", "/api/memory", &Value::Null).expect_status(204);
    page.wait("state.events.length === 2");
    let expected = json!([
        {"type": "trigger.fired", "data": {"trigger": "nightly"}},
        {"type": "memory.changed", "data": {}},
    ]);
    assert_eq!(page.run("state.events"), expected);
}

#[test]
fn need_c9_a_page_that_was_away_too_long_fetches_and_one_without_a_stream_polls() {
    let system = System::setup(TASKS).set("history.events_max", "2").start();
    let relay = Relay::to(system.gateway.public);
    let mut page =
        Page::open(relay.address, "/?pollMs=100&retryBaseMs=500&retryMaxMs=500&attemptsMax=2");
    page.wait_for_entry("hello", None);
    let task = create(&system, "one");
    set_status(&system, &task, "0");
    page.wait("state.tasks['t-1']?.status === '0'");
    // Away while more happens than the gateway keeps.
    relay.cut();
    page.wait_for_entry("waiting", None);
    for status in 1..=5 {
        set_status(&system, &task, &status.to_string());
    }
    page.run("state.tasks = {}");
    relay.mend();
    page.wait_for_entry("refetch", Some("gap"));
    page.wait("state.tasks['t-1']?.status === '5' && state.tasks['t-1'].title === 'one'");

    // No stream at all, and the app is there: it polls, seldom, and has a stream again when it is looked at.
    page.block("**/api/events*");
    relay.cut();
    relay.mend();
    page.wait_for_entry("polling", None);
    set_status(&system, &task, "6");
    page.wait("state.tasks['t-1'].status === '6'");
    page.wait_for_entry("refetch", Some("poll"));
    page.unblock("**/api/events*");
    page.run("window.dispatchEvent(new Event('focus'))");
    page.wait("live.status === 'open'");
}

/// Debian's nginx, in front of the gateway.
struct Nginx {
    address: SocketAddr,
    child: Child,
    _folder: TempDir,
}

impl Nginx {
    #[track_caller]
    fn before(gateway: SocketAddr) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        let folder = tempfile::tempdir().expect("there is a place for temporary files");
        let at = folder.path().display();
        let config = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr crit;
             events {{}}
             http {{
               access_log off;
               client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
               fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
               server {{
                 listen {address};
                 location / {{
                   proxy_http_version 1.1; proxy_set_header Connection ''; proxy_pass http://{gateway};
                   proxy_read_timeout 1s;
                 }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, config).expect("the folder can be written");
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.arg("-e").arg("stderr").arg("-p").arg(folder.path()).arg("-c").arg(&file);
        let child = nginx.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("nginx is installed: run `make deps`");
        let running = Self { address, child, _folder: folder };
        eventually("nginx to listen", || std::net::TcpStream::connect(address).ok());
        running
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
