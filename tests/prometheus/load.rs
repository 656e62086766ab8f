//! A gateway to which everything happens that it counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::app::{App, answer, json};
use crate::support::{Connection, Gateway, Origin, OriginConnection, Request, Subscriber};

/// How long it may take until everything has happened on a busy machine.
pub(crate) const PATIENCE_WITH_ALL: Duration = Duration::from_secs(60);

/// A WebSocket's request, and its answer.
const UPGRADE: &str = "GET /sockets/one HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
                       upgrade: websocket\r\n\r\n";
const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                        upgrade: websocket\r\n\r\n";
const EVENT_STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// What happens lasts, or comes again, until this is dropped.
pub(crate) struct Load {
    gateway: Arc<Gateway>,
    _app: App,
    _sockets: (Connection, OriginConnection),
    _idle: OriginConnection,
    _source: OriginConnection,
    _streams: Vec<Subscriber>,
    _folder: TempDir,
    stop: Arc<AtomicBool>,
    repeating: Option<JoinHandle<()>>,
}

/// A gateway that has everything to count, and to which nothing has happened yet.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    app: App,
    sockets: Origin,
    source: Origin,
    folder: TempDir,
}

impl Stage {
    /// Starts the gateway, and what is behind it.
    #[track_caller]
    pub(crate) fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the log");
        let app = App::new(of_the_app);
        let (sockets, source, gone) = (Origin::listen(), Origin::listen(), Origin::listen());
        let config = format!(
            "[server]\nheader_timeout = '500ms'\nsend_buffer = '4KiB'\n\
             [history]\nstore = 'disk'\npath = {folder:?}\nfsync = '200ms'\n\
             [stream]\nring_frames_max = 8\n\
             [[stream.routes]]\npath = '/events'\ntopics_from_query = true\n\
             [[stream.routes]]\npath = '/boards/{{id}}/events'\ntopics = ['board.{{id}}']\n\
             [stream.routes.auth]\nurl = '{app}/auth'\n\
             [stream.routes.snapshot]\nurl = '{app}/state'\n\
             [[source]]\nname = 'up'\nurl = '{source}/stream'\n\
             [[proxy.upstreams]]\nname = 'app'\nservers = ['{gone}', '{app}']\n\
             failures_max = 1\nejection = '100ms'\n\
             [[proxy.upstreams]]\nname = 'sockets'\nservers = ['{sockets}']\nkeepalive = '1m'\n\
             [[proxy.routes]]\nupstream = 'app'\n\
             [[proxy.routes]]\nupstream = 'sockets'\npath = '/sockets'\n",
            folder = folder.path(),
            app = app.url(),
            source = source.url(),
            gone = gone.url(),
            sockets = sockets.url(),
        );
        drop(gone);
        let gateway = Gateway::builder().config(&config).start();
        Self { gateway, app, sockets, source, folder }
    }

    /// Has it all happen.
    #[track_caller]
    pub(crate) fn play(self) -> Load {
        let Self { gateway, app, sockets, source, folder } = self;
        let (_, mut source) = source.answer(EVENT_STREAM);
        source.send("data: from afar\n\n");
        let sockets = upgraded_and_idle(&gateway, &sockets);
        let streams = lasting_streams(&gateway);
        let (gateway, stop) = (Arc::new(gateway), Arc::new(AtomicBool::new(false)));
        let (again, stopped) = (Arc::clone(&gateway), Arc::clone(&stop));
        let repeating = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                once_more(&again);
            }
        });
        Load {
            gateway,
            _app: app,
            _sockets: sockets.0,
            _idle: sockets.1,
            _source: source,
            _streams: streams,
            _folder: folder,
            stop,
            repeating: Some(repeating),
        }
    }
}

impl Load {
    /// What it happens to.
    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(repeating) = self.repeating.take() {
            let ended = repeating.join();
            assert!(thread::panicking() || ended.is_ok(), "the load ended by itself");
        }
    }
}

fn of_the_app(request: &Request) -> String {
    match request.line.split(' ').nth(1).unwrap_or_default() {
        "/auth" if request.header("cookie") == Some("member") => answer("204 Yes", &[], ""),
        "/auth" => answer("403 Forbidden", &[], "no"),
        "/state" => json("{}"),
        "/broken" => answer("500 Oh", &[], ""),
        _ => answer("200 OK", &[], "hello"),
    }
}

/// An upgraded connection, and one to the same server that no request uses.
#[track_caller]
fn upgraded_and_idle(
    gateway: &Gateway,
    origin: &Origin,
) -> ((Connection, OriginConnection), OriginConnection) {
    let mut client = gateway.connect_public();
    client.send(UPGRADE.as_bytes());
    let (_, server) = origin.answer(UPGRADED);
    assert_eq!(client.read_head().status, 101);
    let mut other = gateway.connect_public();
    other.send_request("GET", "/sockets/none", &[], b"");
    let (_, idle) = origin.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    other.read_response("GET").expect_status(200);
    ((client, server), idle)
}

/// Streams whose clients do not read: one that is behind, one that is told of the past, some others.
#[track_caller]
fn lasting_streams(gateway: &Gateway) -> Vec<Subscriber> {
    let first = gateway.topic("stuck").publish("first");
    let mut streams = vec![gateway.subscriber("topic=stuck").receive_buffer(4096).open()];
    for _ in 0..40 {
        gateway.topic("stuck").publish(&"x".repeat(20_000));
    }
    let past = gateway.subscriber("topic=stuck").after(&first).receive_buffer(4096);
    streams.push(past.open());
    streams.extend((0..5).map(|_| gateway.topic("t").subscribe()));
    streams
}

/// Everything that passes.
#[track_caller]
fn once_more(gateway: &Gateway) {
    let last = gateway.topic("t").publish("hello");
    gateway.topic("stuck").publish(&"x".repeat(2_000));
    for state in [b"1", b"2"] {
        gateway.post("/topics/stuck?conflate=state", &[], state).expect_status(202);
    }
    gateway.post("/topics/door?retain=true", &[], b"open").expect_status(202);
    gateway.publish("no JSON").expect_status(400);
    gateway.subscriber("topic=t").after(&last).open().expect_hello();
    // An epoch that never was: a gap.
    gateway.subscriber("topic=t").after("000000000001-1").open().expect_hello();
    let board = gateway.subscriber("").target("/boards/1/events");
    board.clone().header("cookie", "member").open().expect_hello();
    assert_eq!(board.response().status, 403);
    let mut client = gateway.connect_public();
    client.request("GET", "/page", &[], b"").expect_status(200);
    client.request("GET", "/broken", &[], b"").expect_status(500);
    // Its head never comes, and the gateway cuts it.
    gateway.connect_public().expect_closed();
    gateway.reload();
}
