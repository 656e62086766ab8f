//! What belongs here: the forms of a stream that its route and its client choose, compressed or with the
//! topic of each event.

mod support;

use std::process::{Command, Stdio};

use support::{Gateway, Subscribe, Subscriber};

const COMPRESS: &str = "[stream]\ncompress = true\n";

/// Larger than what is worth compressing, and different each time.
fn state(number: u32) -> String {
    let item = |id| format!(r#"{{"id":{id},"title":"Task {id} of {number}","status":"running"}}"#);
    let items: Vec<_> = (0..100).map(item).collect();
    format!("[{}]", items.join(","))
}

fn gzip(gateway: &Gateway, topic: &str) -> Subscribe {
    Subscribe::new(gateway.public, &format!("topic={topic}")).header("accept-encoding", "gzip")
}

fn is_compressed(stream: &Subscriber) -> bool {
    let head = stream.head();
    assert_eq!(head.header("x-accel-buffering"), Some("no"));
    head.header("content-encoding") == Some("gzip")
}

#[test]
fn need_d7_large_payloads_are_compressed_for_who_accepts_it() {
    let gateway = Gateway::builder().config(COMPRESS).start();
    let mut small = gzip(&gateway, "a").open();
    let mut old = gzip(&gateway, "a").http10().open();
    let mut plain = gateway.topic("a").subscribe();
    assert!(is_compressed(&small) && is_compressed(&old) && !is_compressed(&plain));
    for stream in [&mut small, &mut old, &mut plain] {
        stream.expect_hello();
    }
    let before = gateway.metric("tidegate_sent_bytes_total", &[]);
    for number in 0..20 {
        let data = state(number);
        let id = gateway.topic("a").publish(&data);
        for stream in [&mut small, &mut old, &mut plain] {
            assert_eq!(stream.expect_data(&data).id, id);
        }
    }
    let sent = gateway.metric("tidegate_sent_bytes_total", &[]) - before;
    let plain_bytes = f64::from(20 * state(0).len() as u32);
    assert!(
        sent < 1.5 * plain_bytes,
        "{sent} bytes to three streams, {plain_bytes} to the plain one"
    );
    drop(plain);
    // What is short, control events and the past come through as well.
    let id = gateway.topic("a").publish("x");
    assert_eq!(small.expect_data("x").id, id);
    let mut resumed = gzip(&gateway, "a").after(small.last_event_id()).open();
    assert!(resumed.expect_hello().resumed);
    let after_first = gzip(&gateway, "a").after(resumed.last_event_id());
    gateway.topic("a").publish(&state(7));
    let mut resumed = after_first.open();
    resumed.expect_hello();
    resumed.expect_data(&state(7));
    let mut limited = gzip(&gateway, "a&limit=1").open();
    limited.expect_hello();
    gateway.topic("a").publish("last");
    limited.expect_data("last");
    limited.expect_end("limit");
    limited.expect_closed();
}

#[test]
fn only_routes_that_say_so_are_compressed() {
    let gateway = Gateway::start();
    let stream = gzip(&gateway, "a").open();
    assert!(!is_compressed(&stream));
    assert_eq!(stream.head().header("vary"), Some("accept"));
}

#[test]
fn a_slow_client_loses_no_byte_of_a_compressed_stream() {
    let gateway =
        Gateway::builder().config(COMPRESS).env("TIDEGATE__STREAM__SLOW", "catch_up").start();
    let mut slow = gzip(&gateway, "a").receive_buffer(4096).open();
    slow.expect_hello();
    let noise = |number: u32| {
        let mut rng = fastrand::Rng::with_seed(number.into());
        std::iter::repeat_with(|| rng.alphanumeric()).take(20_000).collect::<String>()
    };
    for number in 0..30 {
        gateway.topic("a").publish(&noise(number));
    }
    for number in 0..30 {
        slow.expect_data(&noise(number));
    }
}

#[test]
fn curl_reads_a_compressed_stream_as_it_comes() {
    let gateway = Gateway::builder().config(COMPRESS).start();
    let url = format!("http://{}/events?topic=a&limit=2", gateway.public);
    let curl = Command::new("curl")
        .args(["-sS", "--compressed", "--no-buffer", "--max-time", "20", &url])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is installed");
    gateway.expect_metric("tidegate_streams_opened_total", &[], 1.0);
    gateway.topic("a").publish(&state(1));
    gateway.topic("a").publish("two");
    let output = curl.wait_with_output().expect("curl ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains(&format!("\ndata: {}\n\n", state(1))), "{text}");
    assert!(text.contains("\ndata: two\n\n") && text.contains("\nevent: end\n"), "{text}");
}

#[test]
fn each_event_tells_its_topic_where_the_route_has_that() {
    let config = "[stream]\ntopic_field = \"comment\"\ncompress = true\nslow = \"catch_up\"\n";
    let gateway = Gateway::builder().config(config).start();
    let query = "topic=board.*&topic=news";
    let mut plain = Subscribe::new(gateway.public, query).open();
    let mut small = Subscribe::new(gateway.public, query).header("accept-encoding", "gzip").open();
    for stream in [&mut plain, &mut small] {
        stream.expect_hello();
    }
    let publish = |topics: &str, data: &str| {
        let message = format!(r#"{{"topic":{topics},"data":{data:?}}}"#);
        gateway.publish(&message).expect_status(202);
    };
    publish(r#""board.1""#, "one");
    publish(r#"["secret","board.2","news"]"#, "two");
    publish(r#""*""#, "three");
    for stream in [&mut plain, &mut small] {
        for (data, topic) in [("one", "board.1"), ("two", "board.2"), ("three", "*")] {
            stream.expect_data(data);
            assert_eq!(stream.expect_comment(), format!(" topic {topic}"));
        }
    }
    // So do those of the past, and a half-written one that is finished.
    let mut slow = Subscribe::new(gateway.public, "topic=board.*").receive_buffer(4096).open();
    slow.expect_hello();
    let large = "x".repeat(50_000);
    for _ in 0..15 {
        publish(r#""board.3""#, &large);
    }
    for _ in 0..15 {
        slow.expect_data(&large);
        assert_eq!(slow.expect_comment(), " topic board.3");
    }
    let mut back =
        Subscribe::new(gateway.public, "topic=board.*").after(plain.last_event_id()).open();
    back.expect_hello();
    back.expect_data(&large);
    assert_eq!(back.expect_comment(), " topic board.3");
    plain.expect_data(&large);
    assert!(plain.expect_comment().ends_with("board.3"));
}
