//! README.md and loadtest/README.md: the load test by hand, against a gateway that is started as the pages say.

use crate::docs::{self, Command};
use crate::gateway::{INTERNAL, PUBLIC, await_listener, gateway};
use crate::scene::{Scene, changed, terminal};
use crate::terminal::Terminal;

pub(crate) const BY_HAND: Scene = Scene {
    commands: &[
        (
            "README.md",
            &[
                "cargo build --release --workspace",
                "taskset -c 0 tidegate --shards 1 &",
                "taskset -c 1 tidegate-loadtest fanout",
                "taskset -c 1 tidegate-loadtest run",
            ],
        ),
        (
            "loadtest/README.md",
            &[
                "cargo build --release",
                "PATH=",
                "taskset -c 0",
                "taskset -c 1 tidegate-loadtest run",
            ],
        ),
    ],
    play: by_hand,
};

pub(crate) const KINDS: Scene = Scene {
    commands: &[(
        "loadtest/README.md",
        &[
            "tidegate-loadtest fanout --streams 1000",
            "tidegate-loadtest fanout --topics 64",
            "tidegate-loadtest fanout --stuck-percent",
            "tidegate-loadtest fanout --burst",
            "tidegate-loadtest fanout --topics 1000",
            "tidegate-loadtest fanout --streams 0",
            "tidegate-loadtest churn",
            "tidegate-loadtest storm",
            "tidegate-loadtest fanout --streams 50000",
            "tidegate-loadtest idle",
            "tidegate-loadtest cap",
        ],
    )],
    play: kinds,
};

/// What is measured for ten seconds or minutes is measured for one second here: of interest is that it works.
const SHORT: (&str, &str) = ("", "--duration 1s --settle 30s");

#[track_caller]
fn runs_without_violations(terminal: &mut Terminal, command: &str) {
    let said = terminal.runs(command);
    let has = |name: &str, value: &str| {
        said.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim() == value))
    };
    assert!(has("violations", "0"), "`{command}`:\n{said}");
}

fn by_hand(scene: &Scene) {
    let [build, start, fanout, overload, build_again, path, start_again, paced] = scene.commands();
    let mut terminal = terminal();
    terminal.runs(&build.text);
    measures(&mut terminal, &start, &[fanout, overload]);
    terminal.runs("rm -r target/release");
    let mut terminal = Terminal::open();
    for command in [build_again, path] {
        terminal.runs(&command.text);
    }
    measures(&mut terminal, &start_again, &[paced]);
}

/// Starts a gateway in the background, and ends it when the loads are over.
#[track_caller]
fn measures(terminal: &mut Terminal, start: &Command, loads: &[Command]) {
    terminal.runs(&start.text);
    // A reader takes longer than that to type the next line.
    await_listener(PUBLIC);
    await_listener(INTERNAL);
    for load in loads {
        runs_without_violations(terminal, &changed(load, &[SHORT]));
    }
    terminal.runs("kill $! && wait $!");
}

fn kinds(scene: &Scene) {
    let [rate, topics, stuck, burst, sets, publish, churn, storm, processes, idle, cap] =
        scene.commands();
    let mut first = gateway("tidegate");
    let mut terminal = terminal();
    for load in [rate, topics, stuck, burst, sets, publish] {
        runs_without_violations(&mut terminal, &changed(&load, &[SHORT]));
    }
    for (load, changes) in [
        (churn, vec![("10000", "2000"), ("--cycles 5", "--cycles 2")]),
        (storm, vec![("10000", "2000"), ("", "--cycles 1 --calm 1s --away 500ms")]),
        (processes, vec![("50000", "3000"), SHORT]),
        (idle, vec![("15000", "3000"), ("60s", "2s")]),
    ] {
        runs_without_violations(&mut terminal, &changed(&load, &changes));
    }
    first.interrupts();
    // The page says how the gateway is started for it.
    let page = docs::read(&cap.file);
    let line = page.lines().nth(cap.line - 1).expect("the page has that line");
    let (_, start) = line.split_once("# ").expect("it has a comment");
    let _capped = gateway(start);
    // A busy machine is later than the page's.
    let lenient = changed(&cap, &[("1000", "200"), ("50ms", "1s")]);
    runs_without_violations(&mut terminal, &lenient);
}
