//! Each part of the configuration that a reload can change, in a gateway that runs.

use serde_json::Value;

use super::{refused, reload, with};
use crate::support::app::{App, answer};
use crate::support::{Gateway, Origin, eventually};

fn route(path: &str, topic: &str) -> String {
    format!("[[stream.routes]]\npath = '{path}'\ntopics = ['{topic}']\n")
}

#[test]
fn routes_come_and_go_and_their_streams_stay() {
    let gateway = with(&route("/a", "topic-a"));
    let mut of_a = gateway.subscriber("").target("/a").open();
    of_a.expect_hello();
    reload(&gateway, &(route("/b", "topic-b") + &route("/c", "topic-a")));
    assert_eq!(gateway.subscriber("").target("/a").response().status, 404);
    let [mut of_b, mut of_c] = ["/b", "/c"].map(|path| gateway.subscriber("").target(path).open());
    of_b.expect_hello();
    of_c.expect_hello();
    for topic in ["topic-a", "topic-b"] {
        gateway.topic(topic).publish(topic);
    }
    of_a.expect_data("topic-a");
    of_b.expect_data("topic-b");
    of_c.expect_data("topic-a");
    // Without any, there is /events.
    reload(&gateway, "");
    gateway.topic("t").subscribe().expect_hello();
    gateway.topic("topic-a").publish("again");
    of_a.expect_data("again");
}

fn proxy_to(origin: &Origin, name: &str) -> String {
    let url = origin.url();
    format!(
        "[[proxy.upstreams]]\nname = '{name}'\nservers = ['{url}']\n\
         [[proxy.routes]]\nupstream = '{name}'\n"
    )
}

#[test]
fn requests_go_to_the_new_app_server_and_those_under_way_end_at_the_old_one() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
    let (old, new) = (Origin::listen(), Origin::listen());
    // One shard: each has connections of its own.
    let gateway = Gateway::builder().arg("--shards=1").config(&proxy_to(&old, "old")).start();
    let mut kept = gateway.connect_public();
    kept.send_request("GET", "/one", &[], b"");
    let mut under_way = old.accept();
    assert_eq!(under_way.read_request().line, "GET /one HTTP/1.1");

    reload(&gateway, &proxy_to(&new, "new"));
    let mut other = gateway.connect_public();
    other.send_request("GET", "/two", &[], b"");
    let mut at_new = new.accept();
    assert_eq!(at_new.read_request().line, "GET /two HTTP/1.1");
    at_new.send(&format!("{ANSWER}new"));
    assert_eq!(other.read_response("GET").text(), "new");
    under_way.send(&format!("{ANSWER}old"));
    assert_eq!(kept.read_response("GET").text(), "old");
    // The connection that it came over goes by the new routes from then on; that to the old server is
    // not kept.
    kept.send_request("GET", "/three", &[], b"");
    assert_eq!(at_new.read_request().line, "GET /three HTTP/1.1");
    at_new.send(&format!("{ANSWER}new"));
    assert_eq!(kept.read_response("GET").text(), "new");
    under_way.0.expect_closed();
    let answered = |upstream| {
        gateway
            .metric("tidegate_upstream_requests_total", &[("upstream", upstream), ("code", "2xx")])
    };
    assert_eq!((answered("new"), answered("old")), (2.0, 0.0), "the old one is not shown any more");
}

#[test]
fn bounds_of_publishing_count_for_the_next_request() {
    let gateway = with("");
    let data = "x".repeat(2000);
    gateway.post("/topics/t", &[], data.as_bytes()).expect_status(202);
    reload(&gateway, "[publish]\nevent_bytes_max = '1KiB'\nbody_bytes_max = '10KiB'\n");
    gateway.post("/topics/t", &[], data.as_bytes()).expect_status(413);
    gateway.post("/publish", &[], "x".repeat(11_000).as_bytes()).expect_status(413);
    reload(&gateway, "");
    gateway.post("/topics/t", &[], data.as_bytes()).expect_status(202);
}

