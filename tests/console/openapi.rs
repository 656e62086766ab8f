//! `/openapi.json`: it is valid, every route of the internal listener is in it, and every operation in it
//! answers as it says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::process::Client;
use crate::support::{Gateway, Origin, Response, http, percent_encode};
use crate::view;

/// A request as it was made, by the path that the document has for it.
struct Asked<'a> {
    gateway: &'a Gateway,
    answers: Vec<Value>,
}

impl Asked<'_> {
    /// Makes a request, which must be answered with this status.
    #[track_caller]
    fn ask(
        &mut self,
        method: &str,
        template: &str,
        path: &str,
        body: &str,
        status: u16,
    ) -> Response {
        let headers = [("content-type", "application/json")];
        let headers = if body.is_empty() { &[][..] } else { &headers[..] };
        let response = http(method, self.gateway.internal, path, headers, body.as_bytes());
        let response = response.expect_status(status);
        self.answers.push(json!({
            "method": method.to_lowercase(), "template": template, "path": path, "status": status,
            "type": response.header("content-type"), "body": response.text(),
        }));
        response
    }

    /// Reads from a path that has no parts that differ.
    #[track_caller]
    fn get(&mut self, path: &str) -> Response {
        let template = path.split('?').next().unwrap_or(path).to_owned();
        self.ask("GET", &template, path, "", 200)
    }
}

#[test]
fn every_operation_answers_as_the_document_says() {
    let origin = Origin::listen();
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "4").start();
    let mut stream = gateway.subscribe("topic=a.1&topic=a.*");
    let id = stream.expect_hello().session;
    let id = id.as_str().expect("a text");
    let mut asked = Asked { gateway: &gateway, answers: Vec::new() };
    let event = r#"{"topic":"a.1","event":"named","data":{"n":1},"retain":true,"ttl":"1h"}"#;
    let first = asked.ask("POST", "/publish", "/publish", event, 202).json()["id"].clone();
    let first = first.as_str().expect("a text");
    asked.ask("POST", "/publish", "/publish", &format!("[{event},{event}]"), 202);
    asked.ask("POST", "/publish", "/publish", "{}", 400);
    for _ in 0..6 {
        asked.ask("POST", "/topics/{topic}", "/topics/a.1?event=x", "", 202);
    }
    asked.get("/topics?prefix=a.&limit=1");
    asked.get("/topics");
    asked.ask("GET", "/topics/{topic}", "/topics/a.1", "", 200);
    asked.ask("GET", "/topics/{topic}", "/topics/nobody's", "", 200);
    asked.ask("GET", "/topics/{topic}", "/topics/a.*", "", 400);
    asked.get(&format!("/tail?topic=a.*&after={first}&wait=1s&limit=2"));
    asked.get("/tail?topic=b");
    asked.ask("GET", "/tail", "/tail", "", 400);
    asked.get("/streams");
    asked.get("/streams?topic=a.1&address=127.&limit=1");
    asked.ask("GET", "/streams", "/streams?limit=0", "", 400);
    asked.ask("GET", "/streams/{id}", &format!("/streams/{id}"), "", 200);
    let explain = "/streams/{id}/explain";
    for about in [format!("event={first}"), "event=000000000000-7".into(), "topic=a.2".into()] {
        asked.ask("GET", explain, &format!("/streams/{id}/explain?{about}"), "", 200);
    }
    asked.ask("GET", explain, &format!("/streams/{id}/explain"), "", 400);
    asked.ask("DELETE", "/streams/{id}", &format!("/streams/{id}"), "", 204);
    asked.ask("DELETE", "/streams/{id}", "/streams/0123456789abcdef", "", 404);
    asked.ask("DELETE", "/sessions/{name}", "/sessions/somebody", "", 200);
    let source = json!({"url": format!("{}/events?token=x", origin.url())}).to_string();
    asked.ask("PUT", "/sources/{name}", "/sources/up", &source, 201);
    asked.ask("PUT", "/sources/{name}", "/sources/up", &source, 200);
    asked.ask("PUT", "/sources/{name}", "/sources/up", "{}", 400);
    asked.ask("GET", "/sources/{name}", "/sources/up", "", 200);
    asked.get("/sources");
    asked.ask("DELETE", "/sources/{name}", "/sources/up", "", 204);
    asked.ask("POST", "/reload", "/reload", "", 200);
    asked.get("/log/level");
    asked.ask("PUT", "/log/level", "/log/level", "info,tidegate=debug", 200);
    asked.ask("PUT", "/log/level", "/log/level", "no=such=level", 400);
    for path in [
        "/stats",
        "/shards",
        "/limits",
        "/version",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/debug/",
    ] {
        asked.get(path);
    }

    let document = view(&gateway, "/openapi.json");
    let order = json!({ "document": document, "answers": asked.answers });
    let file =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("openapi-{}.json", std::process::id()));
    fs::write(&file, order.to_string()).expect("the target directory can be written");
    let mut checked = Client::node("ajv", "openapi.mjs", &json!({ "file": file }));
    let line = checked.expect_line();
    fs::remove_file(&file).expect("it was there");
    assert_eq!(line, json!({"faults": [], "never_asked": []}));
}

#[test]
fn every_route_is_in_the_document() {
    let gateway = Gateway::start();
    let document = view(&gateway, "/openapi.json");
    let paths: BTreeSet<&str> =
        document["paths"].as_object().expect("an object").keys().map(String::as_str).collect();
    let mut found = 0;
    for file in [
        "admin.rs",
        "http/console/mod.rs",
        "http/publish_route.rs",
        "http/sources_route.rs",
        "http/sessions_route.rs",
        "http/reload_route.rs",
        "http/log_route.rs",
    ] {
        let text = fs::read_to_string(format!("src/{file}")).expect("a source file");
        // Every text in the code that is a path.
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for text in code.flat_map(|line| line.split('"').skip(1).step_by(2)) {
            let is_path = text.len() > 1 && text.starts_with('/');
            if is_path {
                let is_there = paths.iter().any(|path| path.starts_with(text));
                assert!(is_there, "{file} serves {text}, and the document has {paths:?}");
                found += 1;
            }
        }
    }
    assert!(found >= 15, "{found} paths were found in the code");
    // And what it has is served.
    for path in paths {
        let path = path.replace("{topic}", &percent_encode("a")).replace("{name}", "a");
        let path = path.replace("{id}", "0123456789abcdef");
        let answer = http("OPTIONS", gateway.internal, &path, &[], b"");
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
    }
}
