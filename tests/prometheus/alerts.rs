//! The alerts of `deploy/prometheus`: Prometheus takes them, each fires when it should and only then,
//! and `docs/OPERATIONS.md` says what to do.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::{Prometheus, promtool, read};
use crate::support::{Gateway, eventually};

#[test]
fn promtool_takes_the_configuration_and_the_rules() {
    promtool(&["check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"], "");
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "tidegate.rules.yml"], "");
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    promtool(&["test", "rules", "tidegate.test.yml"], "");
    let tested = read("deploy/prometheus/tidegate.test.yml");
    let cases: Vec<&str> = tested.split("- alertname: ").skip(1).collect();
    let tested = |fires: bool| -> BTreeSet<&str> {
        let of_kind = |case: &&&str| case.contains("exp_labels") == fires;
        cases.iter().filter(of_kind).filter_map(|case| case.lines().next()).collect()
    };
    let rules = read("deploy/prometheus/tidegate.rules.yml");
    let alerts: BTreeSet<&str> = rules.split("- alert: ").skip(1).filter_map(first_line).collect();
    assert!(!alerts.is_empty());
    assert_eq!(tested(true), alerts, "each alert has a case in which it fires");
    assert_eq!(tested(false), alerts, "each alert has a case in which it does not");
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().next()
}

#[test]
fn every_alert_runs_on_a_gateway_and_says_what_to_do() {
    let gateway = Gateway::start();
    let prometheus = Prometheus::scraping(&gateway);
    let rules = eventually("every rule to be evaluated", || {
        let rules = prometheus.alerting_rules();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    });
    let manual = read("docs/OPERATIONS.md");
    let sections: Vec<&str> = manual.split("\n## ").skip(1).collect();
    assert!(!rules.is_empty());
    for rule in &rules {
        let name = text(rule, "/name");
        assert_eq!(text(rule, "/health"), "ok", "{name}: {}", rule["lastError"]);
        // Nothing is wrong with this gateway.
        assert_eq!(text(rule, "/state"), "inactive", "{name}");
        assert!(text(rule, "/annotations/summary").len() > 10, "{name} does not say what it is");
        let where_and_what = text(rule, "/annotations/description");
        assert!(where_and_what.contains("$labels.instance"), "{name}: {where_and_what}");
        let severity = text(rule, "/labels/severity");
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let anchor = format!("docs/OPERATIONS.md#{}", name.to_lowercase());
        assert_eq!(text(rule, "/annotations/runbook_url"), anchor);
        let section = sections.iter().find(|section| first_line(section) == Some(name));
        let words = section.map_or(0, |section| section.split_whitespace().count());
        assert!(words > 30, "docs/OPERATIONS.md does not say what to do about {name}");
    }
}

#[track_caller]
fn text<'a>(rule: &'a Value, pointer: &str) -> &'a str {
    let found = rule.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {rule}"))
}
