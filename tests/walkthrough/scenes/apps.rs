//! tests/apps/README.md: the apps, each run by hand.

use crate::gateway::{PUBLIC, await_listener, get, local, stream};
use crate::scene::{Scene, terminal};

pub(crate) const SCENE: Scene = Scene {
    commands: &[(
        "tests/apps/README.md",
        &[
            "UPLOADS=. target/venv/bin/python",
            "UPLOADS=. NODE_PATH=",
            "tidegate run --config config/kanban.toml &",
            "node tests/apps/kanban/app.mjs &",
            "curl -X PUT",
        ],
    )],
    play,
};

fn play(scene: &Scene) {
    let [python, node, gateway, kanban, board] = scene.commands();
    for (app, port) in [(python, 8000), (node, 3000)] {
        let mut terminal = terminal();
        terminal.types(&app.text);
        await_listener(local(port));
        assert!(get(local(port), "/").text().contains("<title>"), "{app:?}");
        terminal.interrupts();
    }
    let mut terminal = terminal();
    for (program, port) in [(gateway, 8080), (kanban, 3000)] {
        terminal.runs(&program.text);
        await_listener(local(port));
    }
    terminal.runs(&board.text);
    assert!(get(PUBLIC, "/?boardId=one").text().contains("<title>"));
    let board = stream("curl -N 'localhost:8080/api/events?boardId=one'");
    board.shows_text("event: state");
}
