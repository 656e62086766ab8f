//! README.md and docs/CONFIGURATION.md: where the configuration comes from, how it is checked, and how it is
//! changed while the gateway runs.

use std::fs;

use serde_json::Value;

use crate::docs;
use crate::gateway::{INTERNAL, event, gateway, get, json, local, stream};
use crate::process::project;
use crate::scene::{Scene, changed, terminal};

pub(crate) const SCENE: Scene = Scene {
    commands: &[
        (
            "README.md",
            &[
                "cp config/tidegate.toml",
                "tidegate check",
                "tidegate run --config",
                "TIDEGATE__STREAM__HEARTBEAT=5s",
                "tidegate --set stream.heartbeat",
                "tidegate config --effective",
            ],
        ),
        (
            "docs/CONFIGURATION.md",
            &["curl -X POST localhost:8081/reload", "curl localhost:8081/log/level", "curl -X PUT"],
        ),
    ],
    play,
};

const STREAM: &str = "curl -N 'localhost:8080/events?topic=t'";

fn play(scene: &Scene) {
    let [copy, check, run, environment, flags, effective, reload, level, put_level] =
        scene.commands();
    let mut second = terminal();
    second.runs(&copy.text);
    let file = project().join("tidegate.toml");
    second.runs(&check.text);
    write(&file, "[stream]\nheartbaet = '5s'\n");
    second.types(&check.text);
    let (status, said) = second.ends();
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("tidegate.toml:2:1") && said.contains("`heartbeat`"), "{said}");

    second.runs(&copy.text);
    let mut first = gateway(&run.text);
    assert_eq!(event(&stream(STREAM), "hello")["heartbeat_ms"], 15_000);

    write(&file, "[stream]\nheartbeat = '7s'\n[server]\nshards = 3\n");
    // The page has this very change.
    let shown: Value = serde_json::from_str(&docs::answer(&reload, "json")).expect("JSON");
    assert_eq!(json(&mut second, &reload.text), shown);
    assert_eq!(event(&stream(STREAM), "hello")["heartbeat_ms"], 7_000);

    second.runs(&level.text);
    second.runs(&put_level.text);
    let now = get(INTERNAL, "/log/level");
    assert!(now.text().contains("info,tidegate::proxy=debug"), "{}", now.text());
    first.interrupts();

    first.types(&environment.text);
    first.shows_text("listening");
    assert_eq!(event(&stream(STREAM), "hello")["heartbeat_ms"], 5_000);
    first.interrupts();

    first.types(&flags.text);
    first.shows_text("listening");
    let there = STREAM.replace("localhost:8080", &local(9000).to_string());
    assert_eq!(event(&stream(&there), "hello")["heartbeat_ms"], 5_000);

    let said = second.runs(&effective.text);
    assert!(said.contains("heartbeat") && said.contains("default"), "{said}");
    let said = second
        .runs(&changed(&effective, &[("tidegate", "TIDEGATE__STREAM__HEARTBEAT=5s tidegate")]));
    assert!(said.contains("TIDEGATE__STREAM__HEARTBEAT"), "{said}");
}

#[track_caller]
fn write(file: &std::path::Path, text: &str) {
    fs::write(file, text).expect("the checkout can be written");
}
