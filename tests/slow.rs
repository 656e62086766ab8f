//! Clients that do not keep up: what waits for them is bounded, what they lose is declared exactly
//! and before the next event, what is half sent is finished, and nobody else notices.

mod support;

#[path = "slow/account.rs"]
mod account;

use std::time::{Duration, Instant};

use account::Account;
use support::{Builder, Connection, Gateway, PATIENCE, Stop, Subscriber, eventually, pause};

/// The data of the event that a test publishes last: the newest is never dropped.
const LAST: &str = "the last one";

/// Kernel buffers as small as they get, so that little is enough to make a client slow.
fn narrow() -> Builder {
    Gateway::builder().env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
}

fn with_ring(frames: usize) -> Builder {
    narrow().env("TIDEGATE__STREAM__RING_FRAMES_MAX", &frames.to_string())
}

/// A prompt client then sees how far the shard is for every client.
fn on_one_shard(builder: Builder) -> Builder {
    builder.env("TIDEGATE__SERVER__SHARDS", "1")
}

fn slow_stream(gateway: &Gateway) -> Subscriber {
    gateway.subscriber("topic=t").receive_buffer(4096).open()
}

#[track_caller]
fn publish(publisher: &mut Connection, data: &str) {
    publisher.request("POST", "/topics/t", &[], data.as_bytes()).expect_status(202);
}

/// Publishes this many events in arrays of 100; each has this many bytes of data.
#[track_caller]
fn publish_many(publisher: &mut Connection, events: usize, bytes: usize) {
    let event = format!(r#"{{"topic":"t","data":"{}"}}"#, "x".repeat(bytes));
    let array = format!("[{}]", vec![event; 100].join(","));
    assert_eq!(events % 100, 0);
    for _ in 0..events / 100 {
        let headers = [("content-type", "application/json")];
        publisher.request("POST", "/publish", &headers, array.as_bytes()).expect_status(202);
    }
}

/// Data that says its own number and length, so that a changed byte is found.
fn numbered(number: usize, length: usize) -> String {
    let letter = char::from(b'a' + (number % 26) as u8);
    format!("{number}:{length}:{}", letter.to_string().repeat(length))
}

#[track_caller]
fn expect_intact(data: &str) {
    let mut parts = data.splitn(3, ':');
    let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("a number");
    assert_eq!(numbered(number(), number()), data);
}

/// Reads the stream up to the last event, with pauses as long as `dawdle` gives before each.
#[track_caller]
fn read_all(stream: &mut Subscriber, mut dawdle: impl FnMut() -> Duration) -> Account {
    let mut account = Account::from(&stream.expect_hello().cursor);
    loop {
        pause(dawdle());
        let event = stream.next();
        account.take(&event);
        match event.event.as_str() {
            "gap" => {}
            _ if event.data == LAST => return account,
            _ => expect_intact(&event.data),
        }
    }
}

#[track_caller]
fn read_on(stream: &mut Subscriber, account: &mut Account) {
    loop {
        let event = stream.next();
        account.take(&event);
        if event.data == LAST {
            return;
        }
    }
}

/// While a client's window is small the kernel's timers, of some hundred milliseconds, move a few
/// bytes now and then. After that nothing moves until the client reads.
#[track_caller]
fn wait_until_the_kernel_is_full(gateway: &Gateway) {
    let mut sent = 0.0;
    eventually("nothing more to be sent", || {
        let before = std::mem::replace(&mut sent, gateway.metric("tidegate_sent_bytes_total", &[]));
        pause(Duration::from_millis(700));
        (sent == before).then_some(())
    });
}

#[track_caller]
fn expect_counted(gateway: &Gateway, delivered_and_dropped: u64) {
    eventually("the counters to add up", || {
        let delivered = gateway.metric("tidegate_events_delivered_total", &[]);
        let dropped = gateway.metric("tidegate_events_dropped_total", &[]);
        ((delivered + dropped) as u64 == delivered_and_dropped).then_some(())
    });
}

#[test]
fn f14_stop_and_go_reading_never_breaks_a_frame_or_a_count() {
    const EVENTS: usize = 1500;
    const CLIENTS: u64 = 8;
    let gateway = with_ring(8).start();
    let mut streams: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let request = gateway.subscriber("topic=t").receive_buffer(4096);
            if number % 4 == 3 { request.http10().open() } else { request.open() }
        })
        .collect();
    let accounts: Vec<Account> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..)
            .zip(&mut streams)
            .map(|(seed, stream)| {
                let mut random = fastrand::Rng::with_seed(seed);
                scope.spawn(move || {
                    read_all(stream, || match random.u32(..100) {
                        0 => Duration::from_millis(random.u64(20..200)),
                        1..15 => Duration::from_millis(random.u64(1..8)),
                        _ => Duration::ZERO,
                    })
                })
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(99);
        let mut publisher = gateway.connect_internal();
        for number in 1..EVENTS {
            let length = if random.bool() { random.usize(..200) } else { random.usize(..20_000) };
            publish(&mut publisher, &numbered(number, length));
        }
        publish(&mut publisher, LAST);
        readers.into_iter().map(|reader| reader.join().expect("a strictly valid stream")).collect()
    });
    for account in &accounts {
        assert_eq!(account.received + account.declared, EVENTS as u64, "{account:?}");
    }
    let (received, declared, gaps) = accounts.iter().fold((0, 0, 0), |sums, account| {
        (sums.0 + account.received, sums.1 + account.declared, sums.2 + account.gaps)
    });
    assert!(gaps > CLIENTS, "too few rounds of losing to prove anything: {accounts:?}");
    gateway.expect_metric("tidegate_events_delivered_total", &[], received as f64);
    gateway.expect_metric("tidegate_events_dropped_total", &[("reason", "slow")], declared as f64);
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], gaps as f64);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
    expect_counted(&gateway, CLIENTS * EVENTS as u64);
}

