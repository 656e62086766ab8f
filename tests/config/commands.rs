//! The commands, as processes.

use std::process::{Command, Output};

use tidegate::config::schema::LogFormat;
use tidegate::config::{self, Config};

use crate::{EXAMPLE, TempFile, seconds};

fn tidegate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_says_ok_or_what_is_wrong() {
    let good = TempFile::new("good.toml", EXAMPLE);
    let output = tidegate(&["check", &good.name()], &[("TIDEGATE__NONSENSE", "ignored")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("{}: ok\n", good.name()));

    let bad = TempFile::new("bad.toml", "[log]\nlevel = 'inof'\n[stream]\nretry = '0s'\n");
    let output = tidegate(&["check", &bad.name()], &[]);
    let name = bad.name();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        format!(
            "tidegate: error: {name}:4:9: `stream.retry` is 0s; it must be at least 1ms\n\
             tidegate: error: {name}:2:9: `log.level` is \"inof\"; expected off, error, warn, \
             info, debug or trace, or a filter like \"info,tidegate=debug\"\n"
        )
    );
}

#[test]
fn effective_shows_each_value_with_its_source_and_parses_again() {
    let file = TempFile::new("effective.toml", "stream.heartbeat = '5s'\n");
    let output = tidegate(
        &["config", "--effective", "--config", &file.name(), "--listen", "127.0.0.1:0"],
        &[("TIDEGATE__LOG__FORMAT", "json"), ("STREAM_MAX_SECONDS", "60")],
    );
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output.stdout);
    let from_file = format!("heartbeat = \"5s\"  # file {}:1", file.name());
    for line in [
        "[stream.control]",
        "listen = \"127.0.0.1:0\"  # flag --listen",
        &from_file,
        "max_lifetime = \"1m\"  # env STREAM_MAX_SECONDS",
        "format = \"json\"  # env TIDEGATE__LOG__FORMAT",
        "ring_bytes_max = \"1MiB\"  # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    let again = config::from_text("printed", &printed).unwrap().config;
    let mut expected = Config::default();
    expected.server.listen.set_ip([127, 0, 0, 1].into());
    expected.server.listen.set_port(0);
    expected.stream.heartbeat = seconds(5);
    expected.stream.max_lifetime = seconds(60);
    expected.log.format = LogFormat::Json;
    assert_eq!(again, expected);
}

#[test]
fn effective_shows_a_configuration_that_breaks_a_rule_and_says_so() {
    let file = TempFile::new("rule.toml", "server.shards = 2000\n");
    let output = tidegate(&["config", "--effective", "--config", &file.name()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("shards = 2000"));
    assert!(text(&output.stderr).ends_with("is 2000; it must be at most 1024\n"));
}

#[test]
fn wrong_usage_is_exit_code_2_and_an_error_line() {
    for arguments in [
        &["--nonsense"][..],
        &["rnu"],
        &["config"],
        &["--set", "stream.retry"],
        &["--set", "stream.rety=1s"],
        &["run", "--shards", "-1"],
        &["--log-format", "xml"],
        &["--internal", "0.0.0.0:8081"],
        &["size", "--slow", "101"],
        &["size", "--events", "-1"],
        &["size", "--events", "nan"],
        &["size", "--bytes", "many"],
        &["size", "--streams", "0"],
        &["size", "--protocol", "h4"],
        &["size", "--route", "/nope"],
        &["size", "--shards", "-1"],
    ] {
        let output = tidegate(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).starts_with("tidegate: error: "), "{arguments:?}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    let help = tidegate(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for example in ["curl -N 'localhost:8080/events?topic=t'", "curl -d hi localhost:8081/topics/t"]
    {
        assert!(text(&help.stdout).contains(example));
    }
    let version = tidegate(&["--version"], &[]);
    assert_eq!(text(&version.stdout), concat!("tidegate ", env!("CARGO_PKG_VERSION"), "\n"));
}
