//! What belongs here: the control servers as processes, under the witness. A figure of a
//! server that loses events would be no figure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fake::verdict::witness_at;

struct Control {
    process: Child,
    listeners: HashMap<String, SocketAddr>,
}

impl Control {
    /// Starts one on ports of the kernel's choice, and waits until it has said where it listens.
    fn start(server: &str, listeners: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"))
            .args(["serve", server, "--public", "127.0.0.1:0", "--internal", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let said = said.take(listeners.len()).map(|line| {
            let line = line.unwrap();
            let (name, address) = line.split_once(' ').unwrap();
            (name.to_owned(), address.parse().unwrap())
        });
        Self { listeners: said.collect(), process }
    }

    fn public(&self) -> SocketAddr {
        self.listeners["public"]
    }

    fn internal(&self) -> SocketAddr {
        self.listeners["internal"]
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn floor_and_naive_deliver_every_event_in_order() {
    let pid = std::process::id().to_string();
    for server in ["floor", "naive"] {
        let control = Control::start(server, &["public", "internal"]);
        for mode in [["--in-flight", "1"], ["--in-flight", "16"], ["--rate", "200"]] {
            let args = ["--streams", "50", "--duration", "300ms", "--warmup", "50ms"];
            let args = [&args[..], &mode, &["--server-pid", &pid]].concat();
            let verdict = witness_at("fanout", control.public(), control.internal(), &args);
            verdict.assert_clean();
            let events = verdict.number("events_accepted");
            assert!(events > 20, "{server} {mode:?}: {events} events");
            assert_eq!(verdict.number("deliveries"), 50 * events, "{server} {mode:?}");
        }
    }
}

/// There is no queue: a stream that does not read is closed, and the others go on.
#[test]
fn the_floor_closes_what_does_not_read() {
    let control = Control::start("floor", &["public", "internal"]);
    let args = ["--streams", "20", "--stuck-percent", "5", "--duration", "1s", "--rate", "500"];
    let args = [&args[..], &["--event-bytes", "16384", "--settle", "1s"]].concat();
    let verdict = witness_at("fanout", control.public(), control.internal(), &args);
    assert_eq!((verdict.status, verdict.violations("unexpected_close")), (1, 1));
    assert_eq!(verdict.report["unsettled"], 0, "{:#}", verdict.report);
}

#[test]
fn hello_answers_any_request() {
    let control = Control::start("hello", &["internal"]);
    let post = "POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let answer = exchange(control.internal(), post);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[test]
fn the_grip_origin_holds_a_stream_on_its_topics() {
    let control = Control::start("grip-origin", &["public"]);
    let get = "GET /events?topic=a&topic=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(control.public(), get);
    for line in ["grip-hold: stream", "grip-channel: a", "grip-channel: b"] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
    }
}

const FORWARDED: &str = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n\
    x-forwarded-host: x\r\nvia: 1.1 x\r\n\r\n";

/// The upstream keeps its connections, and closes them at what it refuses.
fn ask_upstream(control: &Control, request: &str) -> String {
    exchange(control.public(), &format!("{request}\r\n{FORWARDED}"))
}

#[test]
fn the_upstream_refuses_what_is_no_proxys_and_what_is_changed() {
    let control = Control::start("upstream", &["public"]);
    assert_eq!(exchange(control.public(), "GET /4/0 HTTP/1.1\r\nhost: x\r\n\r\n"), "");
    assert_eq!(ask_upstream(&control, "GET /4 HTTP/1.1\r\nhost: x"), "");
    assert_eq!(ask_upstream(&control, "PUT /4/0 HTTP/1.1\r\nhost: x\r\ncontent-length: 4"), "");
    let post = "POST /4/0 HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n";
    assert_eq!(exchange(control.public(), &format!("{post}{FORWARDED}nope")), "");
}

/// Answers one connection with these bytes, whatever it asks, and closes it.
fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]).unwrap();
        socket.write_all(answer).unwrap();
    });
    address
}

/// What `requests` says of a server that it is not content with.
fn complaint(target: SocketAddr, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"))
        .args(["requests", "--target", &format!("http://{target}"), "--duration", "100ms"])
        .args(args)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn requests_notices_every_wrong_answer() {
    let cases: [(&'static [u8], &str); 5] = [
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "answered 502"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "has 3 bytes"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd", "not the upstream's"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcde", "behind its end"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", "end of file"),
    ];
    for (answer, wanted) in cases {
        let said = complaint(answering(answer), &["--get", "4"]);
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn requests_asks_nothing_but_success_of_a_path_that_is_given() {
    let control = Control::start("hello", &["internal"]);
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"))
        .args(["requests", "--target", &format!("http://{}", control.internal())])
        .args(["--path", "/x", "--post", "128", "--connections", "4", "--duration", "200ms"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["requests"].as_u64().unwrap() > 20, "{report:#}");
}
