//! `tidegate canary`: it sees its event on a gateway that works, and says what is wrong with one that does
//! not.

use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Authority, Folder, Gateway, Origin, OriginConnection, Request};

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";

fn fly(args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("canary").args(args).stdin(Stdio::null()).env_clear();
    command.env("TIDEGATE_CANARY_SUBSCRIBE_AUTHORIZATION", "Bearer reader");
    command.env("TIDEGATE_CANARY_PUBLISH_AUTHORIZATION", "Bearer writer");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary runs")
}

#[track_caller]
fn ended(canary: Child) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = canary.wait_with_output().expect("a child ends");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).expect("text"))
}

#[track_caller]
fn expect_sighting(args: &[&str]) {
    let (code, said) = ended(fly(args));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.lines().count(), 1, "{said:?}");
    let words: Vec<&str> = said.split_whitespace().collect();
    let [
        _,
        _,
        id,
        "opened",
        opened,
        _,
        "acknowledged",
        acknowledged,
        _,
        "received",
        received,
        "ms",
    ] = words[..]
    else {
        panic!("not the line that is documented: {said:?}");
    };
    assert!(id.contains('-'), "{said:?}");
    for time in [opened, acknowledged, received] {
        let time: f64 = time.parse().expect("milliseconds");
        assert!((0.0..5000.0).contains(&time), "{said:?}");
    }
}

/// A gateway whose every word the test says. The canary's stream is open and its publish is read, but not
/// answered.
struct Impostor {
    subscribe: Request,
    publish: Request,
    stream: OriginConnection,
    publisher: OriginConnection,
}

impl Impostor {
    #[track_caller]
    fn visited(args: &[&str]) -> (Self, Child) {
        let origin = Origin::listen();
        let url = origin.url();
        let canary = fly(&[&["--public", &url, "--internal", &url], args].concat());
        let (subscribe, stream) = origin.answer(STREAM);
        let mut publisher = origin.accept();
        let publish = publisher.read_request();
        (Self { subscribe, publish, stream, publisher }, canary)
    }

    fn event(&self) -> Value {
        serde_json::from_slice(&self.publish.body).expect("the canary publishes JSON")
    }

    fn accept(&mut self, id: &str) {
        let body = format!("{{\"id\":\"{id}\"}}");
        let head = format!("HTTP/1.1 202 Accepted\r\ncontent-length: {}\r\n\r\n", body.len());
        self.publisher.send(&(head + &body));
    }
}

#[test]
fn the_event_comes_through_a_gateway_that_works() {
    let gateway = Gateway::start();
    let [public, internal] = [gateway.public, gateway.internal].map(|at| format!("http://{at}"));
    expect_sighting(&["--public", &public, "--internal", &internal]);
    let published = gateway.metric("tidegate_events_published_total", &[]);
    assert!((published - 1.0).abs() < 1e-9, "{published}");
    // A topic that has to be escaped in a query.
    expect_sighting(&["--public", &public, "--internal", &internal, "--topic", "a&topic=b"]);
}

#[test]
fn the_event_comes_through_tls_and_on_a_route_of_the_operators_own() {
    let (files, authority) = (Folder::new(), Authority::new());
    let (chain, key) = authority.issue(&files, "localhost");
    let ca = files.write("ca.pem", &authority.pem());
    let gateway = Gateway::builder()
        .config(&format!(
            "[tls]\nlisten = '127.0.0.1:0'\ncertificates = [{{ chain = {chain:?}, key = {key:?} }}]\n\
             [[stream.routes]]\npath = '/boards/{{board}}/events'\ntopics = ['board.{{board}}']\n"
        ))
        .start();
    let port = gateway.tls.expect("the gateway listens over TLS").port();
    let public = format!("https://localhost:{port}/boards/7/events");
    let internal = format!("http://{}", gateway.internal);
    let args = ["--public", &public, "--internal", &internal, "--topic", "board.7"];
    expect_sighting(&[&args[..], &["--ca", &ca]].concat());
    let (code, said) = ended(fly(&args));
    assert_eq!(code, Some(1), "nobody else knows the authority: {said}");
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn credentials_come_from_the_environment_and_each_goes_to_its_side() {
    let (mut impostor, canary) = Impostor::visited(&["--topic", "a b"]);
    assert_eq!(impostor.subscribe.line, "GET /events?topic=a%20b HTTP/1.1");
    assert_eq!(impostor.subscribe.header("authorization"), Some("Bearer reader"));
    assert_eq!(impostor.publish.line, "POST /publish HTTP/1.1");
    assert_eq!(impostor.publish.header("authorization"), Some("Bearer writer"));
    let event = impostor.event();
    assert_eq!(event["topic"], "a b");
    impostor.stream.send(&format!("id: e-1\ndata: {}\n\n", event["data"].as_str().expect("text")));
    impostor.accept("e-1");
    let (code, said) = ended(canary);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("ok: event e-1 "), "{said}");
}

#[test]
fn an_event_with_another_id_than_its_publisher_was_told_is_a_failure() {
    let (mut impostor, canary) = Impostor::visited(&[]);
    let data = impostor.event()["data"].as_str().expect("text").to_owned();
    // Somebody else's comes first, and is not taken for ours.
    impostor.stream.send(&format!("id: e-1\ndata: other\n\nid: e-2\ndata: {data}\n\n"));
    impostor.accept("e-1");
    let expected = "tidegate: error: the event was published as \"e-1\" and came as \"e-2\"\n";
    assert_eq!(ended(canary), (Some(1), expected.into()));
}

#[test]
fn an_event_that_does_not_come_is_a_failure() {
    let (mut impostor, canary) = Impostor::visited(&["--timeout", "300ms"]);
    impostor.accept("e-1");
    let late = "tidegate: error: the event did not come within 300ms\n";
    assert_eq!(ended(canary), (Some(1), late.into()));

    let (mut impostor, canary) = Impostor::visited(&[]);
    impostor.accept("e-1");
    drop(impostor.stream);
    let (code, said) = ended(canary);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the stream ended before the event came"), "{said}");
}

#[test]
fn a_side_that_refuses_or_is_gone_is_named() {
    let gateway = Gateway::start();
    let [public, internal] = [gateway.public, gateway.internal].map(|at| format!("http://{at}"));
    let nobody = format!("http://{}", crate::support::free_address());
    for (args, expected) in [
        (
            ["--public", &nobody, "--internal", &internal],
            format!("--public {nobody}: cannot connect"),
        ),
        (
            ["--public", &public, "--internal", &nobody],
            format!("--internal {nobody}: cannot connect"),
        ),
        // Each asked for what the other has.
        (
            ["--public", &internal, "--internal", &internal],
            "--public: the server answered 404".into(),
        ),
        (["--public", &public, "--internal", &public], "the event was not accepted: 404".into()),
    ] {
        let (code, said) = ended(fly(&args));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&expected), "{expected:?} is not in {said:?}");
    }
    let (code, said) = ended(fly(&["--public", "ftp://a"]));
    assert_eq!(code, Some(2), "{said}");
}
