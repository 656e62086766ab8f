//! At a drain: what may last for hours ends, in order and one after the other; what is short is finished.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use crate::support::chunks::ChunkDecoder;
use crate::support::{Connection, Deadline, Gateway, Origin, OriginConnection, Received, pause};
use crate::upgrades::upgraded;
use crate::{in_front_of, with_group};

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// A client that has this much of an app's stream of events.
#[track_caller]
fn streaming(gateway: &Gateway, origin: &Origin, text: &str) -> (Connection, OriginConnection) {
    let mut client = gateway.connect_public();
    client.send_request("GET", "/updates", &[], b"");
    let (_, server) = origin.answer(&format!("{EVENTS}{text}"));
    assert_eq!(client.read_head().status, 200);
    (client, server)
}

/// What comes until the connection is closed, which is behind the body's proper end.
#[track_caller]
fn rest_of_body(client: &mut Connection) -> String {
    while let Received::Bytes(_) = client.receive(Deadline::patient()) {}
    let (mut chunks, mut body) = (ChunkDecoder::default(), Vec::new());
    chunks.feed(&client.buffer, &mut body).expect("well-formed chunks");
    assert!(chunks.ended(), "it breaks off: {:?}", String::from_utf8_lossy(&body));
    String::from_utf8(body).expect("the server sent UTF-8")
}

#[test]
fn an_apps_stream_of_events_ends_behind_an_event() {
    let origin = Origin::listen();
    let mut gateway = in_front_of(&origin);
    let (mut whole, mut whole_server) = streaming(&gateway, &origin, "data: one\n\n");
    let (mut half, mut half_server) = streaming(&gateway, &origin, "data: one\n\ndata: tw");
    pause(Duration::from_millis(50));
    gateway.terminate();
    assert_eq!(rest_of_body(&mut whole), "data: one\n\n");
    assert_eq!(whole_server.0.receive(Deadline::patient()), Received::Closed);
    // The other is in the middle of an event, and waits for the rest.
    assert_eq!(
        half_server.0.receive(Deadline::after(Duration::from_millis(300))),
        Received::Nothing
    );
    half_server.send("o\n\ndata: three\n\n");
    assert_eq!(rest_of_body(&mut half), "data: one\n\ndata: two\n\n");
    assert!(gateway.wait().success());
    assert!(gateway.log().iter().any(|line| line.contains("every stream has ended")));
}

#[test]
fn an_upgraded_connection_is_closed_on_both_sides_behind_what_was_sent() {
    let origin = Origin::listen();
    let mut gateway = in_front_of(&origin);
    let (mut client, mut server) = upgraded(&gateway, &origin);
    server.send("the last word");
    client.send(b"and mine");
    pause(Duration::from_millis(50));
    gateway.terminate();
    for (side, expected) in [(&mut client, "the last word"), (&mut server.0, "and mine")] {
        while let Received::Bytes(_) = side.receive(Deadline::patient()) {}
        assert_eq!(side.receive(Deadline::patient()), Received::Closed, "and not a reset");
        assert_eq!(String::from_utf8_lossy(&side.buffer), expected);
    }
    drop((client, server));
    assert!(gateway.wait().success());
}

/// Whether the gateway has closed a connection of which nothing more is to be read.
fn has_closed(client: &Connection) -> bool {
    let mut part = [0; 1024];
    client.stream().set_nonblocking(true).expect("a socket takes the flag");
    loop {
        match client.stream().read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("not a proper end: {error}"),
        }
    }
}

#[test]
fn f74_the_ends_are_spread_and_a_request_that_is_there_is_answered() {
    const COUNT: usize = 200;
    let origin = Origin::listen();
    let mut gateway = with_group(&[&origin], "").arg("--set").arg("server.shards=1").start();
    let mut streams: Vec<_> =
        (0..COUNT).map(|_| streaming(&gateway, &origin, "data: one\n\n")).collect();
    let mut asking = gateway.connect_public();
    asking.send_request("GET", "/slow", &[], b"");
    let mut answering = origin.accept();
    answering.read_request();
    gateway.terminate();
    // Two milliseconds for each stream.
    let begun = Instant::now();
    let mut ends = Vec::new();
    while !streams.is_empty() {
        let before = streams.len();
        streams.retain(|(client, _)| !has_closed(client));
        ends.extend(vec![begun.elapsed(); before - streams.len()]);
        assert!(begun.elapsed() < Duration::from_secs(20), "{} did not end", streams.len());
        pause(Duration::from_millis(2));
    }
    let spread = ends[COUNT - 1] - ends[0];
    assert!(spread > Duration::from_millis(200), "they ended within {spread:?}");
    answering.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone");
    assert_eq!(asking.read_response("GET").expect_status(200).text(), "done");
    assert!(gateway.wait().success());
}
