//! The app's own SSE: each event comes when it is sent, and who leaves is gone.

use std::process::{Child, Stdio};

use serde_json::json;

use crate::edge::{Edge, edges};
use crate::support::lines::Lines;
use crate::support::{Deadline, eventually};

#[test]
fn each_event_comes_before_the_next_is_sent() {
    for edge in edges() {
        let listeners = [Listener::start(&edge), Listener::start(&edge)];
        expect_listeners(&edge, 2);
        for text in ["one", "two", "three"] {
            send(&edge, text);
            for listener in &listeners {
                listener.expect_line(&format!("data: {text}"));
            }
        }
    }
}

#[test]
fn the_app_sees_who_has_left() {
    for edge in edges() {
        let stays = Listener::start(&edge);
        let leaves = Listener::start(&edge);
        expect_listeners(&edge, 2);
        drop(leaves);
        expect_listeners(&edge, 1);
        send(&edge, "still there");
        stays.expect_line("data: still there");
    }
}

/// Has the app send this to who listens to it.
#[track_caller]
pub(crate) fn send(edge: &Edge, text: &str) {
    edge.ask("/app/events", &["--data", text]).expect_status(204);
}

/// Waits until the app has so many listeners.
#[track_caller]
pub(crate) fn expect_listeners(edge: &Edge, count: usize) {
    eventually(&format!("the app to have {count} listeners"), || {
        let counted = edge.ask("/app/events/listeners", &[]).expect_status(200).json();
        (counted == json!(count)).then_some(())
    });
}

/// curl, listening.
struct Listener {
    child: Child,
    lines: Lines,
}

impl Listener {
    fn start(edge: &Edge) -> Self {
        let mut curl = edge.curl("/app/events");
        curl.args(["--no-buffer", "--header", "accept: text/event-stream"]);
        let mut child = curl.stdout(Stdio::piped()).spawn().expect("curl is installed");
        let lines = Lines::of(child.stdout.take().expect("stdout is piped"));
        Self { child, lines }
    }

    #[track_caller]
    fn expect_line(&self, expected: &str) {
        let found =
            self.lines.wait_from(0, Deadline::patient(), |line| (line == expected).then_some(()));
        found.unwrap_or_else(|why| panic!("waited for {expected:?}: {why}: {:?}", self.lines));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
