//! What the gateway holds and what it does when there is no more of it: descriptors, places for
//! connections, memory after a crowd has left, and a handler that panics.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Connection, Deadline, Gateway, Received, Subscriber, eventually, metrics, pause};
use tidegate::http::guard::Limits;
use tidegate::http::{Answer, Handler, Http2Options, LeftoverBounds, Options, serve, text};
use tidegate::net::{Peer, Scheme, Transport};
use tokio::task::LocalSet;

/// What the gateway keeps of its descriptors for everything but public connections.
const DESCRIPTORS_RESERVED: u32 = 256;

const SUBSCRIBE: &[u8] = b"GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Lets the test itself hold as many sockets as it may.
fn raise_open_files() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
}

/// Connections that have asked for a stream and do not yet know whether they get it.
fn ask(gateway: &Gateway, count: usize) -> Vec<Connection> {
    let ask = |_| {
        let mut client = gateway.connect_public();
        client.send(SUBSCRIBE);
        client
    };
    (0..count).map(ask).collect()
}

/// Whether the stream has begun by now.
fn is_served(client: &mut Connection) -> bool {
    if client.buffer.is_empty() {
        client.receive(Deadline::after(Duration::from_millis(1)));
    }
    client.buffer.starts_with(b"HTTP/1.1 200 ")
}

#[track_caller]
fn expect_served(client: &mut Connection) {
    if client.buffer.is_empty() {
        assert!(matches!(client.receive(Deadline::patient()), Received::Bytes(_)));
    }
    assert_eq!(client.read_head().status, 200);
}

/// A sample, scraped over a connection that is open already.
#[track_caller]
fn scrape(internal: &mut Connection, name: &str, labels: &[(&str, &str)]) -> f64 {
    let exposition = internal.request("GET", "/metrics", &[], b"").expect_status(200);
    metrics::sample(exposition.text(), name, labels).expect("a sample")
}

// --- Descriptors

#[test]
fn f43_without_descriptors_the_gateway_waits_and_then_accepts_again() {
    // More connections are allowed than there are descriptors for.
    let limit = 300;
    let gateway = Gateway::builder()
        .env("TIDEGATE__SERVER__CONNECTIONS_MAX", "1000")
        .start_with_open_files(limit);
    let mut internal = gateway.connect_internal();
    assert_eq!(scrape(&mut internal, "tidegate_accept_errors_total", &[]), 0.0);
    let mut clients = ask(&gateway, 500);
    eventually("descriptors to run out", || {
        (scrape(&mut internal, "tidegate_accept_errors_total", &[]) > 0.0).then_some(())
    });
    eventually("every descriptor to be in use", || {
        (gateway.open_files() >= limit as usize).then_some(())
    });

    let before = gateway.cpu_time();
    let errors = scrape(&mut internal, "tidegate_accept_errors_total", &[]);
    pause(Duration::from_secs(2));
    let used = gateway.cpu_time() - before;
    assert!(used < Duration::from_millis(400), "it was busy for {used:?} of 2 s");
    let errors = scrape(&mut internal, "tidegate_accept_errors_total", &[]) - errors;
    assert!(errors < 40.0, "{errors} attempts in 2 s");

    // Those who are in are served: publishing over an open connection, streams, health.
    internal.request("POST", "/topics/t", &[], b"still here").expect_status(202);
    internal.request("GET", "/healthz", &[], b"").expect_status(200);
    let mut served: Vec<Connection> = clients.extract_if(.., is_served).collect();
    assert!(served.len() > 200, "{} streams", served.len());
    for client in &mut served {
        while !String::from_utf8_lossy(&client.buffer).contains("data: still here\n") {
            assert!(matches!(client.receive(Deadline::patient()), Received::Bytes(_)));
        }
    }

    // Those who wait come in as others leave, and a new publisher too.
    drop(served);
    clients.iter_mut().take(200).for_each(expect_served);
    clients.clear();
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_hello();
    gateway.topic("t").publish("as before");
    subscriber.expect_data("as before");
}

