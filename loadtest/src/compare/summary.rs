//! `summary.md`: the results for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::compare::comparison::{Bound, Comparison, Row};
use crate::compare::figures::{Results, Verdict, violations};
use crate::compare::peers;
use crate::compare::servers::Server;
use crate::probe::Machine;

/// What was run, and on what.
pub(super) struct Heading {
    pub(super) comparison: &'static Comparison,
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    /// Why servers are missing, a line each.
    pub(super) skipped: Vec<String>,
    pub(super) servers: Vec<Server>,
}

impl Heading {
    pub(super) fn line(&self) -> String {
        let Self { date, machine, rounds, .. } = self;
        let day = date.get(..10).unwrap_or(date);
        let medians = if *rounds == 1 {
            "one round".to_owned()
        } else {
            format!("medians of {rounds} rounds")
        };
        format!("{day}, {}, {} cores, {medians}", machine.cpu, machine.cores)
    }
}

pub(super) fn render(heading: &Heading, results: &Results) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = introduce(&mut text, heading)
        .and_then(|()| figures(&mut text, heading.comparison, results))
        .and_then(|()| shares(&mut text, heading, results))
        .and_then(|()| defects(&mut text, heading, results));
    text
}

fn introduce(text: &mut String, heading: &Heading) -> std::fmt::Result {
    let mut command: Vec<String> = std::env::args().collect();
    if let Some(program) = command.first_mut() {
        "tidegate-loadtest".clone_into(program);
    }
    let kernel = &heading.machine.kernel;
    let comparison = heading.comparison;
    writeln!(text, "# {}\n", comparison.title)?;
    writeln!(text, "{}. Kernel {kernel}, loopback.", heading.line())?;
    writeln!(text, "Begun {} by `{}`.", heading.date, command.join(" "))?;
    writeln!(
        text,
        "Versions: tidegate and control servers {}, {}.\n",
        env!("CARGO_PKG_VERSION"),
        peers::versions(comparison.packages).join(", ")
    )?;
    writeln!(
        text,
        "Each server has one core and the load another; all processes of a server share its core. \
         Each measurement has a fresh server. Absolute figures are this machine's: compare the \
         ratios, which are in brackets. {} Raw reports are in `raw/`.\n",
        (comparison.about)()
    )
}

fn figures(text: &mut String, comparison: &Comparison, results: &Results) -> std::fmt::Result {
    let peers = comparison.peers;
    let labels: Vec<String> = peers.iter().map(|peer| peer.label_with_streams()).collect();
    writeln!(
        text,
        "| what | reference | tidegate | target | stretch | verdict | {} |\n\
         |---|---|---|---|---|---{}|",
        labels.join(" | "),
        "|---".repeat(peers.len())
    )?;
    for row in comparison.rows.iter().filter(|row| results.value(row, Server::Tidegate).is_some()) {
        let reference = match (row.reference, results.reference(row)) {
            (Some((name, server)), Some(value)) => {
                let of = if server == Server::Tidegate { name } else { server.label() };
                format!("{} ({of})", quantity(value, row.unit))
            }
            // Nothing to be held to, but good to know.
            (None, _) => {
                let (server, label) = (comparison.reference, comparison.reference.label());
                let value = results.value(row, server).map(|value| quantity(value, row.unit));
                value.map_or_else(String::new, |value| format!("{value} ({label})"))
            }
            _ => String::new(),
        };
        let (target, stretch) = row.goal.map_or_else(Default::default, |goal| {
            let sign = if goal.bound == Bound::AtMost { "≤" } else { "≥" };
            let unit = if row.reference.is_none() { row.unit } else { "" };
            let limit = |limit| format!("{sign} {}", quantity(limit, unit));
            (limit(goal.target), limit(goal.stretch))
        });
        let verdict = match results.verdict(row) {
            Some(Verdict::Stretch) => "**stretch**",
            Some(Verdict::Met) => "met",
            Some(Verdict::Missed) => "**missed**",
            None => "",
        };
        let own = cell(results, row, Server::Tidegate);
        let peers: Vec<String> = peers.iter().map(|&peer| cell(results, row, peer)).collect();
        let peers = peers.join(" | ");
        let what = row.what;
        writeln!(
            text,
            "| {what} | {reference} | {own} | {target} | {stretch} | {verdict} | {peers} |"
        )?;
    }
    writeln!(text)
}

/// The value, with its ratio in brackets.
fn cell(results: &Results, row: &Row, server: Server) -> String {
    let Some(value) = results.value(row, server) else { return String::new() };
    let ratio = results.ratio(row, server);
    let ratio = ratio.map_or_else(String::new, |ratio| format!(" ({})", quantity(ratio, "")));
    format!("{}{ratio}", quantity(value, row.unit))
}

