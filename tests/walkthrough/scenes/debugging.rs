//! docs/API.md: streams by their topic, why one has an event, and a live tail.

use serde_json::Value;

use crate::gateway::{event, gateway, json, publish, stream};
use crate::scene::{Scene, changed, terminal};
use crate::support::eventually;

pub(crate) const SCENE: Scene = Scene {
    commands: &[(
        "docs/API.md",
        &[
            "curl '127.0.0.1:8081/streams?",
            "curl '127.0.0.1:8081/streams/",
            "curl '127.0.0.1:8081/tail",
        ],
    )],
    play,
};

fn play(scene: &Scene) {
    let [streams, explain, tail] = scene.commands();
    let _gateway = gateway("tidegate");
    let stream = stream("curl -N 'localhost:8080/events?topic=board.42'");
    let session = event(&stream, "hello")["session"].as_str().expect("a session").to_owned();
    let mut second = terminal();
    let found = json(&mut second, &streams.text);
    assert_eq!(found["streams"][0]["id"], session.as_str(), "{found}");

    let mut third = terminal();
    third.types(&tail.text);
    // It tells what comes after it has come itself, which nobody sees.
    let told = eventually("the tail to tell an event", || {
        publish("board.42", "moved");
        let shown = third.shown();
        shown.lines().find_map(|line| serde_json::from_str::<Value>(line).ok())
    });
    assert_eq!(told["events"][0]["data"], "moved", "{told}");
    let id = told["events"][0]["id"].as_str().expect("an id");

    // The page's stream and event are not of this gateway, which says so.
    second.types(&explain.text);
    let (_, said) = second.ends();
    assert!(said.contains("\"status\":404"), "{said}");
    let ours = [("0000002a00000007", session.as_str()), ("bbd263f74b4b-3", id)];
    let explained = json(&mut second, &changed(&explain, &ours));
    assert_eq!(explained["outcome"], "delivered", "{explained}");
}
