//! Where a source's events go, and that none goes nowhere unseen.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::support::{Authority, Folder, Gateway, Origin, eventually};
use crate::{FAST, HEAD, expect_count, expect_state, put, reading, report, serve};

#[test]
fn need_d4_events_go_to_the_topic_of_their_instance_and_session() {
    let origin = Origin::listen();
    let topics = "topics = ['instance.{source}.session.{data.sessionId}', 'instance.{source}']\n";
    let gateway = reading(&origin, &format!("{FAST}{topics}")).start();
    let mut session = gateway.topic("instance.up.session.s1").subscribe();
    let mut child = gateway.subscribe("topic=instance.*.session.s2");
    let mut instance = gateway.topic("instance.up").subscribe();
    for subscriber in [&mut session, &mut child, &mut instance] {
        subscriber.expect_hello();
    }
    let updated = r#"{"sessionId":"s1","text":"héllo"}"#;
    let (request, mut upstream) = serve(&origin, ": welcome\r\n\r\n");
    assert_eq!(request.line, "GET /stream?key=secret HTTP/1.1");
    assert_eq!(request.header("accept"), Some("text/event-stream"));
    assert_eq!(request.header("last-event-id"), None);
    upstream.send(&format!("event: message_updated\ndata: {updated}\n\n"));
    upstream.send("event: session_updated\r\ndata: {\"sessionId\":\r\ndata: \"s2\"}\r\n\r\n");
    upstream.send("data: no session\n\n");

    let event = session.expect_named("message_updated");
    assert_eq!(event.data, updated);
    assert_eq!(child.expect_named("session_updated").data, "{\"sessionId\":\n\"s2\"}");
    assert_eq!(instance.expect_event().data, "no session");
    session.expect_silence(Duration::from_millis(100));
}

#[test]
fn an_event_that_goes_nowhere_is_counted_and_the_reason_is_shown() {
    let origin = Origin::listen();
    let settings = format!("{FAST}topics = ['room.{{data.room}}']\nevent_bytes_max = '1KiB'\n");
    let gateway = reading(&origin, &settings).start();
    let mut room = gateway.topic("room.1").subscribe();
    room.expect_hello();
    let (_, mut upstream) = serve(&origin, "");
    for (event, why) in [
        ("data: {\"other\":1}", "the event has no {data.room}"),
        ("data: {\"room\":\"*\"}", "a token cannot be `*`"),
        ("event: hello\ndata: {\"room\":1}", "the name of a control event"),
        ("event: a\u{7}b\ndata: {\"room\":1}", "no control characters"),
    ] {
        let refused = report(&gateway, "up")["events"]["refused"].as_u64().expect("a count");
        upstream.send(&format!("{event}\n\n"));
        let report = eventually("the event to be counted", || {
            let report = report(&gateway, "up");
            let is_counted = report["events"]["refused"] == refused + 1;
            is_counted.then_some(report)
        });
        let shown = report["last_refused"].as_str().unwrap_or_default();
        assert!(shown.contains(why), "{report}");
    }
    upstream.send(&format!("data: {{\"room\":1, \"x\":\"{}\"}}\n\n", "x".repeat(1024)));
    upstream.send("data: {\"room\":1}\n\n");
    room.expect_data("{\"room\":1}");
    expect_count(&gateway, "up", "published", 1);
    let events = &report(&gateway, "up")["events"];
    assert_eq!(*events, json!({"published": 1, "duplicate": 0, "refused": 4, "too_large": 1}));
    gateway.expect_metric("tidegate_source_events_total", &[("result", "refused")], 4.0);
    gateway.expect_metric("tidegate_source_events_total", &[("result", "too_large")], 1.0);
}

#[test]
fn headers_are_sent_and_shown_nowhere() {
    let origin = Origin::listen();
    let settings = format!("{FAST}headers = {{ authorization = 'Bearer s3cret' }}\n");
    let gateway = reading(&origin, &settings).start();
    let (request, _upstream) = serve(&origin, "");
    assert_eq!(request.header("authorization"), Some("Bearer s3cret"));
    let report = expect_state(&gateway, "up", "connected").to_string();
    assert!(!report.contains("s3cret") && !report.contains("key=secret"), "{report}");
    assert!(!gateway.log().join("\n").contains("cret"));
}

#[test]
fn a_stream_over_tls_is_read_when_its_certificate_is_good() {
    let (folder, authority) = (Folder::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let (chain, key) = authority.issue(&folder, "localhost");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || serve_tls(&listener, &chain, &key));

    let stranger = folder.write("stranger.pem", &Authority::new().pem());
    let fields = |ca: &str| json!({"url": format!("https://localhost:{port}/"), "ca": ca});
    let gateway = Gateway::start();
    let mut subscriber = gateway.topic("good").subscribe();
    subscriber.expect_hello();
    put(&gateway, "good", &fields(&ca)).expect_status(201);
    subscriber.expect_data("sealed");
    put(&gateway, "wary", &fields(&stranger)).expect_status(201);
    eventually("the certificate to be refused", || {
        let error = report(&gateway, "wary")["last_error"].to_string();
        error.contains("certificate").then_some(())
    });
    assert_eq!(report(&gateway, "wary")["connections"], 0);
}

/// Serves the clients that trust the certificate, until they leave.
fn serve_tls(listener: &TcpListener, chain: &str, key: &str) {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).expect("a file").collect();
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("a certificate and its key");
    let config = Arc::new(config);
    for socket in listener.incoming() {
        let mut socket = socket.expect("a connection");
        let session = rustls::ServerConnection::new(Arc::clone(&config));
        let mut session = session.expect("a session");
        thread::spawn(move || {
            let mut stream = rustls::Stream::new(&mut session, &mut socket);
            let mut request = [0; 1024];
            if stream.read(&mut request).is_ok_and(|read| read > 0) {
                let answer = format!("{HEAD}data: sealed\n\n");
                stream.write_all(answer.as_bytes()).expect("the client reads");
                while stream.read(&mut request).is_ok_and(|read| read > 0) {}
            }
        });
    }
}
