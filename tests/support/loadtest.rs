//! The load tester as a process against a gateway, and what it reports. It shares no code with the
//! gateway, and accounts for every event on every stream.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Gateway;

/// Runs the load tester against a gateway; gives its report. Violations fail the test.
#[track_caller]
pub fn loadtest(gateway: &Gateway, scenario: &str, args: &str) -> Value {
    run(gateway, &[scenario], scenario, args)
}

/// Runs a scenario file of the load tester with `args` behind it; gives its report.
#[track_caller]
pub fn loadtest_file(gateway: &Gateway, file: &Path, args: &str) -> Value {
    let text = std::fs::read_to_string(file).expect("a scenario file");
    let line = text.lines().find_map(|line| line.strip_prefix("scenario = "));
    let scenario = line.expect("a scenario file names its scenario").trim_matches('"');
    run(gateway, &["run", file.to_str().expect("UTF-8")], scenario, args)
}

/// The load tester's program, to be given arguments.
#[track_caller]
pub fn program() -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate")).with_file_name("tidegate-loadtest");
    assert!(
        binary.exists(),
        "{} is not built: run `cargo build -p tidegate-loadtest` with the profile and target \
         folder of this test, or `cargo test --workspace`",
        binary.display()
    );
    Command::new(binary)
}

#[track_caller]
fn run(gateway: &Gateway, command_line: &[&str], scenario: &str, args: &str) -> Value {
    let mut command = program();
    command.args(command_line).args(["--public", &format!("http://{}", gateway.public)]);
    if scenario != "idle" && scenario != "cap" {
        command.args(["--internal", &format!("http://{}", gateway.internal)]);
    }
    command.args(args.split_whitespace()).args(["--quiet", "--json", "-"]);
    let output = command.stdin(Stdio::null()).output().expect("the load tester runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no report ({error}), {}: {said}", output.status));
    assert_eq!(report["violations"]["total"], 0, "{}", report["violations"]);
    assert!(output.status.success(), "{}: {said}", output.status);
    report
}

#[track_caller]
pub fn number(report: &Value, path: &str) -> u64 {
    let value = report.pointer(path).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no number at {path} in {report:#}"))
}

#[track_caller]
pub fn numbers(report: &Value, path: &str) -> Vec<u64> {
    let values = report.pointer(path).and_then(Value::as_array);
    let values = values.unwrap_or_else(|| panic!("no list at {path} in {report:#}"));
    values.iter().map(|value| value.as_u64().expect("a number")).collect()
}