#[test]
fn f14_a_frame_half_on_the_wire_is_finished_before_the_gap() {
    let gateway = with_ring(4).start();
    let mut publisher = gateway.connect_internal();
    for round in 0..20 {
        let mut stream = slow_stream(&gateway);
        // Larger than every buffer on the way: the gateway has written a part of it.
        let large = numbered(round, 100_000 + 997 * round);
        let sent = gateway.metric("tidegate_sent_bytes_total", &[]);
        publish(&mut publisher, &large);
        eventually("a part of it to be sent", || {
            (gateway.metric("tidegate_sent_bytes_total", &[]) > sent).then_some(())
        });
        for number in 0..50 {
            publish(&mut publisher, &numbered(number, 300));
        }
        publish(&mut publisher, LAST);
        let mut account = Account::from(&stream.expect_hello().cursor);
        let first = stream.expect_data(&large);
        account.take(&first);
        assert_eq!(stream.next().event, "gap");
        drop(stream);
    }
}

#[test]
fn f41_one_long_stall_is_one_gap_with_an_exact_count_and_a_ring_of_events() {
    const RING: usize = 16;
    const CLIENTS: u64 = 20;
    const EVENTS: u64 = 3000;
    let gateway = on_one_shard(with_ring(RING)).start();
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| slow_stream(&gateway)).collect();
    let mut prompt = gateway.topic("t").subscribe();
    let mut prompt_account = Account::from(&prompt.expect_hello().cursor);
    let mut publisher = gateway.connect_internal();
    for number in 0..EVENTS {
        publish(&mut publisher, &"x".repeat(2000));
        prompt_account.take(&prompt.next());
        if number + 1 == RING as u64 {
            wait_until_the_kernel_is_full(&gateway);
        }
    }
    publish(&mut publisher, LAST);
    prompt_account.take(&prompt.expect_data(LAST));
    assert_eq!(prompt_account.gaps, 0, "others are not affected: {prompt_account:?}");
    gateway.expect_metric("tidegate_ring_frames", &[], (CLIENTS * RING as u64) as f64);

    for stream in &mut streams {
        let mut account = Account::from(&stream.expect_hello().cursor);
        read_on(stream, &mut account);
        assert_eq!(account.received + account.declared, EVENTS + 1, "{account:?}");
        assert_eq!(account.gaps, 1, "{account:?}");
        assert_eq!(account.since_gap, RING as u64, "{account:?}");
    }
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], CLIENTS as f64);
    expect_counted(&gateway, (CLIENTS + 1) * (EVENTS + 1));

    // Caught up, they are streams like any other.
    publish(&mut publisher, "afterwards");
    for stream in &mut streams {
        stream.expect_data("afterwards");
    }
}