/// Who was busy: with the load near 100 % of its core, the load is what was measured.
fn shares(text: &mut String, heading: &Heading, results: &Results) -> std::fmt::Result {
    let labels: Vec<&str> = heading.servers.iter().map(|server| server.label()).collect();
    writeln!(text, "Busy, in percent of a core, server / load:\n")?;
    writeln!(text, "| measurement | {} |", labels.join(" | "))?;
    writeln!(text, "|---{}|", "|---".repeat(labels.len()))?;
    for measurement in heading.comparison.measurements {
        let cells: Vec<String> = heading
            .servers
            .iter()
            .map(|&server| {
                let share = |name| results.figure(measurement.name, server, |r| find(r, name));
                match (share("server_cpu_percent"), share("client_cpu_percent")) {
                    (Some(server), Some(load)) => format!("{server:.0} / {load:.0}"),
                    _ => String::new(),
                }
            })
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            writeln!(text, "| {} | {} |", measurement.name, cells.join(" | "))?;
        }
    }
    writeln!(text)
}

fn find(report: &Value, name: &str) -> Option<f64> {
    report.get(name).or_else(|| report.get("measured")?.get(name))?.as_f64()
}

/// What does not count, or not wholly.
fn defects(text: &mut String, heading: &Heading, results: &Results) -> std::fmt::Result {
    for line in &heading.skipped {
        writeln!(text, "- {line}")?;
    }
    let mut clean = true;
    for (name, server, rounds) in results.all() {
        let label = server.label();
        let broken: Vec<u64> = rounds.iter().flatten().map(violations).filter(|&n| n > 0).collect();
        if !broken.is_empty() {
            clean = false;
            let (of, total): (usize, u64) = (broken.len(), broken.iter().sum());
            writeln!(text, "- {name}, {label}: {total} violations in {of} rounds")?;
        }
        for what in rounds.iter().filter_map(|round| round.as_ref().err()) {
            clean = false;
            writeln!(text, "- {name}, {label}: a round failed: {what}")?;
        }
    }
    if clean {
        writeln!(text, "{}", heading.comparison.promise)?;
    }
    Ok(())
}

/// Three digits, or all of them where there are more.
pub(super) fn quantity(value: f64, unit: &str) -> String {
    let number = match value.abs() {
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        size if size < 10_000.0 => format!("{value:.0}"),
        _ => in_thousands(value),
    };
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

fn in_thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let after = digits.len() - at;
        if after.is_multiple_of(3) && out.ends_with(|last: char| last.is_ascii_digit()) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What belongs here: numbers as text, and one summary of known rounds.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::streams;
    use serde_json::json;

    #[test]
    fn quantities_have_three_digits() {
        let shown = [0.0, 1.049, 12.34, 456.7, 9999.4, 10_000.0, 2_345_678.0, -123_456.0]
            .map(|value| quantity(value, ""));
        let wanted = ["0.00", "1.05", "12.3", "457", "9999", "10,000", "2,345,678", "-123,456"];
        assert_eq!(shown, wanted);
        assert_eq!(quantity(5.5, "µs"), "5.50 µs");
    }

    #[test]
    fn a_summary_shows_values_ratios_verdicts_and_defects() {
        let report = |rate: f64, broken: u64| {
            Ok(json!({
                "measured": {
                    "deliveries_per_second": rate,
                    "server_cpu_percent": 99.6,
                    "client_cpu_percent": 40.2,
                },
                "violations": { "total": broken },
            }))
        };
        let mut results = Results::default();
        results.add("sixteen-in-flight", Server::Floor, report(150_000.0, 0));
        results.add("sixteen-in-flight", Server::Tidegate, report(2_400_000.0, 0));
        results.add("sixteen-in-flight", Server::Naive, report(750_000.0, 7));
        results.add("sixteen-in-flight", Server::Nchan, Err("it burnt".to_owned()));
        let heading = Heading {
            comparison: &streams::COMPARISON,
            date: "2026-01-02T03:04:05Z".to_owned(),
            machine: Machine::look(),
            rounds: 1,
            skipped: vec!["pushpin is skipped: install it".to_owned()],
            servers: vec![Server::Floor, Server::Tidegate],
        };
        let text = render(&heading, &results);
        for line in [
            "| deliveries/s, 5,000 streams, 16 in flight | 150,000 (floor) | 2,400,000 (16.0) \
             | ≥ 12.0 | ≥ 18.0 | met | 750,000 (5.00) |  |  |",
            "| sixteen-in-flight | 100 / 40 | 100 / 40 |",
            "- pushpin is skipped: install it",
            "- sixteen-in-flight, naive: 7 violations in 1 rounds",
            "- sixteen-in-flight, nginx + nchan: a round failed: it burnt",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\nin\n{text}");
        }
        assert!(!text.contains("CPU a delivery"), "what was not measured has no line:\n{text}");
        assert!(!text.contains("got every event once"), "{text}");
    }
}
