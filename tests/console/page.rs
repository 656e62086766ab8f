//! The debug page: what it is served with, and what it does in Chromium.

use serde_json::{Value, json};

use crate::process::Client;
use crate::support::{Gateway, Origin, http};
use crate::view;

/// Everything that somebody else may have written, and that would do something as markup.
const MARKUP: &str =
    "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>";

#[test]
fn f61_the_page_allows_no_script_but_its_own() {
    let gateway = Gateway::start();
    let page = gateway.get("/debug/").expect_status(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    for directive in
        ["default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"]
    {
        assert!(policy.split("; ").any(|found| found == directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let text = page.text();
    assert!(!text.contains("style=") && !text.contains(" on"), "nothing inline: {text}");
    assert!(!text.contains("//"), "nothing of another origin: {text}");
    for script in ["app.js", "dom.js", "plot.js", "tables.js", "tail.js"] {
        let script = gateway.get(&format!("/debug/{script}")).expect_status(200);
        assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
        for dangerous in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            assert!(!script.text().contains(dangerous), "{dangerous}");
        }
    }
}

#[test]
fn the_files_are_not_sent_again_where_they_are_known() {
    let gateway = Gateway::start();
    for path in ["/debug/", "/debug/app.css", "/debug/app.js"] {
        let file = gateway.get(path).expect_status(200);
        let tag = file.header("etag").expect("a tag").to_owned();
        let again = http("GET", gateway.internal, path, &[("if-none-match", &tag)], b"");
        assert_eq!((again.status, again.body.len()), (304, 0));
        let other = http("GET", gateway.internal, path, &[("if-none-match", "\"x\"")], b"");
        assert_eq!(other.expect_status(200).body, file.body);
    }
    for path in ["/", "/debug"] {
        assert_eq!(gateway.get(path).expect_status(307).header("location"), Some("debug/"));
    }
    gateway.get("/debug/../metrics").expect_problem(404);
    gateway.get("/debug/nothing.js").expect_problem(404);
    gateway.post("/debug/", &[], b"").expect_status(405);
}

#[test]
fn f61_the_page_works_in_chromium_and_shows_markup_as_text() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "6").start();
    let source = json!({"url": format!("{}/events?token=secret", origin.url())}).to_string();
    http("PUT", gateway.internal, "/sources/up", &[], source.as_bytes()).expect_status(201);
    let mut stream = gateway.subscribe("topic=board.1&topic=board.*");
    let id = stream.expect_hello().session;
    let _many: Vec<_> =
        (0..120).map(|at| gateway.topic(&format!("crowd.{at}")).subscribe()).collect();
    let markup_topic = gateway.topic("<b>board</b>");
    markup_topic.publish_named("<i>name</i>", &json!({"html": MARKUP}).to_string());

    let order = json!({ "url": format!("http://{}", gateway.internal), "stream": id });
    let mut page = Client::chromium("console.mjs", &order);
    let mut expect = |step: &str| -> Value {
        let line = page.expect_line();
        assert!(!line[step].is_null(), "waited for {step:?}, got {line}");
        line[step].clone()
    };
    // The page tells what it sees; what it should see is here.
    assert_eq!(expect("streams"), json!({"shown": 50, "page": "page 1", "after_next": "page 2"}));
    assert_eq!(expect("search"), json!({"ids": [id]}));
    assert_eq!(expect("topics"), json!({"names": ["<b>board</b>"]}));
    assert_eq!(expect("published"), "202");
    stream.expect_data("{\"n\":1}");
    let tail = expect("tail");
    assert_eq!(tail["name"], "<i>name</i>");
    assert!(tail["data"].as_str().is_some_and(|data| data.contains("<script>")), "{tail}");
    assert!(tail["data"].as_str().is_some_and(|data| data.starts_with("{\n  \"html\"")), "{tail}");
    assert_eq!(expect("filtered"), json!({"shown": 0}));

    // While the tail is paused, more comes than the history holds.
    expect("paused");
    for at in 0..10 {
        markup_topic.publish(&at.to_string());
    }
    http("POST", gateway.internal, "/topics/go", &[], b"").expect_status(202);
    let resumed = expect("resumed");
    assert_eq!((&resumed["events"], &resumed["gaps"]), (&json!(6), &json!(1)), "{resumed}");
    assert!(
        resumed["gap"].as_str().is_some_and(|gap| gap.contains("Some events are missing")),
        "{resumed}"
    );
    let source = expect("sources");
    assert_eq!(source["name"], "up");
    assert!(!source["text"].as_str().expect("a text").contains("secret"), "{source}");
    assert_eq!(expect("explained"), "delivered");
    assert_eq!(expect("ended"), true);
    stream.expect_end("revoked");
    let plot = expect("plot");
    assert!(plot["points"].as_u64().is_some_and(|points| points >= 2), "{plot}");
    assert!(plot["ticks"].as_array().expect("a list").contains(&json!("1 ms")), "{plot}");
    for width in expect("widths").as_array().expect("a list") {
        assert_eq!(width["overflow"], 0, "nothing is wider than the screen: {width}");
    }
    let end = expect("end");
    assert_eq!((&end["title"], &end["faults"]), (&json!("Tidegate"), &json!([])), "{end}");
    assert_eq!(view(&gateway, "/streams?topic=board.1")["streams"], json!([]));
}
