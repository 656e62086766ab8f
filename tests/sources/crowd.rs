//! Many sources at once, and what is left of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::{Gateway, Origin, eventually, pause};
use crate::{HEAD, delete, fields, put, serve};

const CROWD: usize = 1000;

/// Serves every connection one event, and gives the connections.
fn serve_crowd(listener: &TcpListener) -> Vec<TcpStream> {
    let serve = |number| {
        let (mut socket, _) = listener.accept().expect("the gateway connects");
        let mut request = [0; 2048];
        let mut length = 0;
        while !request[..length].ends_with(b"\r\n\r\n") {
            length += socket.read(&mut request[length..]).expect("the gateway asks");
        }
        let event = format!("{HEAD}data: {number}\n\n");
        socket.write_all(event.as_bytes()).expect("the gateway reads");
        socket
    };
    (0..CROWD).map(serve).collect()
}

#[test]
fn a_thousand_sources_at_once_are_cheap_and_leave_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let gateway = Gateway::start();
    let mut subscriber = gateway.topic("crowd").subscribe();
    subscriber.expect_hello();
    // Every shard runs once it has ended a source.
    for number in 0..16 {
        let name = format!("warm{number}");
        put(&gateway, &name, &json!({"url": "http://127.0.0.1:1/"})).expect_status(201);
        delete(&gateway, &name).expect_status(204);
    }
    let (files, memory) = (gateway.open_files(), gateway.rss());
    let server = thread::spawn(move || serve_crowd(&listener));
    let mut internal = gateway.connect_internal();
    for number in 0..CROWD {
        let body = json!({"url": url, "topics": ["crowd"]}).to_string();
        let path = format!("/sources/s{number}");
        internal.request("PUT", &path, &[], body.as_bytes()).expect_status(201);
    }
    let mut upstreams = server.join().expect("every source connects");
    gateway.expect_metric("tidegate_sources", &[("state", "connected")], CROWD as f64);
    let mut seen: Vec<usize> =
        (0..CROWD).map(|_| subscriber.expect_event().data.parse().expect("a number")).collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..CROWD));
    let each = gateway.rss().saturating_sub(memory) / CROWD as u64;
    println!("{each} bytes of memory a source");
    assert!(each < 64 * 1024, "{each} bytes of memory a source");
    for upstream in &mut upstreams {
        upstream.write_all(b"data: again\n\n").expect("the gateway reads");
    }
    for _ in 0..CROWD {
        subscriber.expect_data("again");
    }
    for number in 0..CROWD {
        internal.request("DELETE", &format!("/sources/s{number}"), &[], b"").expect_status(204);
    }
    for upstream in &mut upstreams {
        assert_eq!(upstream.read(&mut [0; 16]).expect("a clean close"), 0);
    }
    gateway.expect_metric("tidegate_sources", &[("state", "connected")], 0.0);
    drop(internal);
    eventually("the descriptors to be as many as before", || {
        (gateway.open_files() <= files).then_some(())
    });
}

#[test]
fn need_d6_a_source_removed_in_the_middle_of_an_event_leaves_nothing_behind() {
    let origin = Origin::listen();
    let gateway = Gateway::start();
    let round = || {
        put(&gateway, "up", &fields(&origin)).expect_status(201);
        let half = format!("data: whole\n\ndata: {}", "x".repeat(100_000));
        let (_, mut upstream) = serve(&origin, &half);
        crate::expect_state(&gateway, "up", "connected");
        delete(&gateway, "up").expect_status(204);
        upstream.0.expect_closed();
    };
    (0..20).for_each(|_| round());
    let (files, memory, threads) = (gateway.open_files(), gateway.rss(), gateway.threads());
    (0..200).for_each(|_| round());
    eventually("the descriptors to be as many as before", || {
        (gateway.open_files() <= files).then_some(())
    });
    pause(Duration::from_millis(50));
    let grown = gateway.rss().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} bytes more than 200 sources before");
    assert!(gateway.threads() <= threads + 1, "{} threads", gateway.threads());
    for state in ["connecting", "connected", "disconnected", "error"] {
        gateway.expect_metric("tidegate_sources", &[("state", state)], 0.0);
    }
}
