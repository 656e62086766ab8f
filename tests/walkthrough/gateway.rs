//! The gateway of a scene, on the ports that the pages name.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::Value;

use crate::scene::terminal;
use crate::support::{Response, eventually, http};
use crate::terminal::Terminal;

pub(crate) const PUBLIC: SocketAddr = local(8080);
pub(crate) const INTERNAL: SocketAddr = local(8081);

pub(crate) const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Starts a gateway in a terminal of its own, and waits until it listens.
#[track_caller]
pub(crate) fn gateway(command: &str) -> Terminal {
    let mut terminal = terminal();
    terminal.types(command);
    terminal.shows_text("listening");
    terminal
}

/// Waits until somebody listens there.
#[track_caller]
pub(crate) fn await_listener(at: SocketAddr) {
    eventually(&format!("a listener on {at}"), || TcpStream::connect(at).ok());
}

#[track_caller]
pub(crate) fn get(from: SocketAddr, path: &str) -> Response {
    http("GET", from, path, &[], b"").expect_status(200)
}

#[track_caller]
pub(crate) fn publish(topic: &str, data: &str) -> Value {
    http("POST", INTERNAL, &format!("/topics/{topic}"), &[], data.as_bytes())
        .expect_status(202)
        .json()
}

/// Runs a curl whose answer is JSON.
#[track_caller]
pub(crate) fn json(terminal: &mut Terminal, curl: &str) -> Value {
    terminal.types(curl);
    let (status, shown) = terminal.ends();
    // Behind it is what curl says of its progress.
    let first = shown.lines().find(|line| line.starts_with(['{', '['])).unwrap_or_default();
    assert_eq!(status, 0, "`{curl}`: {shown}");
    serde_json::from_str(first).unwrap_or_else(|error| panic!("`{curl}`: {error}: {shown}"))
}

/// Opens a stream in a terminal of its own; waits for its `hello`.
#[track_caller]
pub(crate) fn stream(curl: &str) -> Terminal {
    let mut terminal = terminal();
    terminal.types(curl);
    terminal.shows_text("event: hello");
    terminal
}

/// The data of the last event of a name that a terminal shows.
#[track_caller]
pub(crate) fn event(terminal: &Terminal, name: &str) -> Value {
    eventually(&format!("the event {name}"), || {
        let shown = terminal.shown();
        let data = shown.rsplit_once(&format!("event: {name}\n"))?.1.lines();
        let data = data.take_while(|line| !line.is_empty());
        data.filter_map(|line| line.strip_prefix("data: "))
            .find_map(|text| serde_json::from_str(text).ok())
    })
}

/// The first words of the lines of an event stream, and the fields of what is JSON in it: its shape.
pub(crate) fn shape(stream: &str) -> Vec<String> {
    let fields = |data: &str| match serde_json::from_str(data) {
        Ok(Value::Object(fields)) => fields.keys().cloned().collect::<Vec<_>>().join(" "),
        _ => data.to_owned(),
    };
    let lines = stream.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(field, _)| ["id", "event", "retry", "data"].contains(field))
        .map(|(field, value)| match field {
            "data" => format!("data: {}", fields(value)),
            "event" => format!("event: {value}"),
            _ => field.to_owned(),
        })
        .collect()
}
