//! README.md and docs/TUNING.md: what a load takes, calculated.

use std::fs;

use crate::docs;
use crate::process::project;
use crate::scene::{Scene, terminal};

pub(crate) const SCENE: Scene = Scene {
    commands: &[
        ("README.md", &["tidegate size"]),
        (
            "docs/TUNING.md",
            &[
                "tidegate size --config tidegate.toml",
                "tidegate size --config config/sessions-dashboard.toml",
                "tidegate size --config config/kanban.toml",
                "tidegate size --config config/task-events.toml",
                "tidegate size --config config/model-instances.toml",
            ],
        ),
    ],
    play,
};

fn play(scene: &Scene) {
    let [short, own, examples @ ..] = scene.commands::<6>();
    let mut terminal = terminal();
    // The one that README.md has its reader copy.
    let file = project().join("tidegate.toml");
    fs::copy(project().join("config/tidegate.toml"), file).expect("the checkout can be written");
    for command in [short, own] {
        let said = terminal.runs(&command.text);
        for part in ["50,000 streams over HTTP/1.1", "MEMORY", "DESCRIPTORS", "BANDWIDTH", "STORM"]
        {
            assert!(said.contains(part), "{command:?}: {said}");
        }
    }
    for command in examples {
        let said = terminal.runs(&command.text);
        assert_eq!(said.trim(), docs::answer(&command, "text").trim(), "{command:?}");
    }
}