#[test]
fn f43_the_public_listener_leaves_descriptors_for_everything_else() {
    let limit = 300;
    let places = (limit - DESCRIPTORS_RESERVED) as usize;
    let gateway = Gateway::builder().start_with_open_files(limit);
    let mut clients = ask(&gateway, 3 * places);
    let full = || {
        let subscribers = gateway.metric("tidegate_subscribers", &[]);
        (subscribers >= places as f64).then_some(())
    };
    eventually("the public listener to be full", full);
    // Shards look at the count before they wait for a connection: each may have taken one more.
    let shards = thread::available_parallelism().map_or(1, usize::from);
    let connections = gateway.metric("tidegate_connections", &[("listener", "public")]);
    assert!(connections as usize <= places + shards, "{connections} for {places} places");

    // Publishers, scrapes and probes come and go.
    gateway.topic("t").publish("everyone in hears it");
    gateway.get("/healthz").expect_status(200);
    let publishers: Vec<_> = (0..50).map(|_| gateway.connect_internal()).collect();
    for mut publisher in publishers {
        publisher.request("POST", "/topics/t", &[], b"and this").expect_status(202);
    }
    assert_eq!(gateway.metric("tidegate_accept_errors_total", &[]), 0.0);

    // Every one of those who wait gets a place when another leaves.
    while !clients.is_empty() {
        let served: Vec<Connection> = clients.extract_if(.., is_served).collect();
        drop(served);
        pause(Duration::from_millis(1));
    }
    assert!(gateway.metric("tidegate_streams_opened_total", &[]) as usize == 3 * places);
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn f43_waiting_for_a_place_costs_nothing() {
    let gateway = Gateway::builder().env("TIDEGATE__SERVER__CONNECTIONS_MAX", "4").start();
    let clients = ask(&gateway, 100);
    eventually("the public listener to be full", || {
        (gateway.metric("tidegate_subscribers", &[]) >= 4.0).then_some(())
    });
    let before = gateway.cpu_time();
    pause(Duration::from_secs(2));
    let used = gateway.cpu_time() - before;
    assert!(used < Duration::from_millis(400), "it was busy for {used:?} of 2 s");
    drop(clients);
}

// --- A crowd comes and goes

#[test]
fn crowds_that_come_and_go_leave_nothing_behind() {
    const CROWD: usize = 2000;
    raise_open_files();
    let gateway = Gateway::start();
    gateway.topic("t").subscribe().expect_hello();
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
    let baseline = eventually("the first connections to be closed", || {
        let internal = gateway.metric("tidegate_connections", &[("listener", "internal")]);
        (internal == 1.0).then(|| gateway.open_files())
    });
    let mut memory = Vec::new();
    for cycle in 0..5 {
        let mut crowd: Vec<Subscriber> = (0..CROWD)
            .map(|number| gateway.topic(&format!("t.{cycle}.{}", number % 100)).subscribe())
            .collect();
        gateway.expect_metric("tidegate_subscribers", &[], CROWD as f64);
        gateway.topic(&format!("t.{cycle}.7")).publish("one");
        crowd[7].expect_hello();
        crowd[7].expect_data("one");
        drop(crowd);
        gateway.expect_metric("tidegate_subscribers", &[], 0.0);
        gateway.expect_metric("tidegate_connections", &[("listener", "public")], 0.0);
        assert_eq!(gateway.metric("tidegate_topics", &[]), 0.0);
        eventually("every descriptor to be given back", || {
            (gateway.open_files() <= baseline + 1).then_some(())
        });
        memory.push(gateway.rss());
    }
    let total = (5 * CROWD + 1) as f64;
    assert_eq!(gateway.metric("tidegate_streams_opened_total", &[]), total);
    assert_eq!(gateway.metric("tidegate_streams_closed_total", &[]), total);
    // What the first crowds made the allocator keep is enough for the later ones.
    assert!(memory[4] <= memory[1] + (4 << 20), "memory after each crowd: {memory:?}");
    gateway.get("/healthz").expect_status(200);
}

// --- Panics

/// Says "well" to everybody who does not ask for a panic.
struct Panicky;

impl Handler for Panicky {
    type Stream = Empty<Bytes>;

    async fn handle(
        self: Rc<Self>,
        head: http::request::Parts,
        _: &mut tidegate::http::RequestBody,
        _: &Peer,
        _: Option<&tidegate::proxy::Interims>,
    ) -> Answer<Self::Stream> {
        assert_ne!(head.uri.path(), "/panic", "the test wants this panic");
        Answer::Response(text("text/plain", "well".to_owned()))
    }

    fn open(&self, _: tidegate::subscribe::Subscription) -> http::Response<Self::Stream> {
        unreachable!("the handler never answers with a stream")
    }
}

/// A listener that serves [`Panicky`] the way a shard serves: every connection is a task of its own
/// on one thread.
fn serve_panicky() -> SocketAddr {
    let (send_address, address) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("a listener takes it");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            send_address.send(listener.local_addr().expect("an address")).expect("the test waits");
            let timeout = Duration::from_secs(10);
            let options = Options {
                access: false,
                limits: Limits::default(),
                header_timeout: timeout,
                keepalive_timeout: timeout,
                requests_max: u64::MAX,
                body_rate_min: 0,
                response_rate_min: 0,
                send_timeout: timeout,
                http2: Http2Options {
                    streams_max: 16,
                    control_frames_max: 1000,
                    window_timeout: timeout,
                    ping_interval: timeout,
                },
                leftover: LeftoverBounds { bytes_max: 0, timeout },
            };
            let handler = Rc::new(Panicky);
            loop {
                let (stream, address) = listener.accept().await.expect("a connection");
                let peer = Peer::new(address, Scheme::Http);
                let (handler, never) = (Rc::clone(&handler), std::future::pending());
                let stream = Transport::Plain(stream);
                tokio::task::spawn_local(serve(stream, peer, handler, options, never));
            }
        });
    });
    address.recv().expect("the listener has an address")
}

#[test]
fn f50_a_panic_ends_its_own_connection_and_no_other() {
    let address = serve_panicky();
    let mut bystander = Connection::open(address);
    bystander.request("GET", "/", &[], b"").expect_status(200);
    for _ in 0..3 {
        let mut victim = Connection::open(address);
        victim.request("GET", "/", &[], b"").expect_status(200);
        victim.send_request("GET", "/panic", &[], b"");
        victim.expect_closed();
        bystander.request("GET", "/", &[], b"").expect_status(200);
        let mut next = Connection::open(address);
        assert_eq!(next.request("GET", "/", &[], b"").expect_status(200).text(), "well");
    }
}
