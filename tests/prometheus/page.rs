//! Keeps `docs/METRICS.md` what `tidegate metrics` says.
//!
//! `BLESS=1 cargo test --test prometheus` writes the page anew.

use std::fmt::Write as _;

use crate::server::{file, read};
use crate::support::run_cli;

const PAGE: &str = "docs/METRICS.md";

const ABOUT: &str = "\
# Metrics

What `/metrics` on the internal listener says, in the Prometheus text format; `tidegate metrics` prints the
same list. Counters begin at 0 with the process. Values are those of all shards together. The metrics of app
servers are there when there are any. What to do when one is wrong: [OPERATIONS.md](OPERATIONS.md). This
page is written by `tests/prometheus.rs`.

| metric | type | labels | meaning |
|---|---|---|---|
";

#[test]
fn the_page_lists_every_metric() {
    let output = run_cli(&["metrics"]);
    let listed = String::from_utf8(output.stdout).expect("the list is text");
    let expected = page(&listed);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file(PAGE), &expected).expect("docs/ can be written");
    }
    assert!(read(PAGE) == expected, "{PAGE} is out of date: BLESS=1 cargo test --test prometheus");
}

/// A row for each metric: a line `name (type)`, its meaning, and a line for each label.
fn page(listed: &str) -> String {
    let mut page = ABOUT.to_owned();
    let mut lines = listed.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let help = lines.next().expect("a meaning").trim();
        let mut labels = Vec::new();
        while let Some(label) = lines.next_if(|line| line.starts_with(' ')) {
            let (label, values) = label.trim().split_once(": ").expect("a label and its values");
            labels.push(format!("`{label}`: {values}"));
        }
        let (kind, labels) = (kind.trim_matches(['(', ')']), labels.join("<br>"));
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").expect("a String grows");
    }
    page
}