#[test]
fn a_ring_is_bounded_by_bytes_too() {
    let gateway = on_one_shard(narrow())
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "1000")
        .env("TIDEGATE__STREAM__RING_BYTES_MAX", "64KiB")
        .env("TIDEGATE__PUBLISH__EVENT_BYTES_MAX", "60KiB")
        .start();
    let mut stream = slow_stream(&gateway);
    let mut prompt = gateway.topic("t").subscribe();
    prompt.expect_hello();
    let mut publisher = gateway.connect_internal();
    // A frame is its data and less than 100 bytes: 7 of these fit, 8 do not. The last one is short.
    for _ in 0..200 {
        publish(&mut publisher, &"x".repeat(8192));
        prompt.expect_event();
    }
    publish(&mut publisher, LAST);
    gateway.expect_metric("tidegate_ring_frames", &[], 8.0);
    let mut account = Account::from(&stream.expect_hello().cursor);
    read_on(&mut stream, &mut account);
    assert_eq!(account.received + account.declared, 201, "{account:?}");
    assert_eq!(account.since_gap, 8, "{account:?}");
}

#[test]
fn f52_publishing_does_not_notice_that_every_client_is_stuck() {
    const RING: usize = 16;
    const CLIENTS: usize = 200;
    const EVENTS: usize = 10_000;
    let gateway = with_ring(RING).start();
    let streams: Vec<_> = (0..CLIENTS).map(|_| slow_stream(&gateway)).collect();
    let mut publisher = gateway.connect_internal();
    let mut filled = 0;
    eventually("every ring to be full", || {
        publish_many(&mut publisher, 100, 4096);
        filled += 100;
        let waiting = gateway.metric("tidegate_ring_frames", &[]);
        (waiting as usize == CLIENTS * RING).then_some(())
    });
    let before = gateway.rss();
    let began = Instant::now();
    for _ in 0..EVENTS / 400 {
        publish_many(&mut publisher, 400, 4096);
        let waiting = gateway.metric("tidegate_ring_frames", &[]);
        assert!(waiting as usize <= CLIENTS * RING, "{waiting} events wait");
        gateway.get("/readyz").expect_status(200);
    }
    let took = began.elapsed();
    assert!(took < PATIENCE, "{EVENTS} events took {took:?}");
    // They were 40 MB; what the rings share of them is a few hundred KiB.
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "memory has grown by {grown} bytes");
    assert_eq!(gateway.metric("tidegate_subscribers", &[]), CLIENTS as f64);
    let codes = gateway.metric("tidegate_publish_requests_total", &[]);
    assert_eq!(gateway.metric("tidegate_publish_requests_total", &[("code", "202")]), codes);
    drop(streams);
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
    expect_counted(&gateway, (CLIENTS * (EVENTS + filled)) as u64);
}

