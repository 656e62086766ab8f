//! What belongs here: the control servers as processes, under the witness. A figure of a
//! server that loses events would be no figure.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its fixtures too")]

mod fake;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fake::verdict::witness_at;

struct Control {
    process: Child,
    public: SocketAddr,
    internal: SocketAddr,
}

impl Control {
    fn start(server: &str) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [public, internal] = listeners.map(|listener| listener.local_addr().unwrap());
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"))
            .args(["serve", server, "--public", &public.to_string()])
            .args(["--internal", &internal.to_string()])
            .spawn()
            .unwrap();
        let begin = Instant::now();
        let answers = if server == "grip-origin" { public } else { internal };
        while TcpStream::connect(answers).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10), "{server} does not listen");
            std::thread::yield_now();
        }
        Self { process, public, internal }
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
        let control = Control::start(server);
        for mode in [["--in-flight", "1"], ["--in-flight", "16"], ["--rate", "200"]] {
            let args = ["--streams", "50", "--duration", "300ms", "--warmup", "50ms"];
            let args = [&args[..], &mode, &["--server-pid", &pid]].concat();
            let verdict = witness_at("fanout", control.public, control.internal, &args);
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
    let control = Control::start("floor");
    let args = ["--streams", "20", "--stuck-percent", "5", "--duration", "1s", "--rate", "500"];
    let args = [&args[..], &["--event-bytes", "16384", "--settle", "1s"]].concat();
    let verdict = witness_at("fanout", control.public, control.internal, &args);
    assert_eq!((verdict.status, verdict.violations("unexpected_close")), (1, 1));
    assert_eq!(verdict.report["unsettled"], 0, "{:#}", verdict.report);
}

#[test]
fn hello_answers_any_request() {
    let control = Control::start("hello");
    let post = "POST /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let answer = exchange(control.internal, post);
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
}

#[test]
fn the_grip_origin_holds_a_stream_on_its_topics() {
    let control = Control::start("grip-origin");
    let get = "GET /events?topic=a&topic=b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(control.public, get);
    for line in ["grip-hold: stream", "grip-channel: a", "grip-channel: b"] {
        assert!(answer.contains(&format!("\r\n{line}\r\n")), "{answer}");
    }
}
