//! Requests and responses pass as they are, both ways at once, and nothing waits for its end.

use crate::support::{Connection, Deadline, Gateway, Origin, Received};
use crate::{OK, in_front_of};

#[test]
fn a_request_and_its_answer_pass_as_they_are() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("PUT", "/a%20b//c?x=1&y=%2F", &[("x-mine", "1")], b"the body");
    let (request, _server) = origin.answer(
        "HTTP/1.1 207 Whatever\r\ncontent-length: 6\r\nx-yours: 2\r\nset-cookie: a=1\r\n\
         set-cookie: b=2\r\n\r\nanswer",
    );
    assert_eq!(request.line, "PUT /a%20b//c?x=1&y=%2F HTTP/1.1");
    assert_eq!(request.header("x-mine"), Some("1"));
    assert_eq!(request.header("host"), Some("localhost"));
    assert_eq!(request.header("content-length"), Some("8"));
    assert_eq!(request.body, b"the body");
    let response = client.read_response("PUT").expect_status(207);
    assert_eq!(response.header("x-yours"), Some("2"));
    let cookies = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    assert_eq!(cookies.count(), 2);
    assert_eq!(response.text(), "answer");
}

#[test]
fn a_body_in_chunks_passes_whatever_the_method() {
    for method in ["GET", "HEAD", "POST"] {
        let origin = Origin::listen();
        let gateway = in_front_of(&origin);
        let mut client = gateway.connect_public();
        let head = format!("{method} / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send(&[head.as_bytes(), b"5\r\nhello\r\n0\r\n\r\n"].concat());
        let (request, _server) = origin.answer("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(request.header("transfer-encoding"), Some("chunked"), "{method}");
        assert_eq!(request.body, b"hello", "{method}");
        let response = client.read_response(method).expect_status(204);
        assert_eq!(response.header("connection"), None, "the connection goes on");
    }
}

#[test]
fn a_length_is_sent_on_in_plain_digits() {
    for (sent, expected) in [("0010", "10"), (&format!("{:040}", 10), "10"), ("000", "0")] {
        let origin = Origin::listen();
        let gateway = in_front_of(&origin);
        let mut client = gateway.connect_public();
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {sent}\r\n\r\n");
        client.send(&[head.as_bytes(), b"0123456789"].concat());
        let (request, _server) = origin.answer(OK);
        assert_eq!(request.header("content-length"), Some(expected), "{sent}");
    }
}

#[test]
fn a_url_is_sent_on_as_its_path_and_query() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    for (url, line) in [
        ("http://a", "GET / HTTP/1.1"),
        ("http://a?x=1", "GET /?x=1 HTTP/1.1"),
        ("http://a/?x=1", "GET /?x=1 HTTP/1.1"),
        ("http://a:80/b?x=1?y", "GET /b?x=1?y HTTP/1.1"),
    ] {
        let mut client = gateway.connect_public();
        client.send(format!("GET {url} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes());
        let (request, _server) = origin.answer(OK);
        assert_eq!(request.line, line, "{url}");
    }
}

#[test]
fn a_request_without_a_host_is_for_the_server() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    let (request, _server) = origin.answer(OK);
    assert_eq!(request.header("host"), Some(&*origin.address().to_string()));
    assert_eq!(request.header("x-forwarded-host"), None);
    assert_eq!(client.read_response("GET").text(), "ok");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().arg("--shards=1").arg("--upstream").arg(&origin.url()).start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/1", &[], b"");
    let (_, mut server) = origin.answer(OK);
    assert_eq!(client.read_response("GET").text(), "ok");
    for path in ["/2", "/3"] {
        client.send_request("GET", path, &[], b"");
        let request = server.read_request();
        assert_eq!(request.line, format!("GET {path} HTTP/1.1"));
        server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        assert_eq!(client.read_response("GET").text(), "ok");
    }
}

#[test]
fn a_body_passes_while_it_is_still_coming_both_ways() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
    let mut server = origin.accept();
    let head = server.read_head();
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    expect_text(&mut server.0, "1\r\na\r\n");
    server.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n");
    expect_text(&mut client, "1\r\nx\r\n");
    client.send(b"1\r\nb\r\n0\r\n\r\n");
    expect_text(&mut server.0, "1\r\nb\r\n0\r\n\r\n");
    server.send("1\r\ny\r\n0\r\n\r\n");
    expect_text(&mut client, "1\r\ny\r\n0\r\n\r\n");
}

#[test]
fn an_answer_may_come_before_the_requests_body_is_over() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345");
    let mut server = origin.accept();
    server.read_head();
    server.send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
    let response = client.read_response("POST").expect_status(413);
    assert_eq!(response.text(), "no");
    // What is left of the body is not for the next request to come behind.
    assert_eq!(response.header("connection"), Some("close"));
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().arg("--shards=1").arg("--upstream").arg(&origin.url()).start();
    let mut client = gateway.connect_public();
    client.send_request("HEAD", "/", &[], b"");
    let (request, mut server) = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
    assert_eq!(request.line, "HEAD / HTTP/1.1");
    let response = client.read_response("HEAD").expect_status(200);
    assert_eq!(response.header("content-length"), Some("1000"));
    for status in ["204 No Content", "304 Not Modified"] {
        client.send_request("GET", "/", &[], b"");
        server.read_request();
        server.send(&format!("HTTP/1.1 {status}\r\netag: \"a\"\r\n\r\n"));
        let response = client.read_response("GET");
        assert_eq!((response.header("etag"), response.body.len()), (Some("\"a\""), 0));
    }
}

#[test]
fn an_http_1_0_client_is_told_the_end_by_closing() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let (request, _server) =
        origin.answer("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert_eq!(request.line, "GET / HTTP/1.1");
    let response = client.read_response("GET").expect_status(200);
    assert_eq!((response.text(), response.header("transfer-encoding")), ("ok", None));
}

#[test]
fn events_of_an_app_server_pass_at_once_and_say_that_they_must_not_be_buffered() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/own/events", &[("last-event-id", "7")], b"");
    let (request, mut server) = origin.answer(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
         transfer-encoding: chunked\r\n\r\n",
    );
    assert_eq!(request.header("last-event-id"), Some("7"));
    let head = client.read_head();
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    for event in ["9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n"] {
        server.send(event);
        expect_text(&mut client, event);
    }
    drop(client);
    // The server learns that the client is gone.
    let received = server.0.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
}

#[test]
fn trailers_pass_to_those_who_take_them() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[("te", "trailers"), ("connection", "te")], b"");
    let (request, _server) = origin.answer(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n\
         x-sum: 9\r\n\r\n",
    );
    assert_eq!(request.header("te"), Some("trailers"));
    expect_text(&mut client, "2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n");
}

#[test]
fn streams_of_ours_and_a_servers_pages_share_one_address() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    gateway.subscribe("topic=t").expect_hello();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let (_, _server) = origin.answer(OK);
    assert_eq!(client.read_response("GET").text(), "ok");
}

/// Waits until this text has come, and takes it with what came before.
#[track_caller]
fn expect_text(connection: &mut Connection, text: &str) {
    loop {
        let found = connection.buffer.windows(text.len()).position(|part| part == text.as_bytes());
        if let Some(at) = found {
            connection.buffer.drain(..at + text.len());
            return;
        }
        let received = connection.receive(Deadline::patient());
        let so_far = String::from_utf8_lossy(&connection.buffer);
        assert!(matches!(received, Received::Bytes(_)), "{received:?}, no {text:?} in {so_far:?}");
    }
}
