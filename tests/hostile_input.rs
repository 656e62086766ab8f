//! What a publisher may not send: each is a problem that names its field, nothing of it is
//! published, the connection serves the next request (unless nobody can tell where that begins), and
//! no byte of it reaches the log raw.

mod support;

#[path = "hostile_input/bodies.rs"]
mod bodies;
#[path = "hostile_input/framing.rs"]
mod framing;
#[path = "hostile_input/logs.rs"]
mod logs;
#[path = "hostile_input/newsroom.rs"]
mod newsroom;

use newsroom::{JSON, NDJSON, Newsroom};
use serde_json::json;
use support::{Gateway, Response};

#[test]
fn what_is_no_event_is_refused() {
    let mut newsroom = Newsroom::open();
    for (body, field) in [
        ("", "body"),
        (" ", "body"),
        ("nonsense", "body"),
        ("{", "body"),
        (r#"{"topic":"t"}{"topic":"t"}"#, "body"),
        (r#"{"topic":"t",}"#, "body"),
        ("{'topic':'t'}", "body"),
        ("\u{feff}{\"topic\":\"t\"}", "body"),
        ("null", "body"),
        ("5", "body"),
        (r#""t""#, "body"),
        ("[]", "body"),
        ("[[]]", "[0]"),
        ("[null]", "[0]"),
        (r#"[{"topic":"t"},"x"]"#, "[1]"),
        ("{}", "topic"),
        (r#"{"topic":null}"#, "topic"),
        (r#"{"topic":5}"#, "topic"),
        (r#"{"topic":{}}"#, "topic"),
        (r#"{"topic":[]}"#, "topic"),
        (r#"{"topic":["t",null]}"#, "topic[1]"),
        (r#"{"topic":["t",["u"]]}"#, "topic[1]"),
        (r#"{"topic":"t","event":5}"#, "event"),
        (r#"{"topic":"t","event":["x"]}"#, "event"),
        (r#"{"topic":"t","data":"\ud800"}"#, "data"),
        (r#"{"topic":"t","retain":"yes"}"#, "retain"),
        (r#"{"topic":"t","id":"5"}"#, "id"),
        (r#"{"topic":"t","Event":"x"}"#, "Event"),
        (r#"{"topic":"t","topic":"u"}"#, "topic"),
        (r#"{"topic":"t","event":"a","event":"b"}"#, "event"),
        (r#"{"topic":"t","data":1,"data":2}"#, "data"),
    ] {
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, field));
    }
}

#[test]
fn deep_nesting_is_data_or_a_refusal_but_no_crash() {
    let mut newsroom = Newsroom::open();
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    for member in ["topic", "event", "retry", "ttl", "key", "retain"] {
        let body = format!(r#"{{"topic":"t","{member}":{open}{close}}}"#);
        let body = body.replace(r#""topic":"t","topic""#, r#""topic""#);
        let response = newsroom.publisher.request("POST", "/publish", &[JSON], body.as_bytes());
        response.expect_whole_problem(400);
        newsroom.goes_on();
    }
    let response = newsroom.publisher.request("POST", "/publish", &[JSON], open.as_bytes());
    response.expect_whole_problem(400);
    newsroom.goes_on();
    let body = format!(r#"{{"topic":"t","data":{open}{close}}}"#);
    newsroom.gateway.publish(&body).expect_status(202);
    newsroom.reader.expect_data(&(open + &close));
}

#[test]
fn one_bad_event_refuses_its_whole_batch() {
    let mut newsroom = Newsroom::open();
    let good = || json!({"topic": "good", "data": "must not come"});
    for (name, bad) in [
        ("topic", json!({"topic": "a.*"})),
        ("event", json!({"topic": "t", "event": "two\nlines"})),
        ("retry", json!({"topic": "t", "retry": -1})),
        ("ttl", json!({"topic": "t", "ttl": "one minute"})),
        ("key", json!({"topic": "t", "key": ""})),
        ("nope", json!({"topic": "t", "nope": 1})),
    ] {
        for at in [0, 3, 6] {
            let mut events = vec![good(); 6];
            events.insert(at, bad.clone());
            let field = format!("[{at}].{name}");
            let array = serde_json::to_vec(&events).expect("JSON");
            newsroom.refuses("/publish", &[JSON], &array, (400, &field));
            let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
            newsroom.refuses("/publish", &[NDJSON], lines.as_bytes(), (400, &field));
        }
    }
    let half = b"{\"topic\":\"good\"}\n{\"topic\":\"go";
    newsroom.refuses("/publish", &[NDJSON], half, (400, "[1].topic"));
    newsroom.refuses("/publish", &[NDJSON], b"\n \r\n", (400, "body"));
}

#[test]
fn a_topic_that_is_none_is_refused() {
    let mut newsroom = Newsroom::open();
    for topic in ["", "a.*", "*.b", ">", "a.>", "a.>.b"] {
        let body = json!({"topic": topic}).to_string();
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "topic"));
        let several = json!({"topic": ["fine", topic, "*"]}).to_string();
        newsroom.refuses("/publish", &[JSON], several.as_bytes(), (400, "topic"));
    }
    for path in ["/topics/", "/topics/a.%2A", "/topics/%3E", "/topics/a.*?event=x"] {
        newsroom.refuses(path, &[], b"data", (400, "topic"));
    }
    let many: Vec<String> = (0..65).map(|number| format!("t{number}")).collect();
    let body = json!({"topic": many}).to_string();
    newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "topic"));
    let body = json!({"topic": &many[..64]}).to_string();
    newsroom.gateway.publish(&body).expect_status(202);
}

#[test]
fn f01_line_ends_in_ids_and_names_are_refused() {
    let mut newsroom = Newsroom::open();
    for end in ["\r", "\n", "\r\n"] {
        let smuggled = format!("x{end}data: forged{end}{end}");
        let body = json!({"topic": "t", "event": smuggled}).to_string();
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "event"));
        // Ids are the gateway's alone.
        let body = json!({"topic": "t", "id": smuggled}).to_string();
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "id"));
    }
    for escaped in ["x%0Adata:%20forged", "x%0D", "%0d%0a", "%0A"] {
        let path = format!("/topics/t?event={escaped}");
        newsroom.refuses(&path, &[], b"data", (400, "event"));
    }
    newsroom.refuses("/topics/t?id=5", &[], b"data", (400, "id"));
}

#[test]
fn f03_control_characters_in_topics_and_names_are_refused() {
    let mut newsroom = Newsroom::open();
    for control in
        ['\0', '\t', '\n', '\r', '\u{1b}', '\u{1f}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9f}']
    {
        for text in [format!("{control}"), format!("a{control}b"), format!("{control}[31m")] {
            let body = json!({"topic": text}).to_string();
            newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "topic"));
            let body = json!({"topic": "t", "event": text}).to_string();
            newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "event"));
        }
        let escaped = support::percent_encode(&control.to_string());
        newsroom.refuses(&format!("/topics/a{escaped}"), &[], b"data", (400, "topic"));
        newsroom.refuses(&format!("/topics/t?event={escaped}"), &[], b"data", (400, "event"));
    }
    // Unescaped in JSON they are no JSON at all.
    newsroom.refuses("/publish", &[JSON], b"{\"topic\":\"a\x1bb\"}", (400, "topic"));
    newsroom.refuses("/publish", &[JSON], b"{\"topic\":\"t\",\"event\":\"a\nb\"}", (400, "event"));
}

#[test]
fn f04_characters_that_disguise_a_topic_are_refused() {
    let mut newsroom = Newsroom::open();
    for disguise in ["\u{202e}", "\u{2066}", "\u{200f}", "\u{200b}", "\u{200d}", "\u{feff}"] {
        let topic = format!("bo{disguise}ard");
        let body = json!({"topic": topic}).to_string();
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "topic"));
        let path = format!("/topics/{}", support::percent_encode(&topic));
        newsroom.refuses(&path, &[], b"data", (400, "topic"));
    }
}

#[test]
fn f05_invalid_utf8_is_refused_and_never_replaced() {
    let mut newsroom = Newsroom::open();
    for bytes in [&b"\xff"[..], b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"] {
        let body = [br#"{"topic":"t","data":""#, bytes, br#""}"#].concat();
        newsroom.refuses("/publish", &[JSON], &body, (400, "body"));
        newsroom.refuses("/publish", &[NDJSON], &body, (400, "body"));
        newsroom.refuses("/topics/t", &[], &[b"data ", bytes].concat(), (400, "body"));
        let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
        newsroom.refuses(&format!("/topics/{escaped}"), &[], b"data", (400, "topic"));
        newsroom.refuses(&format!("/topics/t?event={escaped}"), &[], b"data", (400, "event"));
    }
    newsroom.refuses("/topics/t?retry=%ff", &[], b"data", (400, "retry"));
}

#[test]
fn f08_a_retry_that_is_no_number_of_milliseconds_is_refused() {
    let mut newsroom = Newsroom::open();
    let huge = ["86400001", "18446744073709551615", "18446744073709551616", "1e999"];
    for retry in ["-1", "1.5", "1e3", "true", "\"5\"", "\"5s\"", "[]", "{}"].iter().chain(&huge) {
        let body = format!(r#"{{"topic":"t","retry":{retry}}}"#);
        newsroom.refuses("/publish", &[JSON], body.as_bytes(), (400, "retry"));
    }
    for retry in ["", "-1", "+5", "%2B5", "1.5", "5s", "0x10", "%205", "%D9%A3"].iter().chain(&huge)
    {
        let path = format!("/topics/t?retry={retry}");
        newsroom.refuses(&path, &[], b"data", (400, "retry"));
    }
}

#[test]
fn parameters_that_a_publish_does_not_have_are_refused() {
    let mut newsroom = Newsroom::open();
    for (query, field) in [("name=x", "name"), ("event=x&topic=u", "topic"), ("id=5", "id")] {
        newsroom.refuses(&format!("/topics/t?{query}"), &[], b"data", (400, field));
    }
}

#[test]
fn other_media_types_are_refused() {
    let mut newsroom = Newsroom::open();
    for media in ["text/plain", "application/jsonx", "application/xml", "multipart/form-data", ""] {
        let headers = [("content-type", media)];
        newsroom.refuses("/publish", &headers, br#"{"topic":"t"}"#, (415, "content-type"));
    }
}

#[test]
fn pages_of_other_sites_are_refused() {
    let mut newsroom = Newsroom::open();
    for path in ["/publish", "/topics/t"] {
        let headers = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")];
        newsroom.refuses(path, &headers, br#"{"topic":"t"}"#, (403, "sec-fetch-site"));
    }
}

/// What the internal listener answers to a request for this name.
fn for_name(gateway: &Gateway, name: &str, method: &str, path: &str) -> Response {
    let mut connection = gateway.connect_internal();
    connection.send(format!("{method} {path} HTTP/1.1\r\nhost: {name}\r\n\r\n").as_bytes());
    connection.read_response(method)
}

#[test]
fn pages_that_have_their_name_resolve_to_this_machine_are_refused() {
    let gateway = Gateway::builder().config("").start();
    let port = gateway.internal.port();
    let all = ["/debug/", "/streams", "/tail?topic=%3E", "/stats", "/sources", "/log/level"];
    for path in all {
        for name in ["evil.test".into(), format!("evil.test:{port}"), "127.0.0.1.evil.test".into()]
        {
            let answer = for_name(&gateway, &name, "GET", path);
            assert_eq!(answer.json()["field"], "host", "{name} {path}");
            assert_eq!(answer.expect_whole_problem(403), "unknown-host");
        }
    }
    for (method, path) in
        [("POST", "/publish"), ("POST", "/topics/t"), ("POST", "/reload"), ("DELETE", "/sources/s")]
    {
        for_name(&gateway, "evil.test", method, path).expect_whole_problem(403);
    }
    for name in [
        "localhost".into(),
        format!("LocalHost:{port}"),
        "127.0.0.1".into(),
        format!("[::1]:{port}"),
        "10.1.2.3".into(),
    ] {
        for_name(&gateway, &name, "GET", "/stats").expect_status(200);
    }
    // Those that probe it know it by other names.
    for path in ["/healthz", "/readyz", "/metrics"] {
        for_name(&gateway, "gateway.svc", "GET", path).expect_status(200);
    }
    gateway.write_config("[server]\ninternal_hosts = ['gateway.svc', '*.corp.test']\n");
    gateway.reload_by_api().expect_status(200);
    for name in ["gateway.svc:80", "a.corp.test"] {
        for_name(&gateway, name, "GET", "/stats").expect_status(200);
    }
    for_name(&gateway, "corp.test", "GET", "/stats").expect_status(403);
}

#[test]
fn paths_and_methods_that_are_not_served_are_refused() {
    let mut newsroom = Newsroom::open();
    for path in ["/nothing", "/publish/", "/Publish", "//publish", "/topic", "/events?topic=t"] {
        for (method, body) in [("POST", &b"data"[..]), ("GET", b"")] {
            let response = newsroom.publisher.request(method, path, &[], body);
            response.expect_whole_problem(404);
            newsroom.goes_on();
        }
    }
    for (method, path, allow) in [
        ("GET", "/publish", "POST"),
        ("PUT", "/publish", "POST"),
        ("DELETE", "/topics/t", "GET, HEAD, POST"),
        ("POST", "/topics", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/publish", "POST"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
    ] {
        let body: &[u8] = if method == "PUT" { br#"{"topic":"t"}"# } else { b"" };
        let response = newsroom.publisher.request(method, path, &[], body);
        assert_eq!(response.header("allow"), Some(allow), "{method} {path}");
        response.expect_whole_problem(405);
        newsroom.goes_on();
    }
}
