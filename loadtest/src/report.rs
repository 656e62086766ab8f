//! What a run found, for people (a table on stdout) and for programs (JSON).

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::CommonArgs;
use crate::probe::Machine;
use crate::session::Opening;
use crate::violations::{Described, Violations};

/// One line of the table.
pub(crate) type Row = (&'static str, String);

#[derive(Debug, Serialize)]
pub(crate) struct LatencyUs {
    pub(crate) samples: u64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl LatencyUs {
    pub(crate) fn of_ns(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            samples: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }

    pub(crate) fn row(&self) -> String {
        let Self { p50, p90, p99, p999, max, .. } = self;
        format!("p50 {p50:.0}  p90 {p90:.0}  p99 {p99:.0}  p99.9 {p999:.0}  max {max:.0} µs")
    }
}

#[derive(Serialize)]
struct ViolationReport<'a> {
    total: u64,
    by_kind: serde_json::Map<String, serde_json::Value>,
    first: &'a [Described],
}

#[derive(Serialize)]
struct Document<'a, D> {
    scenario: &'static str,
    date: String,
    command: Vec<String>,
    machine: Machine,
    opening: &'a Opening,
    #[serde(flatten)]
    details: &'a D,
    violations: ViolationReport<'a>,
}

/// Shows the run; returns whether it was without violations.
pub(crate) fn show<D: Serialize>(
    scenario: &'static str,
    common: &CommonArgs,
    opening: &Opening,
    details: &D,
    rows: &[Row],
    violations: &Violations,
) -> Result<bool, String> {
    // JSON on stdout has it to itself.
    if !common.quiet && common.json.as_deref() != Some(Path::new("-")) {
        print_table(scenario, opening, rows, violations)
            .map_err(|error| format!("writing the table: {error}"))?;
    }
    if let Some(path) = &common.json {
        let by_kind = violations.by_kind().into_iter().map(|(kind, count)| {
            let name = serde_json::to_value(kind).ok();
            let name = name.and_then(|name| name.as_str().map(str::to_owned));
            (name.expect("a kind is a plain name"), count.into())
        });
        let document = Document {
            scenario,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            command: std::env::args().collect(),
            machine: Machine::look(),
            opening,
            details,
            violations: ViolationReport {
                total: violations.total(),
                by_kind: by_kind.collect(),
                first: violations.described(),
            },
        };
        let mut text = serde_json::to_string_pretty(&document)
            .map_err(|error| format!("building the JSON report: {error}"))?;
        text.push('\n');
        let written = if path == Path::new("-") {
            std::io::stdout().write_all(text.as_bytes())
        } else {
            std::fs::write(path, text)
        };
        written.map_err(|error| format!("writing {}: {error}", path.display()))?;
    }
    Ok(violations.total() == 0)
}

fn print_table(
    scenario: &str,
    opening: &Opening,
    rows: &[Row],
    violations: &Violations,
) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<24} {value}");
    line("scenario", scenario)?;
    line("streams opened", &format!("{} in {:.3} s", opening.streams, opening.seconds))?;
    if let Some(bytes) = opening.server_bytes_per_stream {
        let slope = opening.server_bytes_per_stream_slope;
        let slope = slope.map_or(String::new(), |slope| format!(", slope {slope:.0}"));
        line("server bytes/stream", &format!("{bytes:.0}{slope}"))?;
    }
    for (name, value) in rows {
        line(name, value)?;
    }
    let kinds = violations.by_kind().into_iter().filter(|(_, count)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{kind:?} {count}")).collect();
    line("violations", &format!("{}  {}", violations.total(), kinds.join(", ")))?;
    for described in violations.described() {
        line("", &format!("{:?}: {}", described.kind, described.what))?;
    }
    Ok(())
}
