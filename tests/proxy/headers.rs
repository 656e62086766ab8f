//! What is between two hops stays there, and what tells the server who asks is the gateway's word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Deadline, Gateway, Origin, Request};
use crate::{OK, in_front_of};

/// What the server gets of a request with these header lines.
#[track_caller]
fn received(gateway: &Gateway, origin: &Origin, lines: &str) -> Request {
    let mut client = gateway.connect_public();
    client.send(format!("GET /p HTTP/1.1\r\nhost: app.test:8080\r\n{lines}\r\n").as_bytes());
    let (request, _server) = origin.answer(OK);
    client.read_response("GET").expect_status(200);
    request
}

#[test]
fn f27_hop_by_hop_fields_and_what_connection_names_stay_behind() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let request = received(
        &gateway,
        &origin,
        "connection: keep-alive, x-secret, x-forwarded-for\r\nx-secret: 1\r\nkeep-alive: 5\r\n\
         proxy-connection: close\r\nproxy-authorization: Basic x\r\nte: gzip\r\n\
         upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nx-kept: 1\r\n",
    );
    for name in ["connection", "x-secret", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("proxy-authorization"), None);
    assert_eq!(request.header("http2-settings"), None);
    assert_eq!(request.header("x-kept"), Some("1"));
    // Named by the client as hop-by-hop, and still told: it is set behind the removal.
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn f28_who_is_asking_is_our_word_and_not_the_clients() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let request = received(
        &gateway,
        &origin,
        "x-forwarded-for: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.2\r\nforwarded: for=10.0.0.3\r\n\
         x-forwarded-proto: https\r\nx-forwarded-host: evil.test\r\nx-forwarded-port: 1\r\n\
         x-real-ip: 10.0.0.4\r\nx-real_ip: 10.0.0.5\r\nx-request-id: mine\r\n",
    );
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    let forwarded = "for=127.0.0.1;proto=http;host=\"app.test:8080\"";
    assert_eq!(request.header("forwarded"), Some(forwarded));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    assert_eq!(request.header("x-forwarded-host"), Some("app.test:8080"));
    assert_eq!(request.header("x-real-ip"), Some("127.0.0.1"));
    for name in ["x_forwarded_for", "x-forwarded-port", "x-real_ip"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_ne!(request.header("x-request-id"), Some("mine"));
    assert!(request.header("x-request-id").is_some_and(|id| id.len() == 32));
}

#[test]
fn f20_f21_fields_that_some_servers_take_for_framing_stay_behind() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let lines = "Content_Length: 5\r\ntransfer_encoding: chunked\r\ntransfer_coding: kept\r\n";
    let request = received(&gateway, &origin, lines);
    for name in ["content_length", "transfer_encoding"] {
        assert_eq!(request.header(name), None, "{name}");
    }
    assert_eq!(request.header("transfer_coding"), Some("kept"));
}

#[test]
fn a_trusted_proxys_word_is_kept_and_added_to() {
    let origin = Origin::listen();
    let gateway = Gateway::builder()
        .config(&format!("[proxy]\nupstream = {:?}\ntrusted = ['127.0.0.0/8']", origin.url()))
        .start();
    let request = received(
        &gateway,
        &origin,
        "x-forwarded-for: 203.0.113.9\r\nx-forwarded-for: 10.1.1.1\r\nx-forwarded-proto: https\r\n\
         forwarded: for=203.0.113.9;proto=https\r\nx-request-id: abc-1\r\n\
         x-real-ip: 203.0.113.9\r\n",
    );
    assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.9, 10.1.1.1, 127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    let forwarded = request.header("forwarded").unwrap_or_default();
    assert!(forwarded.starts_with("for=203.0.113.9;proto=https, for=127.0.0.1"), "{forwarded}");
    assert_eq!(request.header("x-request-id"), Some("abc-1"));
    assert_eq!(request.header("x-real-ip"), Some("203.0.113.9"));
}

