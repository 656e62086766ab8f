//! README.md: a log on disk. An event that was answered is there after `kill -9`, and the log is whole.

use crate::gateway::{gateway, publish, stream};
use crate::scene::{Scene, terminal};

pub(crate) const SCENE: Scene = Scene {
    commands: &[("README.md", &["tidegate --set history.store", "tidegate log verify"])],
    play,
};

fn play(scene: &Scene) {
    let [start, verify] = scene.commands();
    let mut first = gateway(&start.text);
    let id = publish("t", "kept")["id"].as_str().expect("an id").to_owned();
    let mut second = terminal();
    let said = second.runs(&verify.text);
    assert!(said.contains(" 0 faults"), "{said}");
    first.kills();
    let said = second.runs(&verify.text);
    assert!(said.contains(" 0 faults"), "{said}");

    let _again = gateway(&start.text);
    let (epoch, _) = id.split_once('-').expect("an epoch and a number");
    let stream =
        stream(&format!("curl -N -H 'Last-Event-ID: {epoch}-0' 'localhost:8080/events?topic=t'"));
    stream.shows_text("data: kept");
    assert!(stream.shown().contains(&format!("id: {id}\n")), "{}", stream.shown());
}
