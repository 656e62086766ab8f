//! TLS: streams and pages over it, certificates by name, new ones without dropping a stream, clients'
//! certificates, and app servers behind it. The client is curl.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

use support::{
    Authority, Builder, Decoder, Event, Folder, Gateway, Origin, PATIENCE, eventually, pause,
};

/// A gateway with these certificates, and with more of a configuration.
fn over_tls(certificates: &[(String, String)], more: &str) -> Builder {
    let entries: String = certificates
        .iter()
        .map(|(chain, key)| format!("[[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"))
        .collect();
    Gateway::builder().config(&format!("[tls]\nlisten = '127.0.0.1:0'\n{more}\n{entries}"))
}

/// What comes of an order to read the certificates again.
const RELOADS: &str = "tidegate_config_reloads_total";

/// curl, which takes `name` for the gateway's.
fn curl(gateway: &Gateway, name: &str, path: &str, args: &[&str]) -> Child {
    let address = gateway.tls.expect("the gateway listens over TLS");
    let port = address.port();
    Command::new("curl")
        .args(["--silent", "--show-error", "--no-buffer"])
        .args(["--max-time", &PATIENCE.as_secs().to_string()])
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(args)
        .arg(format!("https://{name}:{port}{path}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is installed")
}

#[track_caller]
fn said(curl: Child) -> String {
    let Output { status, stdout, stderr } = curl.wait_with_output().expect("curl ends");
    let why = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "curl failed, {status}: {why}");
    String::from_utf8(stdout).expect("UTF-8")
}