/// A list of ours that began with the trusted peer would name that as the client.
#[test]
fn what_a_trusted_peer_tells_in_one_field_is_not_contradicted_in_another() {
    let origin = Origin::listen();
    let gateway = Gateway::builder()
        .config(&format!("[proxy]\nupstream = {:?}\ntrusted = ['127.0.0.0/8']", origin.url()))
        .start();
    let names = ["x-forwarded-for", "forwarded", "x-real-ip"];
    for (told, expected) in [
        ("x-forwarded-for: 203.0.113.9", [Some("203.0.113.9, 127.0.0.1"), None, None]),
        ("x-real-ip: 203.0.113.9", [None, None, Some("203.0.113.9")]),
        ("forwarded: for=203.0.113.9", [None, Some("for=203.0.113.9, for=127.0.0.1"), None]),
    ] {
        let request = received(&gateway, &origin, &format!("{told}\r\n"));
        for (name, expected) in names.into_iter().zip(expected) {
            let said = request.header(name);
            let is_it = match (said, expected) {
                (Some(said), Some(expected)) => said.starts_with(expected),
                (said, expected) => said.is_none() && expected.is_none(),
            };
            assert!(is_it, "{told}: {name} is {said:?}, not {expected:?}");
        }
    }
}

#[test]
fn each_hop_signs_with_via() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[("via", "1.0 before")], b"");
    let (request, _server) =
        origin.answer("HTTP/1.1 200 OK\r\nvia: 1.1 behind\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(request.all("via"), ["1.0 before", "1.1 tidegate"]);
    let response = client.read_response("GET");
    let via: Vec<_> = response.headers.iter().filter(|(name, _)| name == "via").collect();
    assert_eq!(via.len(), 2, "{via:?}");
    assert_eq!(via[1].1, "1.1 tidegate");
}

#[test]
fn a_response_keeps_its_own_fields_and_loses_those_between_hops() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send_request("GET", "/", &[], b"");
    let (_, _server) = origin.answer(
        "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\n\
         date: Sun, 06 Nov 1994 08:49:37 GMT\r\nserver: app\r\ncontent-length: 0\r\n\r\n",
    );
    let response = client.read_response("GET");
    assert_eq!(response.header("x-hop"), None);
    assert_eq!(response.header("keep-alive"), None);
    assert_eq!(response.header("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(response.header("server"), Some("app"));
}

#[test]
fn a_client_that_waits_for_a_go_ahead_gets_it_from_us() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    client.send(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.read_response("POST").status, 100);
    client.send(b"hi");
    let (request, _server) = origin.answer(OK);
    assert_eq!((request.header("expect"), &*request.body), (None, &b"hi"[..]));
    client.read_response("POST").expect_status(200);
}

#[test]
fn max_forwards_counts_down_and_ends_here() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    let here = client.request("OPTIONS", "/", &[("max-forwards", "0")], b"");
    assert_eq!(here.expect_status(204).header("via"), None);
    client.send_request("OPTIONS", "*", &[("max-forwards", "3")], b"");
    let (request, _server) = origin.answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(request.line, "OPTIONS * HTTP/1.1");
    assert_eq!(request.header("max-forwards"), Some("2"));
    client.read_response("OPTIONS").expect_status(204);
    let odd = client.request("OPTIONS", "/", &[("max-forwards", "+1")], b"");
    assert_eq!(odd.expect_problem(400), "urn:tidegate:problem:bad-max-forwards");
}

#[test]
fn methods_that_are_not_for_servers_stay_here() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    let traced = client.request("TRACE", "/", &[], b"");
    assert_eq!(traced.expect_problem(405), "urn:tidegate:problem:method-not-allowed");
    let mut client = gateway.connect_public();
    client.send(b"CONNECT internal.test:22 HTTP/1.1\r\nhost: internal.test:22\r\n\r\n");
    let connected = client.read_response("CONNECT");
    assert_eq!(connected.expect_problem(501), "urn:tidegate:problem:not-implemented");
}

