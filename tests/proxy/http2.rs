//! App servers that are spoken to by HTTP/2. The server is another gateway, with an origin behind it:
//! what it was spoken to by is in its `via`.

use crate::support::{Gateway, Origin};
use crate::{OK, in_front_of};

/// A gateway that speaks HTTP/2 to this one.
pub(crate) fn over_http2(behind: &Gateway) -> Gateway {
    Gateway::builder()
        .arg("--shards=1")
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['http://{}']\nhttp2 = true\n\
             [[proxy.routes]]\nupstream = 'app'\n",
            behind.public
        ))
        .start()
}

#[test]
fn requests_and_bodies_pass_over_http2() {
    let origin = Origin::listen();
    let behind = in_front_of(&origin);
    let gateway = over_http2(&behind);
    let mut client = gateway.connect_public();
    let body = "x".repeat(300_000);
    client.send_request("POST", "/p?q=1", &[("x-mine", "1"), ("te", "trailers")], body.as_bytes());
    let (request, _server) = origin.answer(&format!(
        "HTTP/1.1 201 Created\r\nx-yours: 2\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert_eq!(request.line, "POST /p?q=1 HTTP/1.1");
    assert_eq!(request.all("via"), ["1.1 tidegate", "2.0 tidegate"]);
    assert_eq!(request.header("x-mine"), Some("1"));
    assert_eq!(request.header("host"), Some("localhost"));
    assert_eq!(request.header("x-forwarded-host"), Some("localhost"));
    assert_eq!(request.body.len(), body.len());
    let response = client.read_response("POST").expect_status(201);
    assert_eq!((response.header("x-yours"), response.body.len()), (Some("2"), body.len()));
}

#[test]
fn all_requests_share_one_connection() {
    let origin = Origin::listen();
    let behind = in_front_of(&origin);
    let gateway = over_http2(&behind);
    let mut clients: Vec<_> = (0..8).map(|_| gateway.connect_public()).collect();
    for client in &mut clients {
        client.send_request("GET", "/", &[], b"");
    }
    let mut servers: Vec<_> = clients.iter().map(|_| origin.accept()).collect();
    behind.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    for server in &mut servers {
        server.read_request();
        server.send(OK);
    }
    for client in &mut clients {
        assert_eq!(client.read_response("GET").expect_status(200).text(), "ok");
    }
    behind.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
}

#[test]
fn another_server_is_asked_when_one_has_gone() {
    let origin = Origin::listen();
    let (mut first, second) = (in_front_of(&origin), in_front_of(&origin));
    let gateway = Gateway::builder()
        .arg("--shards=1")
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['http://{}', 'http://{}']\n\
             balance = 'round_robin'\nhttp2 = true\n[[proxy.routes]]\nupstream = 'app'\n",
            first.public, second.public
        ))
        .start();
    let ask = || {
        let mut client = gateway.connect_public();
        client.send_request("GET", "/", &[], b"");
        let (_, _server) = origin.answer(OK);
        client.read_response("GET").expect_status(200);
    };
    ask();
    ask();
    first.kill();
    first.wait();
    for _ in 0..4 {
        ask();
    }
}

#[test]
fn a_client_that_leaves_ends_its_stream_and_no_other() {
    let origin = Origin::listen();
    let behind = in_front_of(&origin);
    let gateway = over_http2(&behind);
    let (mut leaves, mut stays) = (gateway.connect_public(), gateway.connect_public());
    for (client, path) in [(&mut leaves, "/leaves"), (&mut stays, "/stays")] {
        client.send_request("GET", path, &[], b"");
    }
    let mut servers = [origin.accept(), origin.accept()];
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let paths = servers.each_mut().map(|server| {
        let line = server.read_request().line;
        server.send(head);
        line
    });
    leaves.read_head();
    stays.read_head();
    drop(leaves);
    let [first, second] = servers;
    let (mut left, mut kept) =
        if paths[0].contains("leaves") { (first, second) } else { (second, first) };
    let received = left.0.receive(crate::support::Deadline::patient());
    assert!(
        matches!(received, crate::support::Received::Closed | crate::support::Received::Reset),
        "{received:?}"
    );
    kept.send("9\r\ndata: 1\n\n\r\n");
    stays.receive(crate::support::Deadline::patient());
    assert!(stays.buffer.ends_with(b"data: 1\n\n\r\n"));
}
