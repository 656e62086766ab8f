//! The witness run as a process, and what it said.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::Fake;

pub struct Verdict {
    pub status: i32,
    pub report: Value,
    pub stderr: String,
}

impl Verdict {
    pub fn of(command: &str, args: &[&str]) -> Self {
        let mut witness = Command::new(env!("CARGO_BIN_EXE_tidegate-loadtest"));
        let output = witness.arg(command).args(args).args(["--json", "-"]).output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { status: output.status.code().unwrap(), report, stderr }
    }

    pub fn violations(&self, kind: &str) -> u64 {
        self.report["violations"]["by_kind"][kind].as_u64().expect("a kind of the report")
    }

    pub fn number(&self, name: &str) -> u64 {
        self.report[name].as_u64().unwrap_or_else(|| panic!("{name} in {:#}", self.report))
    }

    pub fn assert_clean(&self) {
        assert_eq!(self.status, 0, "{:#}\n{}", self.report["violations"], self.stderr);
    }

    pub fn assert_only(&self, kind: &str, count: u64) {
        assert_eq!(self.status, 1, "{:#}\n{}", self.report["violations"], self.stderr);
        assert_eq!(self.violations(kind), count, "{:#}", self.report["violations"]);
        assert_eq!(self.report["violations"]["total"], count, "{:#}", self.report["violations"]);
    }
}

pub fn witness(scenario: &str, fake: &Fake, args: &[&str]) -> Verdict {
    witness_at(scenario, fake.public, fake.internal, args)
}

pub fn witness_at(
    scenario: &str,
    public: SocketAddr,
    internal: SocketAddr,
    args: &[&str],
) -> Verdict {
    let (public, internal) = (format!("http://{public}"), format!("http://{internal}"));
    let mut all = vec!["--public", &public];
    if matches!(scenario, "fanout" | "churn" | "storm") {
        all.extend(["--internal", &internal]);
    }
    all.extend(args);
    Verdict::of(scenario, &all)
}
