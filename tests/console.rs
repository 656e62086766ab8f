//! The internal API's views of a running gateway, and the debug page that shows them in Chromium.

mod support;

#[path = "console/explain.rs"]
mod explain;
#[path = "console/openapi.rs"]
mod openapi;
#[path = "console/page.rs"]
mod page;
#[path = "clients/process.rs"]
#[allow(dead_code, reason = "`tests/clients.rs` uses the rest")]
mod process;
#[path = "console/secrets.rs"]
mod secrets;
#[path = "console/streams.rs"]
mod streams;
#[path = "console/tail.rs"]
mod tail;
#[path = "console/topics.rs"]
mod topics;

use serde_json::Value;
use support::Gateway;

/// What the internal API answers.
#[track_caller]
fn view(gateway: &Gateway, path: &str) -> Value {
    gateway.get(path).expect_status(200).json()
}

/// All entries of a list, read in pages of this size.
#[track_caller]
fn all_pages(gateway: &Gateway, path: &str, name: &str, limit: usize) -> Vec<Value> {
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let page = view(gateway, &format!("{path}limit={limit}&after={after}"));
        let of_page = page[name].as_array().expect("a list");
        assert!(of_page.len() <= limit, "{} entries, {limit} were asked for", of_page.len());
        entries.extend(of_page.iter().cloned());
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => return entries,
        }
    }
}

fn texts<'a>(entries: &'a [Value], field: &str) -> Vec<&'a str> {
    entries.iter().map(|entry| entry[field].as_str().expect("a text")).collect()
}
