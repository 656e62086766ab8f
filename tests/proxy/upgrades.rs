//! Connections that go on with another protocol after a 101.

use std::net::Shutdown;
use std::time::Duration;

use crate::support::{Connection, Deadline, Gateway, Origin, OriginConnection, Received, pause};
use crate::{OK, in_front_of};

const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n";

/// An upgraded connection: the client's side and the server's.
#[track_caller]
pub(crate) fn upgraded(gateway: &Gateway, origin: &Origin) -> (Connection, OriginConnection) {
    let mut client = gateway.connect_public();
    client.send(UPGRADE);
    let (request, mut server) = origin.answer(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: y\r\n\r\nfirst",
    );
    assert_eq!(request.header("connection"), Some("upgrade"));
    assert_eq!(request.header("upgrade"), Some("websocket"));
    assert_eq!(request.header("sec-websocket-key"), Some("x"));
    let head = client.read_head();
    assert_eq!(head.status, 101);
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(head.header("upgrade"), Some("websocket"));
    assert_eq!(head.header("sec-websocket-accept"), Some("y"));
    // What the server sent together with its head is not lost.
    expect(&mut client, b"first");
    client.send(b"\x81\x01a");
    expect(&mut server.0, b"\x81\x01a");
    (client, server)
}

#[track_caller]
fn expect(connection: &mut Connection, bytes: &[u8]) {
    while connection.buffer.len() < bytes.len() {
        let received = connection.receive(Deadline::patient());
        assert!(matches!(received, Received::Bytes(_)), "{received:?}");
    }
    assert_eq!(connection.buffer, bytes);
    connection.buffer.clear();
}

#[test]
fn an_upgraded_connection_passes_both_ways_until_one_side_closes() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let (mut client, mut server) = upgraded(&gateway, &origin);
    let large = vec![b'x'; 300_000];
    server.0.send(&large);
    expect(&mut client, &large);
    drop(client);
    let received = server.0.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
    let (mut client, server) = upgraded(&gateway, &origin);
    drop(server);
    let received = client.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
}

#[test]
fn a_side_that_has_said_all_still_hears_the_other() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let (mut client, mut server) = upgraded(&gateway, &origin);
    client.stream().shutdown(Shutdown::Write).expect("it is connected");
    assert_eq!(server.0.receive(Deadline::patient()), Received::Closed);
    server.0.send(b"and bye");
    expect(&mut client, b"and bye");
    drop(server);
    assert_eq!(client.receive(Deadline::patient()), Received::Closed);
}

#[test]
fn a_side_that_does_not_read_holds_up_the_other_and_loses_nothing() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let (mut client, mut server) = upgraded(&gateway, &origin);
    // More than the sockets between them hold.
    let mut large = vec![0; 32 << 20];
    fastrand::Rng::with_seed(7).fill(&mut large);
    let before = gateway.peak_rss();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| server.0.send(&large));
        pause(Duration::from_millis(300));
        assert!(!sending.is_finished(), "all was taken though nobody reads");
        // The other direction is not held up.
        client.send(b"\x81\x01b");
        expect(&mut client, &large);
    });
    expect(&mut server.0, b"\x81\x01b");
    let growth = gateway.peak_rss() - before;
    assert!(growth < 1 << 20, "the gateway has grown by {growth} bytes");
}

#[test]
fn upgraded_connections_that_wait_hold_no_buffers() {
    const COUNT: u64 = 300;
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let open = |count| (0..count).map(|_| upgraded(&gateway, &origin)).collect::<Vec<_>>();
    // What the first ones cost is not what each costs.
    let _first = open(50);
    let before = gateway.rss();
    let _more = open(COUNT);
    let each = (gateway.rss() - before) / COUNT;
    assert!(each < 10 * 1024, "an upgraded connection that waits costs {each} bytes");
}

#[test]
fn a_silent_upgraded_connection_is_closed() {
    let origin = Origin::listen();
    let config = format!("[proxy]\nupstream = {:?}\nupgrade_idle_timeout = '200ms'", origin.url());
    let gateway = Gateway::builder().config(&config).start();
    let (mut client, mut server) = upgraded(&gateway, &origin);
    let received = client.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
    let received = server.0.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
}

#[test]
fn a_server_may_refuse_to_upgrade() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(UPGRADE);
    let (_, _server) = origin.answer("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    assert_eq!(client.read_response("GET").expect_status(403).text(), "no");
    // The connection is still one of HTTP.
    client.send_request("GET", "/", &[], b"");
    let response = std::thread::scope(|scope| {
        scope.spawn(|| drop(origin.accept_within(Deadline::after(Duration::from_millis(200)))));
        client.receive(Deadline::after(Duration::from_millis(100)))
    });
    assert_eq!(response, Received::Nothing);
}

#[test]
fn an_answer_of_101_that_nobody_asked_for_is_a_502() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let (_, _server) = origin.answer(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    let response = client.read_response("GET");
    assert_eq!(response.expect_problem(502), "urn:tidegate:problem:bad-upstream");
}

#[test]
fn f24_an_upgrade_with_a_body_or_to_http_2_is_none() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    for request in [
        "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABk\r\n\r\n",
        "POST /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         content-length: 2\r\n\r\nhi",
    ] {
        let mut client = gateway.connect_public();
        client.send(request.as_bytes());
        let soon = Deadline::after(Duration::from_millis(300));
        if let Some(mut server) = origin.accept_within(soon) {
            assert_eq!(server.read_request().header("upgrade"), None, "{request}");
            server.send(OK);
            client.read_response("GET").expect_status(200);
        } else {
            client.read_response("GET").expect_status(400);
        }
    }
}
