//! What the measurements gave, as raw reports, and the figures made of them: medians over the rounds,
//! of values and of ratios. A ratio is that of one round, in which the two were measured one after the
//! other: a machine that is shared may be a quarter slower some minutes later.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::compare::comparison::{Bound, Goal, Row};
use crate::compare::servers::Server;

/// The middle one, or the mean of the middle two.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Missed,
    Met,
    Stretch,
}

impl Goal {
    pub(super) fn judge(&self, value: f64) -> Verdict {
        let within = |limit: f64| match self.bound {
            Bound::AtMost => value <= limit,
            Bound::AtLeast => value >= limit,
        };
        match (within(self.target), within(self.stretch)) {
            (_, true) => Verdict::Stretch,
            (true, false) => Verdict::Met,
            (false, false) => Verdict::Missed,
        }
    }
}

/// A round's report, or why there is none.
type Round = Result<Value, String>;

#[derive(Default)]
pub(super) struct Results {
    rounds: BTreeMap<(&'static str, Server), Vec<Round>>,
}

impl Results {
    pub(super) fn add(&mut self, measurement: &'static str, server: Server, round: Round) {
        self.rounds.entry((measurement, server)).or_default().push(round);
    }

    /// Every measurement with a server, and its rounds.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, Server, &[Round])> {
        self.rounds.iter().map(|((name, server), rounds)| (*name, *server, &rounds[..]))
    }

    /// The median over the rounds of a figure of `measurement` on `server`.
    pub(super) fn figure(
        &self,
        measurement: &'static str,
        server: Server,
        figure: impl Fn(&Value) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.rounds.get(&(measurement, server))?;
        let values = rounds.iter().filter_map(|round| figure(round.as_ref().ok()?));
        median(&values.collect::<Vec<_>>())
    }

    pub(super) fn value(&self, row: &Row, server: Server) -> Option<f64> {
        self.figure(row.measurement, server, row.figure)
    }

    pub(super) fn reference(&self, row: &Row) -> Option<f64> {
        let (measurement, server) = row.reference?;
        self.figure(measurement, server, row.figure)
    }

    /// The median over the rounds of the value over that of the reference.
    pub(super) fn ratio(&self, row: &Row, server: Server) -> Option<f64> {
        let (measurement, of) = row.reference?;
        let values = self.rounds.get(&(row.measurement, server))?;
        let references = self.rounds.get(&(measurement, of))?;
        let figure = |round: &Round| (row.figure)(round.as_ref().ok()?);
        let pairs = values.iter().zip(references).filter_map(|(value, reference)| {
            let reference = figure(reference).filter(|reference| *reference != 0.0)?;
            Some(figure(value)? / reference)
        });
        median(&pairs.collect::<Vec<_>>())
    }

    /// Whether the gateway's ratio, or its value where there is no reference, is good enough.
    pub(super) fn verdict(&self, row: &Row) -> Option<Verdict> {
        let judged = match row.reference {
            Some(_) => self.ratio(row, Server::Tidegate),
            None => self.value(row, Server::Tidegate),
        };
        Some(row.goal?.judge(judged?))
    }

    /// Every round of `server` was made, and none had a violation.
    pub(super) fn is_clean(&self, server: Server) -> bool {
        let mut own = self.rounds.iter().filter(|((_, of), _)| *of == server);
        own.all(|(_, rounds)| {
            rounds.iter().all(|round| round.as_ref().is_ok_and(|report| violations(report) == 0))
        })
    }

    /// One file for each measurement and server, with all rounds so far.
    pub(super) fn write(&self, out: &Path) -> Result<(), String> {
        let raw = out.join("raw");
        let fail = |error| format!("writing to {}: {error}", raw.display());
        fs::create_dir_all(&raw).map_err(fail)?;
        for ((measurement, server), rounds) in &self.rounds {
            let rounds = rounds.iter().map(|round| match round {
                Ok(report) => report.clone(),
                Err(what) => json!({ "failed": what }),
            });
            let file = json!({
                "measurement": measurement,
                "server": server.name(),
                "rounds": rounds.collect::<Vec<_>>(),
            });
            let path = raw.join(format!("{measurement}-{}.json", server.name()));
            fs::write(path, format!("{file:#}\n")).map_err(fail)?;
        }
        Ok(())
    }
}

/// Promises that a round saw broken, by its load or by the one beside it. Reports without a witness
/// have none.
pub(super) fn violations(report: &Value) -> u64 {
    let of = |pointer| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    of("/violations/total") + of("/beside/violations/total")
}

/// What belongs here: medians, ratios and verdicts.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::streams::CPU_PER_DELIVERY;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 30.0]), Some(3.0));
    }

    #[test]
    fn goals_bind_from_above_and_below() {
        let at_most = Goal { bound: Bound::AtMost, target: 2.0, stretch: 1.0 };
        assert_eq!([0.9, 1.0, 1.1, 2.0, 2.1].map(|value| at_most.judge(value)), {
            use Verdict::{Met, Missed, Stretch};
            [Stretch, Stretch, Met, Met, Missed]
        });
        let at_least = Goal { bound: Bound::AtLeast, target: 12.0, stretch: 18.0 };
        assert_eq!([11.9, 12.0, 18.0].map(|value| at_least.judge(value)), {
            use Verdict::{Met, Missed, Stretch};
            [Missed, Met, Stretch]
        });
    }

    fn cpu(us: f64, violations: u64) -> Round {
        Ok(json!({
            "measured": { "server_cpu_us_per_delivery": us },
            "violations": { "total": violations },
        }))
    }

    #[test]
    fn ratios_are_of_rounds_and_failed_rounds_do_not_count() {
        let mut results = Results::default();
        for us in [5.0, 4.0, 100.0, 4.0] {
            results.add("one-in-flight", Server::Floor, cpu(us, 0));
        }
        let failed = Err("no server".to_owned());
        for round in [cpu(10.0, 0), failed, cpu(120.0, 0), cpu(12.0, 0)] {
            results.add("one-in-flight", Server::Tidegate, round);
        }
        assert_eq!(results.value(&CPU_PER_DELIVERY, Server::Tidegate), Some(12.0));
        assert_eq!(results.ratio(&CPU_PER_DELIVERY, Server::Tidegate), Some(2.0));
        assert_eq!(results.verdict(&CPU_PER_DELIVERY), Some(Verdict::Missed));
        assert_eq!(results.ratio(&CPU_PER_DELIVERY, Server::Naive), None);
        assert!(!results.is_clean(Server::Tidegate), "a round failed");
    }

    #[test]
    fn a_round_with_violations_is_not_clean() {
        let mut results = Results::default();
        results.add("one-in-flight", Server::Tidegate, cpu(1.0, 0));
        results.add("one-in-flight", Server::Naive, cpu(1.0, 3));
        assert!(results.is_clean(Server::Tidegate));
        assert!(!results.is_clean(Server::Naive));
    }
}
