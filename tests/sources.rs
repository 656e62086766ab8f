//! Sources: the gateway as a client of upstream event streams. The upstreams are servers that do what the
//! test says; what comes of it is seen by subscribers, the internal API and the metrics.

mod support;

#[path = "sources/api.rs"]
mod api;
#[path = "sources/crowd.rs"]
mod crowd;
#[path = "sources/reconnects.rs"]
mod reconnects;
#[path = "sources/routing.rs"]
mod routing;

use serde_json::{Value, json};
use support::{Builder, Gateway, Origin, OriginConnection, Request, Response, eventually};

/// The head of an event stream; its end is that of the connection.
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\r\n";

/// Delays that a test can wait for.
const FAST: &str = "retry = '20ms'\nretry_max = '100ms'\nretry_jitter = 0.0\n";

/// A gateway with one source, named `up`.
fn reading(origin: &Origin, settings: &str) -> Builder {
    let url = format!("{}/stream?key=secret", origin.url());
    Gateway::builder().config(&format!("[[source]]\nname = 'up'\nurl = {url:?}\n{settings}"))
}

/// Puts a source by the internal API.
fn put(gateway: &Gateway, name: &str, fields: &Value) -> Response {
    let body = fields.to_string();
    let mut internal = gateway.connect_internal();
    internal.request("PUT", &format!("/sources/{name}"), &[], body.as_bytes())
}

fn delete(gateway: &Gateway, name: &str) -> Response {
    gateway.connect_internal().request("DELETE", &format!("/sources/{name}"), &[], b"")
}

/// A source as the internal API shows it.
#[track_caller]
fn report(gateway: &Gateway, name: &str) -> Value {
    gateway.get(&format!("/sources/{name}")).expect_status(200).json()
}

/// Waits until a source is in a state; gives what the API says then.
#[track_caller]
fn expect_state(gateway: &Gateway, name: &str, state: &str) -> Value {
    eventually(&format!("the source {name} to be {state}"), || {
        Some(report(gateway, name)).filter(|report| report["state"] == state)
    })
}

/// Waits until so many events have had this fate: they are counted after subscribers have them.
#[track_caller]
fn expect_count(gateway: &Gateway, name: &str, fate: &str, count: u64) {
    eventually(&format!("{count} events to be {fate}"), || {
        (report(gateway, name)["events"][fate] == count).then_some(())
    });
}

/// Accepts the gateway's connection, and answers with a stream that begins so.
#[track_caller]
fn serve(origin: &Origin, events: &str) -> (Request, OriginConnection) {
    origin.answer(&format!("{HEAD}{events}"))
}

/// Fields of a source at this server, with delays that a test can wait for.
fn fields(origin: &Origin) -> Value {
    json!({
        "url": format!("{}/stream", origin.url()),
        "retry": "20ms", "retry_max": "100ms", "retry_jitter": 0.0,
    })
}