#[test]
fn bounds_of_the_history_count_at_once() {
    let gateway = with("");
    let first = gateway.topic("t").publish("0");
    for number in 1..=9 {
        gateway.topic("t").publish(&number.to_string());
    }
    gateway.expect_metric("tidegate_history_events", &[], 10.0);
    reload(&gateway, "[[history.overrides]]\ntopics = 't'\nevents_max = 3\n");
    gateway.expect_metric("tidegate_history_events", &[], 3.0);
    let mut late = gateway.subscriber("topic=t").after(&first).open();
    late.expect_hello();
    assert_eq!(late.expect_gap().reason, "expired");
    for number in 7..=9 {
        late.expect_data(&number.to_string());
    }
}

#[test]
fn bounds_of_connections_count_for_the_next_one() {
    let gateway = with("");
    let _first = gateway.connect_public();
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    reload(&gateway, "[server]\nconnections_per_address_max = 1\n");
    // The first was not counted when it came.
    let _second = gateway.connect_public();
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 2.0);
    gateway.connect_public().expect_closed();
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "address")], 1.0);
    reload(&gateway, "[server]\nheader_timeout = '50ms'\n");
    let mut slow = gateway.connect_public();
    slow.expect_closed();
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "slow_head")], 1.0);
}

fn source(name: &str, origin: &Origin) -> String {
    let url = format!("{}/{name}", origin.url());
    format!("[[source]]\nname = '{name}'\nurl = '{url}'\nretry = '20ms'\n")
}

fn names(gateway: &Gateway) -> Vec<String> {
    let list = gateway.get("/sources").expect_status(200).json();
    let names = list["sources"].as_array().expect("a list").iter();
    names.map(|source| source["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn sources_begin_and_end_and_those_that_stay_read_on() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let [kept, gone, new] = [(); 3].map(|()| Origin::listen());
    let gateway = with(&(source("kept", &kept) + &source("gone", &gone)));
    let mut stream = gateway.subscribe("topic=kept&topic=new");
    stream.expect_hello();
    let [(_, mut from_kept), (_, mut from_gone)] = [kept.answer(HEAD), gone.answer(HEAD)];
    from_kept.send("data: one\n\n");
    stream.expect_data("one");

    reload(&gateway, &(source("kept", &kept) + &source("new", &new)));
    assert_eq!(names(&gateway), ["kept", "new"]);
    from_gone.0.expect_closed();
    let (_, mut from_new) = new.answer(HEAD);
    from_new.send("data: two\n\n");
    stream.expect_data("two");
    from_kept.send("data: three\n\n");
    stream.expect_data("three");
    // One that differs begins anew where it was.
    reload(&gateway, &(source("kept", &kept) + &source("new", &new) + "stale_timeout = '1h'\n"));
    from_new.0.expect_closed();
    let (_, mut again) = new.answer(HEAD);
    again.send("data: four\n\n");
    stream.expect_data("four");
}

#[test]
fn a_source_of_the_file_takes_the_place_of_one_that_was_put() {
    let (put, configured) = (Origin::listen(), Origin::listen());
    let gateway = with("");
    let body = format!(r#"{{"url": "{}/"}}"#, put.url());
    let mut internal = gateway.connect_internal();
    internal.request("PUT", "/sources/s", &[], body.as_bytes()).expect_status(201);
    put.accept();
    reload(&gateway, &source("s", &configured));
    configured.accept();
    let shown = gateway.get("/sources/s").expect_status(200).json();
    assert_eq!(shown["configured"], Value::Bool(true), "{shown}");
    let why = refused(&gateway, "[[source]]\nname = 'a b'\nurl = 'http://a/'\n");
    assert!(why.contains("name"), "{why}");
    eventually("the source to be there still", || (names(&gateway) == ["s"]).then_some(()));
}

#[test]
fn a_hook_at_a_path_is_asked_on_the_upstream_of_the_last_reload() {
    let decides = |status: &'static str| App::new(move |_| answer(status, &[], ""));
    let (old, new) = (decides("403 No"), decides("204 Yes"));
    let on = |app: &App| {
        format!(
            "[proxy]\nupstream = '{}'\n[[stream.routes]]\npath = '/events'\ntopics = ['t']\n\
             auth = {{ url = '/auth' }}\n",
            app.url()
        )
    };
    let gateway = with(&on(&old));
    gateway.subscriber("").target("/events").response().expect_status(403);
    reload(&gateway, &on(&new));
    gateway.subscriber("").target("/events").open().expect_hello();
    assert_eq!((old.asked().len(), new.asked().len()), (1, 1));
}
