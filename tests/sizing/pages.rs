//! `docs/TUNING.md` and `docs/COMPARISON.md` against what they speak of: keys, metrics and alerts that exist,
//! examples that print what is there, figures that were measured.
//!
//! `BLESS=1 cargo test --test sizing` writes the examples' output anew.

use std::fs;
use std::path::Path;

use tidegate::config::Config;

use crate::support::run_cli;

const TUNING: &str = "docs/TUNING.md";
const COMPARISON: &str = "docs/COMPARISON.md";
const SUMMARY: &str = "loadtest/results/2026-11-21-amd-epyc-2-cores/summary.md";

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What stands between backticks, outside of blocks.
fn quoted(page: &str) -> Vec<&str> {
    let prose = page.split("\n```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.contains('.')
        && text.split('.').all(|part| !part.is_empty() && part.chars().all(is_letter))
}

#[test]
fn every_key_that_is_named_exists() {
    let page = read(TUNING);
    let keys = Config::keys();
    let sections: Vec<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let sysctl = read("deploy/sysctl.d/60-tidegate.conf");
    let (mut ours, mut kernel) = (0, 0);
    for name in quoted(&page).into_iter().filter(|name| is_name(name)) {
        if sections.contains(&name.split('.').next().expect("a part")) {
            assert!(keys.iter().any(|key| key == name), "{TUNING} names {name}, which is no key");
            ours += 1;
        } else {
            // `net.netfilter` is there with a kernel module only.
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            let is_known = path.exists() || sysctl.contains(name);
            assert!(is_known, "{TUNING} names {name}, which is neither a key nor the kernel's");
            kernel += 1;
        }
    }
    assert!(ours > 30 && kernel > 8, "{ours} keys and {kernel} of the kernel's were found");
}

#[test]
fn every_metric_and_alert_that_is_named_exists() {
    let page = read(TUNING);
    let metrics = read("docs/METRICS.md");
    let alerts = read("docs/OPERATIONS.md");
    let (mut counted, mut warned) = (0, 0);
    for name in quoted(&page) {
        if name.starts_with("tidegate_") {
            assert!(metrics.contains(&format!("\n| `{name}` |")), "there is no metric {name}");
            counted += 1;
        } else if name.starts_with("Tidegate") {
            assert!(alerts.contains(&format!("\n## {name}\n")), "there is no alert {name}");
            warned += 1;
        }
    }
    assert!(counted > 15 && warned > 5, "{counted} metrics and {warned} alerts were found");
}

#[test]
fn every_reason_that_is_named_is_one_of_its_metric() {
    let page = read(TUNING);
    let metrics = read("docs/METRICS.md");
    let mut found = 0;
    for row in page.lines() {
        // `tidegate_…` …, `reason` or `result` `value`.
        for label in ["reason", "result"] {
            let with = format!(" {label} `");
            for (before, after) in row.match_indices(&with).map(|(at, _)| row.split_at(at)) {
                let metric = quoted(before).into_iter().rfind(|name| name.starts_with("tidegate_"));
                let metric = metric.expect("a metric before it");
                let value = quoted(after).first().copied().expect("a value");
                let entry =
                    metrics.lines().find(|line| line.starts_with(&format!("| `{metric}` |")));
                let entry = entry.unwrap_or_else(|| panic!("there is no metric {metric}"));
                let labels = entry.split_once(&format!("`{label}`: ")).expect("it has the label").1;
                let values = labels.split(['<', '|']).next().expect("values");
                let is_there = values.split(", ").any(|other| other.trim() == value);
                assert!(is_there, "{metric} has no {label} {value}: {values}");
                found += 1;
            }
        }
    }
    assert!(found >= 4, "{found} were found");
}

/// The page with the output of its examples as it is now, and how many there are.
fn renewed(page: &str) -> (String, usize) {
    const COMMAND: &str = "```sh\ntidegate size --config config/";
    const OUTPUT: &str = "```text\n";
    const END: &str = "\n```\n";
    let mut parts = page.split(COMMAND);
    let mut renewed = parts.next().expect("a beginning").to_owned();
    let mut count = 0;
    for part in parts {
        let (command, rest) = part.split_once(END).expect("the command's block ends");
        let (between, rest) = rest.split_once(OUTPUT).expect("its output is below");
        let after = rest.split_once("```\n").expect("the output's block ends").1;
        let line = format!("size --config config/{command}");
        let output = run_cli(&line.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tidegate {line}: {said}");
        let printed = String::from_utf8(output.stdout).expect("text");
        renewed += &format!("{COMMAND}{command}{END}{between}{OUTPUT}{printed}```\n{after}");
        count += 1;
    }
    (renewed, count)
}

#[test]
fn the_examples_print_what_the_page_says() {
    let page = read(TUNING);
    let (expected, count) = renewed(&page);
    assert_eq!(count, 4, "one for each system in config/");
    if std::env::var_os("BLESS").is_some() {
        fs::write(TUNING, &expected).expect("docs/ can be written");
        return;
    }
    assert!(page == expected, "{TUNING} is out of date: BLESS=1 cargo test --test sizing");
}

#[test]
fn every_measured_figure_of_the_comparison_is_in_the_results() {
    let page = read(COMPARISON);
    let summary = read(SUMMARY);
    let measured = page.split_once("\n## Measured\n").expect("a section").1;
    let measured = measured.split("\n## ").next().expect("a section");
    let rows = measured.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut figures = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let source = summary.lines().find(|line| line.starts_with(&format!("| {} |", cells[0])));
        let source = source.unwrap_or_else(|| panic!("{SUMMARY} has no row {:?}", cells[0]));
        for figure in cells[1..].iter().filter(|cell| !cell.is_empty()) {
            let is_there = source.split('|').any(|cell| cell.trim().starts_with(figure));
            assert!(is_there, "{figure:?} is not in {source}");
            figures += 1;
        }
    }
    assert!(figures > 10, "{figures} figures were found");
}
