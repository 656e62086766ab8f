//! README.md from its top, with one gateway: the first event, the ways to publish and to come back, and a
//! Prometheus that has what the dashboard and the alerts need.

use serde_json::Value;

use crate::docs;
use crate::gateway::{INTERNAL, event, get, json, local, shape, stream};
use crate::scene::{Scene, changed, terminal};
use crate::support::{eventually_within, percent_encode};
use crate::terminal::Terminal;

pub(crate) const SCENE: Scene = Scene {
    commands: &[(
        "README.md",
        &[
            "make run",
            "curl -N 'localhost:8080/events?topic=t'",
            "curl -d hi",
            "PATH=",
            "curl -d '{\"topic\"",
            "curl -N -H 'Last-Event-ID",
            "curl -d '{\"state\"",
            "curl localhost:8081/metrics",
            "prometheus ",
        ],
    )],
    play,
};

fn play(scene: &Scene) {
    let [run, subscribe, publish, path, publish_json, resume, retain, metrics, prometheus] =
        scene.commands();
    assert!(!crate::process::project().join("target/release").exists(), "a clean checkout");
    let mut first = Terminal::open();
    first.types(&run.text);
    first.shows_text("listening");
    let mut beside = Terminal::open();
    beside.runs(&path.text);
    beside.runs("tidegate --version");

    let second = stream(&subscribe.text);
    let mut third = terminal();
    let id = json(&mut third, &publish.text)["id"].as_str().expect("an id").to_owned();
    second.shows_text("data: hi");
    assert_eq!(shape(&second.shown()), shape(&docs::answer(&subscribe, "")));
    let hello = event(&second, "hello");

    let log = stream(&subscribe.text.replace("topic=t", "topic=log"));
    assert!(json(&mut third, &publish_json.text)["id"].is_string());
    assert_eq!(event(&log, "task.status")["state"], "done");

    // An id of this gateway; the page's is of another one.
    let cursor = hello["cursor"].as_str().expect("a cursor");
    let shown = resume.text.split(['\'', ' ']).find(|word| word.contains("-0")).expect("an id");
    let resumed = stream(&changed(&resume, &[(shown, cursor)]));
    resumed.shows_text("data: hi");
    assert!(resumed.shown().contains(&format!("id: {id}\n")), "{}", resumed.shown());
    let stranger = stream(&resume.text);
    assert_eq!(event(&stranger, "gap")["reason"], "epoch");

    json(&mut third, &retain.text);
    let door = stream(&subscribe.text.replace("topic=t", "topic=door"));
    door.shows_text(r#"data: {"state":"open"}"#);

    let exposed = third.runs(&metrics.text);
    let listed = docs::read("docs/METRICS.md");
    for line in exposed.lines().filter(|line| line.starts_with("# TYPE tidegate_")) {
        let name = line.split(' ').nth(2).expect("a name");
        assert!(listed.contains(&format!("`{name}`")), "{name} is not in docs/METRICS.md");
    }
    watched_by(&prometheus.text);

    let (_, said) = first.interrupts();
    assert!(said.contains("drain"), "{said}");
}

/// The page's Prometheus finds the gateway, knows the alerts, and has what the dashboard asks for.
fn watched_by(command: &str) {
    let mut terminal = Terminal::open();
    terminal.types(command);
    terminal.shows_text("Server is ready to receive web requests");
    let asks = |path: &str| get(local(9090), path).json();
    let target = eventually_within(SCRAPE, "a scrape", || {
        let targets = asks("/api/v1/targets");
        let target = targets.pointer("/data/activeTargets/0")?;
        (target["health"] != "unknown").then(|| target.clone())
    });
    assert_eq!(target["health"], "up", "{target}");
    assert_eq!(target["labels"]["job"], "tidegate");
    assert!(target["scrapeUrl"].as_str().is_some_and(|url| url.contains(&INTERNAL.to_string())));

    let rules = asks("/api/v1/rules?type=alert");
    let groups = rules["data"]["groups"].as_array().expect("groups").iter();
    let alerts: usize = groups.map(|group| group["rules"].as_array().map_or(0, Vec::len)).sum();
    let told = format!("Prometheus then knows {alerts} alerts");
    let page = docs::read("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(alerts > 0 && page.contains(&told), "not in README.md: {told}");

    // The dashboard's first figures, as Grafana asks for them.
    let dashboard: Value =
        serde_json::from_str(&docs::read("deploy/grafana/dashboards/tidegate.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let query = panels.filter_map(|panel| panel["targets"][0]["expr"].as_str()).next();
    let query = query.expect("a query").replace("$job", "tidegate").replace("$instance", ".+");
    let answer = asks(&format!("/api/v1/query?query={}", percent_encode(&query)));
    assert!(answer["data"]["result"][0]["value"][1].is_string(), "{query}: {answer}");
    terminal.interrupts();
}

/// More than Prometheus's own pace.
const SCRAPE: std::time::Duration = std::time::Duration::from_secs(30);
