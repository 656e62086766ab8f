//! An app's page in Chromium, used from a test.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::process::Client;

/// A page that is open.
pub(crate) struct Page(Client);

impl Page {
    /// On a desktop.
    #[track_caller]
    pub(crate) fn open(server: SocketAddr, path: &str) -> Self {
        Self::on(server, path, None)
    }

    /// On a device that playwright knows.
    #[track_caller]
    pub(crate) fn on(server: SocketAddr, path: &str, device: Option<&str>) -> Self {
        let order = json!({"url": format!("http://{server}"), "path": path, "device": device});
        let mut client = Client::chromium("browser_console.mjs", &order);
        client.expect_ready();
        Self(client)
    }

    /// The value of an expression; a promise is waited for.
    #[track_caller]
    pub(crate) fn run(&mut self, expression: &str) -> Value {
        self.order(&json!({"run": expression}))
    }

    /// The value of an expression, once that is one (and not empty, 0 or `false`).
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) -> Value {
        self.order(&json!({"wait": expression}))
    }

    /// What `live.js` has noted under this name (`refetch`, `stale`, `waiting` …) and with this reason, if one is
    /// given, once there is something.
    #[track_caller]
    pub(crate) fn wait_for_entry(&mut self, what: &str, why: Option<&str>) -> Value {
        let (what, why) = (json!(what), json!(why));
        self.wait(&format!(
            "live.journal.find((one) => one.what === {what} && (one.why === {why} || {why} === null))"
        ))
    }

    /// How often `live.js` has noted this.
    #[track_caller]
    pub(crate) fn entries(&mut self, what: &str) -> Vec<Value> {
        let entries = self.run(&format!("live.journal.filter(({{ what }}) => what === {what:?})"));
        serde_json::from_value(entries).expect("a list")
    }

    /// The network goes, or comes back.
    #[track_caller]
    pub(crate) fn set_offline(&mut self, offline: bool) {
        self.order(&json!({"offline": offline}));
    }

    /// Requests to URLs that match are let through no more.
    #[track_caller]
    pub(crate) fn block(&mut self, pattern: &str) {
        self.order(&json!({"block": pattern}));
    }

    /// Streams at URLs that match are let through no more, and other requests to them are.
    #[track_caller]
    pub(crate) fn block_streams(&mut self, pattern: &str) {
        self.order(&json!({"blockStreams": pattern}));
    }

    /// They are let through again.
    #[track_caller]
    pub(crate) fn unblock(&mut self, pattern: &str) {
        self.order(&json!({"unblock": pattern}));
    }

    /// Loads it again.
    #[track_caller]
    pub(crate) fn reload(&mut self) {
        self.order(&json!({"reload": true}));
    }

    #[track_caller]
    fn order(&mut self, order: &Value) -> Value {
        self.0.order(order);
        let mut answer = self.0.expect_line();
        assert!(answer["error"].is_null(), "{order}: {answer:#}");
        answer["value"].take()
    }
}
