//! Event streams that a server shares: it is asked once, every client has every event, and users' streams
//! never mix.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread::{scope, spawn};
use std::time::Duration;

use crate::support::{
    Connection, Deadline, Gateway, Origin, OriginConnection, Received, Subscribe, Subscriber,
};

/// Long enough for a request that should not come to have come.
const QUIET: Duration = Duration::from_millis(200);

pub(crate) fn sharing(origin: &Origin) -> Gateway {
    let url = origin.url();
    Gateway::builder()
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['{url}']\n\
             [[proxy.routes]]\nupstream = 'app'\npath = '/live'\ncollapse = true\n"
        ))
        .start()
}

/// The head of an event stream that is shared under a key.
pub(crate) fn shared(key: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntidegate-collapse: {key}\r\n\
         access-control-allow-origin: https://app.example\r\nset-cookie: for=one\r\n\r\n"
    )
}

fn ask(gateway: &Gateway, target: &str, cookie: &str) -> Subscribe {
    gateway.subscriber("").target(target).header("cookie", cookie)
}

/// Opens a stream for which the server is asked, and answers with `head`.
fn first(
    gateway: &Gateway,
    origin: &Origin,
    cookie: &str,
    head: &str,
) -> (Subscriber, OriginConnection) {
    scope(|scope| {
        let opened = scope.spawn(|| ask(gateway, "/live", cookie).open());
        let (_, server) = origin.answer(head);
        (opened.join().expect("the stream opens"), server)
    })
}

/// Whether the gateway has closed a connection to a server.
fn expect_left(mut server: OriginConnection) {
    let received = server.0.receive(Deadline::patient());
    assert!(
        matches!(received, Received::Closed | Received::Reset),
        "the gateway leaves: {received:?}"
    );
}

#[test]
fn a_server_is_asked_once_for_the_same_user() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("board-1"));
    assert_eq!(one.head().header("x-accel-buffering"), Some("no"));
    assert_eq!(one.head().header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(one.head().header("set-cookie"), None, "cookies are for one client");
    server.send("event: state\ndata: {\"a\":1}\n\n");
    one.expect_named("state");
    let mut two = ask(&gateway, "/live", "user=1").open();
    assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "the server is not asked");
    server.send(": ignored\nid: 7\nretry: 1234\ndata: both\ndata: lines\n\n");
    let (of_one, of_two) = (one.expect_data("both\nlines"), two.expect_data("both\nlines"));
    assert_eq!(of_one.id, of_two.id, "one event, one id");
    assert_eq!((one.retry_ms(), two.retry_ms()), (Some(1234), Some(1234)));
}

#[test]
fn the_first_client_has_the_stream_from_its_beginning() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let head = format!("{}data: first\n\ndata: second\n\n", shared("k"));
    let (mut one, _server) = first(&gateway, &origin, "user=1", &head);
    one.expect_data("first");
    one.expect_data("second");
}

#[test]
fn another_user_is_let_in_by_the_server_alone() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("board-1"));
    let (mut two, asked) = first(&gateway, &origin, "user=2", &shared("board-1"));
    expect_left(asked);
    let (mut three, mut other) = first(&gateway, &origin, "user=3", &shared("board-2"));
    server.send("data: for board 1\n\n");
    other.send("data: for board 2\n\n");
    one.expect_data("for board 1");
    two.expect_data("for board 1");
    three.expect_data("for board 2");
    for client in [&mut one, &mut two, &mut three] {
        client.expect_silence(QUIET);
    }
    // Who was let in once is not asked for again.
    let mut again = ask(&gateway, "/live", "user=2").open();
    server.send("data: more\n\n");
    again.expect_data("more");
}

#[test]
fn the_url_counts_whatever_the_key() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    let (mut two, mut other) = scope(|scope| {
        let opened = scope.spawn(|| ask(&gateway, "/live?room=2", "user=1").open());
        let (request, server) = origin.answer(&shared("k"));
        assert_eq!(request.line, "GET /live?room=2 HTTP/1.1");
        (opened.join().expect("the stream opens"), server)
    });
    server.send("data: 1\n\n");
    other.send("data: 2\n\n");
    one.expect_data("1");
    two.expect_data("2");
    one.expect_silence(QUIET);
}

#[test]
fn what_the_server_does_not_share_passes_as_it_is() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let plain = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let (mut one, mut server) = first(&gateway, &origin, "user=1", plain);
    let (mut two, mut other) = first(&gateway, &origin, "user=1", plain);
    server.send("id: mine\ndata: 1\n\n");
    other.send("id: its\ndata: 2\n\n");
    assert_eq!(one.expect_data("1").id, "mine");
    assert_eq!(two.expect_data("2").id, "its");
    // Nor is anything but an event stream, nor another route's.
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntidegate-collapse: k\r\n\
                content-length: 2\r\n\r\n{}";
    for _ in 0..2 {
        let mut client = gateway.connect_public();
        client.send_request("GET", "/live", &[("accept", "text/event-stream")], b"");
        origin.answer(json);
        let response = client.read_response("GET").expect_status(200);
        assert_eq!((response.text(), response.header("tidegate-collapse")), ("{}", None));
    }
}