/// curl's exit code when it could not agree with the gateway.
#[track_caller]
fn refusal(curl: Child) -> i32 {
    let output = curl.wait_with_output().expect("curl ends");
    let code = output.status.code().expect("curl was not killed");
    assert_ne!(code, 0, "curl got in: {}", String::from_utf8_lossy(&output.stdout));
    code
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

#[test]
fn streams_are_the_same_over_tls_whatever_is_spoken() {
    let folder = Folder::new();
    let authority = Authority::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let gateway = over_tls(&[authority.issue(&folder, "a.test")], "").start();
    for (args, version, protocol) in [
        (&["--http1.1", "--tlsv1.3"][..], "1.1", "http1"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1", "http1"),
        (&["--http2", "--tlsv1.3"], "2", "http2"),
        (&["--http1.0", "--no-alpn"], "1.1", "http1"),
    ] {
        let mut all = vec!["--cacert", &ca, "--write-out", "\n%{http_version}"];
        all.extend(args);
        let first = gateway.topic("t").publish("missed");
        gateway.topic("t").publish(&"x".repeat(100_000));
        let path = format!("/events?topic=t&limit=3&last_event_id={}", before(&first));
        let stream = curl(&gateway, "a.test", &path, &all);
        gateway.expect_metric("tidegate_subscribers", &[("protocol", protocol)], 1.0);
        gateway.topic("t").publish("live\nlines");
        let text = said(stream);
        let (body, spoken) = text.rsplit_once('\n').expect("curl writes the version");
        assert_eq!(spoken, version, "{args:?}");
        let events = Decoder::new().feed(body.as_bytes());
        assert_eq!(names(&events), ["hello", "message", "message", "message", "end"], "{args:?}");
        assert_eq!((events[1].data.as_str(), events[2].data.len()), ("missed", 100_000));
        assert_eq!(events[3].data, "live\nlines");
        gateway.expect_metric("tidegate_subscribers", &[("protocol", protocol)], 0.0);
    }
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

/// The id before this one.
fn before(id: &str) -> String {
    let (epoch, seq) = id.rsplit_once('-').expect("an id");
    format!("{epoch}-{}", seq.parse::<u64>().expect("a seq") - 1)
}

#[test]
fn a_client_that_leaves_a_stream_over_tls_is_noticed() {
    let folder = Folder::new();
    let authority = Authority::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let gateway = over_tls(&[authority.issue(&folder, "a.test")], "").start();
    let mut stream = curl(&gateway, "a.test", "/events?topic=t", &["--http1.1", "--cacert", &ca]);
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http1")], 1.0);
    stream.kill().expect("curl runs");
    stream.wait().expect("curl ends");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http1")], 0.0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn each_name_gets_its_certificate() {
    let folder = Folder::new();
    let authority = Authority::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let certificates = ["a.test", "*.b.test"].map(|name| authority.issue(&folder, name));
    let gateway = over_tls(&certificates, "").start();
    for name in ["a.test", "x.b.test"] {
        let page = curl(&gateway, name, "/", &["--cacert", &ca, "--write-out", "%{http_code}"]);
        assert!(said(page).ends_with("404"), "{name}");
    }
    // Nothing we have: the first is shown, and the client refuses it.
    assert_eq!(refusal(curl(&gateway, "c.test", "/", &["--cacert", &ca])), 60);
}

#[test]
fn certificates_are_replaced_without_dropping_a_stream() {
    let folder = Folder::new();
    let (old, new) = (Authority::new(), Authority::new());
    let [old_ca, new_ca] =
        [("old.pem", &old), ("new.pem", &new)].map(|(name, ca)| folder.write(name, &ca.pem()));
    let certificate = old.issue(&folder, "a.test");
    let gateway = over_tls(std::slice::from_ref(&certificate), "").start();
    let path = "/events?topic=t&limit=1";
    let stream = curl(&gateway, "a.test", path, &["--http1.1", "--cacert", &old_ca]);
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http1")], 1.0);
    let page = |ca: &str| curl(&gateway, "a.test", "/", &["--cacert", ca]);

    // Something that is no certificate changes nothing.
    std::fs::write(&certificate.0, "nothing").expect("the folder can be written");
    gateway.reload();
    gateway.expect_metric(RELOADS, &[("result", "failed")], 1.0);
    said(page(&old_ca));

    assert_eq!(new.issue(&folder, "a.test"), certificate, "it takes the other's place");
    gateway.reload();
    eventually("the new certificate", || {
        page(&new_ca).wait_with_output().expect("curl ends").status.success().then_some(())
    });
    refusal(page(&old_ca));
    gateway.expect_metric(RELOADS, &[("result", "ok")], 1.0);
    gateway.expect_metric(RELOADS, &[("result", "failed")], 1.0);
    gateway.topic("t").publish("still there");
    let events = Decoder::new().feed(said(stream).as_bytes());
    assert_eq!(events[1].data, "still there");
}

#[test]
fn clients_may_have_to_show_a_certificate() {
    let folder = Folder::new();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let ca = folder.write("ca.pem", &authority.pem());
    let server = [authority.issue(&folder, "a.test")];
    let (chain, key) = authority.issue(&folder, "client.test");
    let (odd_chain, odd_key) = stranger.issue(&folder, "stranger.test");
    for (auth, without) in [("required", false), ("optional", true)] {
        let more = format!("client_auth = '{auth}'\nclient_ca = '{ca}'");
        let gateway = over_tls(&server, &more).start();
        let page = |args: &[&str]| {
            let all = [&["--cacert", &ca], args].concat();
            curl(&gateway, "a.test", "/", &all)
        };
        said(page(&["--cert", &chain, "--key", &key]));
        refusal(page(&["--cert", &odd_chain, "--key", &odd_key]));
        match without {
            true => drop(said(page(&[]))),
            false => drop(refusal(page(&[]))),
        }
    }
}

#[test]
fn an_old_version_can_be_refused_and_a_handshake_must_come_to_its_end() {
    let folder = Folder::new();
    let authority = Authority::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let more = "min_version = '1.3'\nhandshake_timeout = '200ms'";
    let gateway = over_tls(&[authority.issue(&folder, "a.test")], more).start();
    said(curl(&gateway, "a.test", "/", &["--cacert", &ca]));
    refusal(curl(&gateway, "a.test", "/", &["--cacert", &ca, "--tls-max", "1.2"]));
    let tls = gateway.tls.expect("the gateway listens over TLS");
    let mut plain = support::Connection::open(tls);
    plain.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    while !matches!(
        plain.receive(support::Deadline::patient()),
        support::Received::Closed | support::Received::Reset
    ) {}
    let mut silent = support::Connection::open(tls);
    silent.expect_closed();
}

#[test]
fn an_app_server_is_told_that_its_client_came_over_tls() {
    let folder = Folder::new();
    let authority = Authority::new();
    let ca = folder.write("ca.pem", &authority.pem());
    let origin = Origin::listen();
    let gateway = over_tls(&[authority.issue(&folder, "a.test")], "")
        .arg("--upstream")
        .arg(&origin.url())
        .start();
    for args in [["--http1.1"], ["--http2"]] {
        let page = curl(&gateway, "a.test", "/p?q", &[&["--cacert", &ca], &args[..]].concat());
        let (request, _server) = origin
            .answer("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok");
        assert_eq!(request.line, "GET /p?q HTTP/1.1");
        assert_eq!(request.header("x-forwarded-proto"), Some("https"));
        let port = gateway.tls.map(|tls| tls.port()).unwrap_or_default();
        assert_eq!(request.header("host"), Some(&*format!("a.test:{port}")));
        assert_eq!(said(page), "ok");
    }
}

#[test]
fn an_app_server_over_tls_is_verified() {
    let folder = Folder::new();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let behind = over_tls(&[authority.issue(&folder, "localhost")], "").start();
    let url = format!("https://localhost:{}", behind.tls.expect("TLS").port());
    for (ca, status) in [(&authority, 404), (&stranger, 502)] {
        let ca = folder.write("roots.pem", &ca.pem());
        let gateway = Gateway::builder()
            .config(&format!(
                "[[proxy.upstreams]]\nname = 'app'\nservers = ['{url}']\nca = '{ca}'\n\
                 [[proxy.routes]]\nupstream = 'app'\n"
            ))
            .start();
        gateway.connect_public().request("GET", "/nothing", &[], b"").expect_problem(status);
    }
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_with_its_key_and_file() {
    let folder = Folder::new();
    let authority = Authority::new();
    let (chain, key) = authority.issue(&folder, "a.test");
    let (_, other_key) = authority.issue(&folder, "b.test");
    let nothing = folder.write("nothing.pem", "nothing");
    for (chain, key, place, file) in [
        ("/nowhere.pem", &*key, "tls.certificates[0].chain", "/nowhere.pem"),
        (&nothing, &key, "tls.certificates[0].chain", &nothing),
        (&chain, &nothing, "tls.certificates[0].key", &nothing),
        (&chain, &other_key, "tls.certificates[0].key", &other_key),
    ] {
        let (_, said) = over_tls(&[(chain.into(), key.into())], "").expect_refusal();
        assert!(said.contains(place) && said.contains(file), "{said}");
    }
}

// --- Slow readers

/// More than the sockets take that nobody reads from, and less than rustls takes besides: the gateway is
/// done with the response, and its client is not.
const LAST_BYTES: usize = 80 * 1024;

/// What is read until a response of so many bytes is over or its connection closes: so much every 50 ms.
struct SlowReader {
    bytes: usize,
    /// The reader gives up after this long.
    patience: Duration,
}

impl SlowReader {
    /// Asks over TLS for a response of [`LAST_BYTES`] and reads its sealed bytes; how many they were, and the
    /// socket, which is still open.
    fn read(&self, settings: &[(&str, &str)]) -> (Gateway, usize, TcpStream) {
        let (authority, folder) = (Authority::new(), Folder::new());
        let origin = Origin::listen();
        let mut builder = over_tls(&[authority.issue(&folder, "a.test")], "");
        for (key, value) in settings {
            builder = builder.env(&format!("TIDEGATE__SERVER__{key}"), value);
        }
        let gateway = builder.arg("--upstream").arg(&origin.url()).start();
        let mut socket = ask_over_tls(&gateway, &authority);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LAST_BYTES}\r\n\r\n");
        let (_, _server) = origin.answer(&(head + &"x".repeat(LAST_BYTES)));
        let (begun, mut part, mut read) = (Instant::now(), vec![0; self.bytes], 0);
        while begun.elapsed() < self.patience && read < LAST_BYTES {
            match socket.read(&mut part) {
                Ok(bytes @ 1..) => read += bytes,
                _ => break,
            }
            pause(Duration::from_millis(50));
        }
        (gateway, read, socket)
    }
}

/// Sends a request over TLS, and gives the bare socket, which takes little that is not read.
fn ask_over_tls(gateway: &Gateway, authority: &Authority) -> TcpStream {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
    roots.add(root).expect("an authority");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("a.test").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a socket takes the option");
    let address = gateway.tls.expect("the gateway listens over TLS");
    socket.connect(&address.into()).expect("the gateway accepts");
    let mut socket = TcpStream::from(socket);
    let request = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";
    Stream::new(&mut tls, &mut socket).write_all(request).expect("the gateway reads");
    socket
}

#[test]
fn f41_the_last_of_a_response_over_tls_is_held_to_the_pace_too() {
    let reader = SlowReader { bytes: 16, patience: Duration::from_secs(2) };
    let settings = [("RESPONSE_RATE_MIN", "100KiB"), ("SEND_TIMEOUT", "500ms")];
    let (gateway, _, _socket) = reader.read(&settings);
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "slow_reader")], 1.0);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn f41_who_keeps_the_pace_gets_the_last_of_a_response_over_tls_in_its_time() {
    // The kernel takes what was read in steps of 8 KiB: several of them in each `send_timeout`.
    let reader = SlowReader { bytes: 512, patience: Duration::from_secs(30) };
    let settings = [
        ("RESPONSE_RATE_MIN", "2KiB"),
        ("SEND_TIMEOUT", "2s"),
        // The gateway is done with the response for longer.
        ("KEEPALIVE_TIMEOUT", "2500ms"),
    ];
    let (_gateway, read, _) = reader.read(&settings);
    assert!(read >= LAST_BYTES, "it was closed after {read} bytes");
}