#[test]
fn a_route_rewrites_the_path_and_changes_fields() {
    let origin = Origin::listen();
    let url = origin.url();
    let gateway = Gateway::builder()
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['{url}']\n\
             [[proxy.routes]]\nupstream = 'app'\npath = '/api'\nrewrite = '/v2'\n\
             host = '*.app.test'\nhost_header = 'server'\n\
             request_set = {{ x-set = 'by us' }}\nrequest_remove = ['cookie']\n\
             response_set = {{ x-frame-options = 'DENY' }}\nresponse_remove = ['server']\n"
        ))
        .start();
    let mut client = gateway.connect_public();
    client.send(
        b"GET /api/x?y=1 HTTP/1.1\r\nhost: www.app.test:1\r\ncookie: a\r\nx-set: theirs\r\n\r\n",
    );
    let (request, _server) = origin.answer(
        "HTTP/1.1 200 OK\r\nserver: app\r\nx-frame-options: ALLOW\r\ncontent-length: 0\r\n\r\n",
    );
    assert_eq!(request.line, "GET /v2/x?y=1 HTTP/1.1");
    assert_eq!(request.header("host"), Some(&*origin.address().to_string()));
    assert_eq!((request.header("x-set"), request.header("cookie")), (Some("by us"), None));
    let response = client.read_response("GET");
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("server"), None);
    let elsewhere = client.request("GET", "/api/x", &[], b"");
    assert_eq!(elsewhere.expect_problem(404), "urn:tidegate:problem:not-found");
}

#[test]
fn a_path_that_servers_may_resolve_differently_is_refused() {
    let origin = Origin::listen();
    let gateway = in_front_of(&origin);
    let mut client = gateway.connect_public();
    for path in ["/public/../admin", "/public/%2e%2E/admin"] {
        let refused = client.request("GET", path, &[], b"");
        assert_eq!(refused.expect_problem(400), "urn:tidegate:problem:bad-path");
    }
}

#[test]
fn f30_neither_a_client_nor_a_server_can_have_the_gateway_connect_elsewhere() {
    let (origin, elsewhere) = (Origin::listen(), Origin::listen());
    let gateway = in_front_of(&origin);
    let secret = format!("{}/secret", elsewhere.url());
    let host = elsewhere.address().to_string();
    let mut client = gateway.connect_public();
    client.send(format!("GET {secret} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
    let (request, mut server) = origin.answer(&format!(
        "HTTP/1.1 302 Found\r\nlocation: {secret}\r\nrefresh: 0; url={secret}\r\ncontent-length: 0\r\n\r\n"
    ));
    assert_eq!(request.line, "GET /secret HTTP/1.1");
    let response = client.read_response("GET").expect_status(302);
    assert_eq!(response.header("location"), Some(&*secret));
    for (method, status) in [("GET", 307), ("POST", 308)] {
        client.send_request(method, "/", &[], b"");
        server.read_request();
        server.send(&format!(
            "HTTP/1.1 {status} There\r\nlocation: {secret}\r\ncontent-length: 0\r\n\r\n"
        ));
        client.read_response(method).expect_status(status);
    }
    drop(server);
    // A target that is no path, and a tunnel. Some reach the server, on a connection each.
    let (is_over, latest) = (AtomicBool::new(false), Deadline::patient());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) && latest.left().is_some() {
                let soon = Deadline::after(Duration::from_millis(20));
                let Some(mut server) = origin.accept_within(soon) else { continue };
                server.read_request();
                server.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        for target in [&*host, "//elsewhere/", "*"] {
            for method in ["GET", "CONNECT"] {
                let mut client = gateway.connect_public();
                let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
                client.send(head.as_bytes());
                client.read_response("GET");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(elsewhere.accept_within(Deadline::after(Duration::from_millis(100))).is_none());
}