#[test]
fn private_topics_are_nobody_elses() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let mut all = gateway.subscribe("topic=%3E&topic=*");
    all.expect_hello();
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    server.send("data: private\n\n");
    one.expect_data("private");
    gateway.topic("*").publish("for everyone");
    all.expect_data("for everyone");
    one.expect_silence(QUIET);
    server.send("data: still there\n\n");
    one.expect_data("still there");
}

#[test]
fn f15_a_server_that_dies_within_an_event_is_resumed_and_nobody_notices() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    let mut two = ask(&gateway, "/live", "user=1").open();
    server.send("retry: 100\nid: 41\ndata: whole\n\nid: 42\ndata: half of th");
    one.expect_data("whole");
    two.expect_data("whole");
    drop(server);
    let (request, mut server) = origin.answer(&shared("k"));
    assert_eq!(request.header("last-event-id"), Some("41"), "the half was not an event");
    assert_eq!(request.header("cookie"), Some("user=1"));
    server.send("id: 42\ndata: all of it\n\n");
    one.expect_data("all of it");
    two.expect_data("all of it");
}

#[test]
fn a_stream_that_cannot_be_resumed_ends_and_what_is_missed_is_declared() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    server.send("data: seen\n\n");
    let id = one.expect_data("seen").id;
    drop(server);
    one.expect_closed();
    let mut server = scope(|scope| {
        let opened = scope.spawn(|| ask(&gateway, "/live", "user=1").after(&id).open());
        let (request, mut server) = origin.answer(&shared("k"));
        assert_eq!(request.header("last-event-id"), None, "an id of ours means nothing to it");
        server.send("data: new\n\n");
        let mut one = opened.join().expect("the stream opens");
        assert_eq!(one.expect_gap().reason, "expired");
        one.expect_data("new");
        server
    });
    // And so is it to one that joins.
    let mut late = ask(&gateway, "/live", "user=1").after(&id).open();
    assert_eq!(late.expect_gap().reason, "expired");
    late.expect_data("new");
    server.send("data: live\n\n");
    late.expect_data("live");
}

#[test]
fn a_client_that_comes_back_has_what_it_has_missed() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    let two = ask(&gateway, "/live", "user=1").open();
    server.send("data: 1\n\n");
    let id = one.expect_data("1").id;
    drop(one);
    server.send("data: 2\n\ndata: 3\n\n");
    let mut one = ask(&gateway, "/live", "user=1").after(&id).open();
    one.expect_data("2");
    one.expect_data("3");
    drop(two);
}

#[test]
fn the_server_is_left_when_the_last_client_has_gone() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (one, server) = first(&gateway, &origin, "user=1", &shared("k"));
    let two = ask(&gateway, "/live", "user=1").open();
    drop(one);
    drop(two);
    expect_left(server);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    server.send("data: begins anew\n\n");
    one.expect_data("begins anew");
}

#[test]
fn many_at_once_make_one_request() {
    const CLIENTS: usize = 200;
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let target = || ask(&gateway, "/live", "user=1");
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| target()).map(|ask| spawn(move || ask.open())).collect();
    let (_, mut server) = origin.answer(&shared("k"));
    let mut clients: Vec<_> =
        clients.into_iter().map(|client| client.join().expect("the stream opens")).collect();
    assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "the server is asked once");
    server.send("data: for all\n\n");
    for client in &mut clients {
        client.expect_data("for all");
    }
}

#[test]
fn who_leads_and_leaves_is_followed_by_another() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let mut leader = gateway.connect_public();
    leader.send_request(
        "GET",
        "/live",
        &[("accept", "text/event-stream"), ("cookie", "user=1")],
        b"",
    );
    let mut asked = origin.accept();
    asked.read_request();
    let target = ask(&gateway, "/live", "user=1");
    let follower = spawn(move || target.open());
    assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "the follower waits");
    drop(leader);
    let (_, mut server) = origin.answer(&shared("k"));
    let mut follower = follower.join().expect("the stream opens");
    server.send("data: there\n\n");
    follower.expect_data("there");
}

