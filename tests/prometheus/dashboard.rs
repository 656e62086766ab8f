//! The dashboard of `deploy/grafana`: it is what Grafana's types say, can be read, and every panel has
//! data from a gateway under load.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::load::{PATIENCE_WITH_ALL, Stage};
use crate::server::{Prometheus, file, read};
use crate::support::{Deadline, pause};

const DASHBOARD: &str = "deploy/grafana/dashboards/tidegate.json";

/// Panels that show zeros when all is well, and that the load of this test cannot move: it never fills a
/// mailbox, takes no descriptors away, and is refused nothing for lack of room.
const QUIET: &[&str] = &["Mailbox fill", "Failed accepts, and reloads", "Refused share"];

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON")
}

/// The panels that are no rows.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("a list of panels").iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A panel's queries, as Grafana would send them with everything chosen.
fn queries(panel: &Value) -> Vec<String> {
    let targets = panel["targets"].as_array().expect("a list of queries").iter();
    let queries = targets.map(|target| {
        let chosen = [("$job", "tidegate"), ("$instance", ".+"), ("$__rate_interval", "1m")];
        let substitute = |expr: String, (name, value): &(&str, &str)| expr.replace(name, value);
        let query = chosen.iter().fold(text(target, "expr").to_owned(), substitute);
        assert!(!query.contains('$'), "a variable that the dashboard does not have: {query}");
        query
    });
    queries.collect()
}

#[test]
fn every_panel_has_data_from_a_gateway_under_load() {
    let stage = Stage::set();
    let prometheus = Prometheus::scraping(&stage.gateway);
    let _load = stage.play();
    let dashboard = dashboard();
    let mut open: Vec<(&str, String)> = Vec::new();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        open.extend(queries(panel).into_iter().map(|query| (title, query)));
    }
    assert!(open.len() > 60, "the dashboard has {} queries", open.len());
    let deadline = Deadline::after(PATIENCE_WITH_ALL);
    while !open.is_empty() && deadline.left().is_some() {
        open.retain(|(title, query)| {
            let values = prometheus.query(query);
            let mut numbers = values.iter().filter(|value| !value.is_nan());
            !numbers.any(|value| QUIET.contains(title) || *value != 0.0)
        });
        pause(Duration::from_millis(100));
    }
    assert!(open.is_empty(), "without data: {open:#?}");
}

#[test]
fn it_is_what_grafanas_types_say() {
    let modules = file("tests/clients/node_modules");
    let compiler = modules.join("typescript/bin/tsc");
    assert!(compiler.exists(), "{} is not there: run `make deps`", compiler.display());
    let folder = tempfile::tempdir().expect("a folder for the compiler");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("the folder can be written");
    };
    write("types.ts", &read("tests/prometheus/dashboard_types.ts"));
    // As a literal, not as an imported file: only then its texts are not of the type `string`.
    let import = "import type { TidegateDashboard } from './types';";
    let literal = read(DASHBOARD);
    write("check.ts", &format!("{import}\nexport const it: TidegateDashboard = {literal};\n"));
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).expect("a link");
    let output = Command::new("node")
        .arg(compiler)
        .args(["--noEmit", "--strict", "--skipLibCheck", "--pretty", "false"])
        .args(["--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"])
        .arg("check.ts")
        .current_dir(folder.path())
        .output()
        .expect("node is installed: run `make deps`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn panels_have_their_own_number_and_place() {
    let dashboard = dashboard();
    let mut numbers = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("a list of panels") {
        let title = text(panel, "title");
        assert!(numbers.insert(panel["id"].as_u64()), "{title} has the number of another panel");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a number"));
        assert!(x + w <= 24, "{title} is outside the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel");
        }
    }
}

#[test]
fn panels_choose_by_the_variables_and_say_what_they_show() {
    let dashboard = dashboard();
    let selector = r#"{job=~"$job", instance=~"$instance""#;
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(text(panel, "description").len() > 10, "{title} does not say what it shows");
        for target in panel["targets"].as_array().expect("a list of queries") {
            let expr = text(target, "expr");
            let metrics = expr.matches("tidegate_").count()
                + expr.matches("process_").count()
                + expr.matches("up{").count();
            assert_eq!(metrics, expr.matches(selector).count(), "{title}: {expr}");
            let windows = expr.matches('[').count();
            assert_eq!(windows, expr.matches("[$__rate_interval]").count(), "{title}: {expr}");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let dashboard = read(DASHBOARD);
    // The memory that is mapped says nothing.
    let left_out = ["process_virtual_memory_bytes"];
    let output = crate::support::run_cli(&["metrics"]);
    let listed = String::from_utf8(output.stdout).expect("the list is text");
    let names = listed.lines().filter(|line| !line.starts_with(' '));
    for name in names.filter_map(|line| line.split(' ').next()) {
        let is_shown = dashboard.contains(name);
        assert_eq!(is_shown, !left_out.contains(&name), "{name} on the dashboard: {is_shown}");
    }
}