#[test]
fn f41_a_client_that_takes_nothing_for_too_long_is_given_up() {
    let gateway = with_ring(4).env("TIDEGATE__SERVER__TCP_USER_TIMEOUT", "1s").start();
    let stuck = slow_stream(&gateway);
    let mut prompt = gateway.topic("other").subscribe();
    prompt.expect_hello();
    let mut publisher = gateway.connect_internal();
    for _ in 0..50 {
        publish(&mut publisher, &"x".repeat(2000));
    }
    gateway.expect_metric("tidegate_ring_frames", &[], 4.0);
    gateway.expect_metric("tidegate_subscribers", &[], 1.0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
    expect_counted(&gateway, 50);
    gateway.topic("other").publish("one");
    prompt.expect_data("one");
    drop(stuck);
}

#[test]
fn heartbeats_do_not_overtake_what_waits() {
    let gateway = with_ring(8).env("TIDEGATE__STREAM__HEARTBEAT", "100ms").start();
    let mut stream = slow_stream(&gateway);
    let mut publisher = gateway.connect_internal();
    publish_many(&mut publisher, 300, 2000);
    publish(&mut publisher, LAST);
    // Several heartbeats are due while the client is away.
    let mut prompt = gateway.topic("other").subscribe();
    prompt.expect_hello();
    for _ in 0..4 {
        prompt.expect_comment();
    }
    let mut account = Account::from(&stream.expect_hello().cursor);
    read_on(&mut stream, &mut account);
    assert_eq!(account.received + account.declared, 301, "{account:?}");
    let cursor = stream.last_event_id().to_owned();
    stream.expect_comment();
    assert_eq!(stream.last_event_id(), cursor, "a heartbeat stays where the stream is");
}

#[test]
fn a_limit_counts_what_a_slow_stream_was_sent_and_not_what_it_lost() {
    let gateway = with_ring(8).start();
    let mut stream = gateway.subscriber("topic=t&limit=5").receive_buffer(4096).open();
    let mut publisher = gateway.connect_internal();
    for _ in 0..100 {
        publish(&mut publisher, &"x".repeat(20_000));
    }
    let mut account = Account::from(&stream.expect_hello().cursor);
    loop {
        let event = stream.next();
        if event.event == "end" {
            break;
        }
        account.take(&event);
    }
    assert_eq!(account.received, 5, "{account:?}");
    assert!(account.declared > 0, "{account:?}");
    assert_eq!(stream.expect_stop(), Stop::Complete);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "limit")], 1.0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
}

#[test]
fn a_limited_stream_whose_time_is_over_leaves_nothing_behind() {
    let gateway = narrow().start();
    let request = gateway.subscriber("topic=t&limit=3&max_duration=1s").receive_buffer(4096);
    let mut stream = request.open();
    let mut publisher = gateway.connect_internal();
    for number in 0..50 {
        publish(&mut publisher, &numbered(number, 20_000));
    }
    assert!(gateway.metric("tidegate_ring_frames", &[]) > 3.0, "nothing waits beyond the limit");
    pause(Duration::from_millis(1300)); // Its time is over, and it has read nothing.
    stream.expect_hello();
    for number in 0..3 {
        stream.expect_data(&numbered(number, 20_000));
    }
    stream.expect_end("limit");
    stream.expect_closed();
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
    gateway.expect_metric("tidegate_ring_frames", &[], 0.0);
    gateway.expect_metric("tidegate_gaps_total", &[], 0.0);
}

#[test]
fn the_names_of_topics_count_as_bytes_that_wait() {
    const EVENTS: usize = 2000;
    let gateway = on_one_shard(narrow())
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "4096")
        .env("TIDEGATE__STREAM__RING_BYTES_MAX", "1MiB")
        .start();
    let stuck = slow_stream(&gateway);
    let mut publisher = gateway.connect_internal();
    for _ in 0..20 {
        publish(&mut publisher, &"x".repeat(20_000));
    }
    wait_until_the_kernel_is_full(&gateway);
    let names: Vec<String> = (0..59).map(|number| format!("{number:0>500}")).collect();
    let topics = [&["t".to_owned()], &names[..]].concat();
    let body = serde_json::json!({ "topic": topics }).to_string();
    let headers = [("content-type", "application/json")];
    let before = gateway.rss();
    for _ in 0..EVENTS {
        publisher.request("POST", "/publish", &headers, body.as_bytes()).expect_status(202);
    }
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 6 << 20, "memory has grown by {grown} bytes");
    // An event is more than 29,500 bytes of names.
    let waiting = gateway.metric("tidegate_ring_frames", &[]);
    assert!((20.0..36.0).contains(&waiting), "{waiting} events wait");
    drop(stuck);
}