#[test]
fn over_http2_it_is_the_same_stream() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    let mut two = Command::new("curl")
        .args(["--http2-prior-knowledge", "-sN", "-H", "accept: text/event-stream"])
        .args(["-H", "cookie: user=1", "-H", "host: localhost", "--max-time", "20"])
        .arg(format!("http://{}/live", gateway.public))
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl runs");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], 1.0);
    server.send("event: news\ndata: for both\n\n");
    let id = one.expect_named("news").id;
    let mut lines = BufReader::new(two.stdout.take().expect("it is piped")).lines();
    let expected = format!("id: {id}");
    let found = lines.by_ref().map_while(Result::ok).find(|line| *line == expected);
    assert!(found.is_some(), "the same event has the same id");
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("event: news"));
    two.kill().expect("it is there");
    two.wait().expect("it ends");
}

/// What a client calls itself, to servers too.
fn name(client: &Connection) -> String {
    client.stream().local_addr().expect("it is connected").to_string()
}

/// So many clients that ask for the same at once. The first has asked the server when the others come.
fn waiting(
    gateway: &Gateway,
    origin: &Origin,
    clients: usize,
) -> (Vec<Connection>, OriginConnection) {
    let asking = |_| {
        let mut client = gateway.connect_public();
        let name = name(&client);
        let headers = [("accept", "text/event-stream"), ("x-client", name.as_str())];
        client.send_request("GET", "/live", &headers, b"");
        client
    };
    let mut asked: Vec<Connection> = (0..1).map(asking).collect();
    let mut server = origin.accept();
    server.read_request();
    asked.extend((1..clients).map(asking));
    assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "the others wait");
    (asked, server)
}

/// Of these clients the one that has been answered; the others have not.
fn take_answered(clients: &mut Vec<Connection>) -> Connection {
    let mut now = || {
        let soon = || Deadline::after(Duration::from_millis(2));
        clients.iter_mut().position(|client| matches!(client.receive(soon()), Received::Bytes(_)))
    };
    let found = std::iter::repeat_with(&mut now).take(1000).flatten().next();
    let answered = clients.swap_remove(found.expect("one is answered"));
    assert!(clients.iter().all(|client| client.buffer.is_empty()), "the others wait");
    answered
}

const FAILURES: [&str; 2] = ["503 Unavailable", "429 Too Many Requests"];

#[test]
fn after_a_failure_the_next_one_asks_and_the_others_wait_for_it() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut clients, mut server) = waiting(&gateway, &origin, 8);
    let mut asks = String::new();
    for failure in FAILURES {
        server
            .send(&format!("HTTP/1.1 {failure}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
        let mut told = take_answered(&mut clients);
        assert_eq!(told.read_response("GET").status.to_string(), failure[..3]);
        server = origin.accept();
        asks = server.read_request().header("x-client").expect("it has a name").to_owned();
        assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "one asks at a time");
    }
    // One that leaves while it waits is passed over.
    let waits = clients.iter().position(|client| name(client) != asks);
    drop(clients.remove(waits.expect("only one asks")));
    // No answer at all.
    drop(server);
    assert_eq!(take_answered(&mut clients).read_response("GET").status, 502);
    let (_, _server) = origin.answer(&shared("k"));
    for client in &mut clients {
        assert_eq!(client.read_head().status, 200);
    }
    assert!(origin.accept_within(Deadline::after(QUIET)).is_none(), "all have their stream");
}

#[test]
fn who_is_not_shared_with_asks_at_once() {
    let origin = Origin::listen();
    let gateway = sharing(&origin);
    let (mut clients, mut server) = waiting(&gateway, &origin, 5);
    server.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let servers: Vec<_> = (1..5).map(|_| origin.accept()).collect();
    for mut server in servers {
        server.read_request();
        server.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
    }
    for client in &mut clients {
        client.read_response("GET").expect_status(403);
    }
    // Nothing of it is remembered.
    let (mut one, mut server) = first(&gateway, &origin, "user=1", &shared("k"));
    server.send("data: new\n\n");
    one.expect_data("new");
}

#[test]
fn nobody_waits_for_longer_than_for_an_answer() {
    let origin = Origin::listen();
    let gateway = Gateway::builder()
        .config(&format!(
            "[[proxy.upstreams]]\nname = 'app'\nservers = ['{}']\nresponse_timeout = '700ms'\n\
             [[proxy.routes]]\nupstream = 'app'\npath = '/live'\ncollapse = true\n",
            origin.url()
        ))
        .start();
    let (mut clients, _silent) = waiting(&gateway, &origin, 3);
    let servers: Vec<_> = (1..3).map(|_| origin.accept()).collect();
    for mut server in servers {
        server.read_request();
        server.send(&format!("{}data: 1\n\n", shared("k")));
    }
    for (client, status) in clients.iter_mut().zip([504, 200, 200]) {
        assert_eq!(client.read_head().status, status);
    }
}
