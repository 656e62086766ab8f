//! What clients put into URLs and header fields may be tokens: they are in no log and on no page.

use std::process::Command;

use serde_json::json;

use crate::support::{Gateway, Origin, http};
use crate::view;

const SECRET: &str = "s3cr3t-t0k3n";

#[test]
fn f62_tokens_in_urls_are_in_no_log_and_on_no_page() {
    let upstream = Origin::listen();
    let gateway = Gateway::builder().env("TIDEGATE__LOG__LEVEL", "trace").start();
    let query = format!("access_token={SECRET}&token={SECRET}");
    let headers = [("authorization", SECRET), ("cookie", SECRET)];
    // Streams that open, streams that are refused, and what is no stream.
    let mut stream = gateway.subscribe(&format!("topic=a&{query}"));
    stream.expect_hello();
    for target in ["/events?", "/events?topic=a.%3E.b&", "/events?topic=a&limit=no&", "/nowhere?"] {
        let target = format!("{target}{query}");
        let refused = http("GET", gateway.public, &target, &headers, b"");
        assert!(refused.status >= 400 && !refused.text().contains(SECRET), "{refused:?}");
    }
    let mut curl = Command::new("curl");
    let url = format!("http://{}/events?topic=a&limit=no&{query}", gateway.public);
    curl.args(["--silent", "--http2-prior-knowledge", "--noproxy", "*", "--max-time", "10", &url]);
    let output = curl.output().expect("curl is installed: run `make deps`");
    assert!(String::from_utf8_lossy(&output.stdout).contains("bad-parameter"), "{output:?}");
    let source = json!({"url": format!("{}/events?{query}", upstream.url())}).to_string();
    http("PUT", gateway.internal, "/sources/up", &[], source.as_bytes()).expect_status(201);
    gateway.get(&format!("/nowhere?{query}")).expect_problem(404);
    gateway.post(&format!("/publish?{query}"), &[], b"{}");

    let id = view(&gateway, "/streams")["streams"][0]["id"].as_str().expect("a text").to_owned();
    for path in
        ["/streams", "/topics", "/sources", "/stats", "/shards", "/limits", "/version", "/metrics"]
    {
        assert!(!gateway.get(path).expect_status(200).text().contains(SECRET), "{path}");
    }
    assert!(!gateway.get(&format!("/streams/{id}")).text().contains(SECRET));
    gateway.expect_log("refused a subscription");
    let log = gateway.log();
    let told = log.iter().find(|line| line.contains(SECRET));
    assert_eq!(told, None, "of {} lines", log.len());
}
