//! loadtest/k6 and loadtest/oha: their commands, with the real k6 and oha.

use crate::gateway::{INTERNAL, gateway, get};
use crate::scene::{Scene, changed, terminal};

pub(crate) const SCENE: Scene = Scene {
    commands: &[
        ("loadtest/k6/README.md", &["k6 run loadtest/k6/publish.js", "k6 run -e"]),
        (
            "loadtest/oha/README.md",
            &["PATH=$PATH:$PWD/", "loadtest/oha/publish.sh", "STREAMS=5000 DURATION=30s"],
        ),
    ],
    play,
};

/// Events published so far.
fn published() -> u64 {
    let metrics = get(INTERNAL, "/metrics");
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix("tidegate_events_published_total "));
    value.expect("it is counted").parse().expect("a number")
}

fn play(scene: &Scene) {
    let [k6_publish, k6_streams, path, oha_publish, oha_streams] = scene.commands();
    let _gateway = gateway("tidegate");
    let mut terminal = terminal();
    // k6 takes half a minute, and asks for a latency and a punctuality that a busy machine does not have.
    let gentle = "k6 run -e DURATION=2s -e RATE=200 -e P99_MS=5000 -e DROPPED_MAX=400";
    terminal.runs(&changed(&k6_publish, &[("k6 run", gentle)]));
    assert!((1..=410).contains(&published()), "{}", published());
    let said = terminal.runs(&k6_streams.text);
    assert!(said.contains("50000"), "500 streams of 100 events: {said}");

    terminal.runs(&path.text);
    let before = published();
    terminal.runs(&oha_publish.text);
    assert_eq!(published(), before + 100_000);
    let fewer = [("5000", "1000"), ("30s", "1s")];
    terminal.runs(&changed(&oha_streams, &fewer));
    let report = crate::docs::read("out.json");
    let report: serde_json::Value = serde_json::from_str(&report).expect("oha's report is JSON");
    assert_eq!(report["statusCodeDistribution"]["200"], 1000, "{report:#}");
}
