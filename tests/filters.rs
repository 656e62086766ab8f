//! `?filter=`: of what goes to a stream's topics, the events with some names.

mod support;

use std::time::Duration;

use support::{Gateway, Subscriber};

#[test]
fn only_events_with_these_names_come_and_control_events_always_do() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__STREAM__HEARTBEAT_KIND", "event")
        .env("TIDEGATE__STREAM__HEARTBEAT", "200ms")
        .start();
    let mut both = gateway.subscribe("topic=t&filter=task.created,message&filter=none");
    let mut created = gateway.subscribe("topic=t&topic=u.*&filter=task.created");
    let mut all = gateway.subscribe("topic=t");
    for stream in [&mut both, &mut created, &mut all] {
        stream.expect_hello();
    }
    let topic = gateway.topic("t");
    topic.publish_named("task.deleted", "1");
    topic.publish("2");
    topic.publish_named("task.created", "3");
    gateway
        .publish(r#"[{"topic":"*","data":"4"},{"topic":"*","event":"task.created","data":"5"}]"#);
    let last = topic.publish_named("task.deleted", "6");
    // A heartbeat moves the cursor over what has not come.
    let datas = |stream: &mut Subscriber| {
        let events = std::iter::repeat_with(|| stream.next());
        let events: Vec<_> =
            events.take_while(|event| event.event != "heartbeat" || event.id != last).collect();
        let published = events.into_iter().filter(|event| event.event != "heartbeat");
        published.map(|event| event.data).collect::<Vec<_>>()
    };
    assert_eq!(datas(&mut both), ["2", "3", "4", "5"]);
    assert_eq!(datas(&mut created), ["3", "5"]);
    assert_eq!(datas(&mut all), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_replay_goes_over_any_number_of_other_events() {
    let gateway = Gateway::start();
    let first = gateway.topic("a.0").publish("before");
    gateway.topic("a.0").publish_named("wanted", "first");
    // More than a page looks at.
    for topic in 1..7 {
        let noise = format!("{{\"topic\":\"a.{topic}\",\"event\":\"noise\"}}\n").repeat(950);
        gateway.post("/publish", &[("content-type", "application/x-ndjson")], noise.as_bytes());
    }
    gateway.topic("a.6").publish_named("wanted", "last");
    let mut stream = gateway.subscriber("topic=a.*&filter=wanted").after(&first).open();
    assert!(stream.expect_hello().resumed);
    stream.expect_data("first");
    stream.expect_data("last");
    gateway.topic("a.1").publish_named("noise", "");
    gateway.topic("a.1").publish_named("wanted", "live");
    stream.expect_data("live");
    // A poll's cursor moves over them too.
    let poll = |cursor: &str| {
        let asked = gateway.subscriber("topic=a.*&filter=wanted&wait=0s").after(cursor);
        asked.header("accept", "application/json").header("last-event-id", cursor).response().json()
    };
    let answer = poll(&first);
    let data: Vec<_> =
        answer["events"].as_array().expect("events").iter().map(|event| &event["data"]).collect();
    assert_eq!(data, ["first", "last", "live"]);
    let noise = gateway.topic("a.1").publish_named("noise", "");
    let answer = poll(answer["cursor"].as_str().expect("a cursor"));
    assert_eq!((&answer["events"], &answer["cursor"]), (&serde_json::json!([]), &noise.into()));
}

#[test]
fn a_slow_streams_gap_counts_what_it_would_have_got() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "4")
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .start();
    let mut stream = gateway.subscriber("topic=t&filter=wanted").receive_buffer(4096).open();
    let wanted = 60;
    for _ in 0..wanted {
        gateway.topic("t").publish_named("wanted", &"x".repeat(10_000));
        gateway.topic("t").publish_named("noise", &"x".repeat(10_000));
    }
    stream.expect_hello();
    let (mut got, mut lost) = (0, 0);
    while got + lost < wanted {
        let event = stream.next();
        match &*event.event {
            "gap" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
                lost += data["count"].as_u64().expect("a count");
            }
            name => {
                assert_eq!(name, "wanted");
                got += 1;
            }
        }
    }
    assert!(lost > 0 && got > 4, "{got} came, {lost} were lost");
    stream.expect_silence(Duration::from_millis(200));
}

#[test]
fn what_is_gone_of_other_names_cannot_be_counted() {
    let gateway = Gateway::builder().config("[history]\nevents_max = 2\n").start();
    let first = gateway.topic("t").publish("0");
    for _ in 0..5 {
        gateway.topic("t").publish_named("noise", "");
    }
    let mut stream = gateway.subscriber("topic=t&filter=wanted").after(&first).open();
    stream.expect_hello();
    assert_eq!(stream.expect_gap().count, None);
}

#[test]
fn a_filter_that_is_none_is_refused() {
    let gateway = Gateway::start();
    for filter in ["", "a,", "a%00b"] {
        let response = gateway.subscriber(&format!("topic=t&filter={filter}")).response();
        assert_eq!(response.json()["field"], "filter");
        assert_eq!(response.expect_problem(400), "urn:tidegate:problem:bad-parameter", "{filter}");
    }
}
