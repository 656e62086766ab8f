//! README.md and docs/SOURCES.md: the gateway in front of an app, and as a client of an app's event stream.

use crate::gateway::{INTERNAL, PUBLIC, await_listener, event, gateway, get, local, stream};
use crate::scene::{Scene, terminal};
use crate::support::{eventually, http};
use crate::terminal::Terminal;

pub(crate) const SCENE: Scene = Scene {
    commands: &[
        ("README.md", &["tidegate --upstream"]),
        ("docs/SOURCES.md", &["curl -X PUT http://127.0.0.1:8081/sources/local"]),
    ],
    play,
};

fn play(scene: &Scene) {
    let [front, source] = scene.commands();
    let mut app = Terminal::open();
    app.types("python3 -m http.server --bind 127.0.0.1 3000");
    await_listener(local(3000));
    let _gateway = gateway(&front.text);
    let page = get(PUBLIC, "/README.md");
    assert!(page.text().starts_with("# Tidegate"), "{}", page.text());
    let stream = stream("curl -N 'localhost:8080/events?topic=local'");

    // The server whose events are read: another gateway, at the page's address.
    let files = crate::support::Folder::new();
    let route = "[[stream.routes]]\npath = '/event'\ntopics = ['theirs']\n";
    let upstream = files.write("upstream.toml", route);
    let _upstream = gateway(&format!(
        "tidegate run --config {upstream} --listen 127.0.0.1:4096 --internal 127.0.0.1:4097"
    ));
    let mut second = terminal();
    second.runs(&source.text);
    eventually("the source's stream", || {
        let source = get(INTERNAL, "/sources/local").json();
        (source["state"] == "connected").then_some(())
    });
    let event_of_theirs = br#"{"topic":"theirs","event":"told","data":{"a":1}}"#;
    http("POST", local(4097), "/publish", &[("content-type", "application/json")], event_of_theirs)
        .expect_status(202);
    assert_eq!(event(&stream, "told")["a"], 1);
}
