//! Scenario files: a command line as TOML, so that a measurement can be named and kept.
//!
//! `scenario` names the command, every other key is one of its flags:
//! `topics-per-stream = 8` stands for `--topics-per-stream=8`, `fairness = true` for
//! `--fairness`, an array for a flag given several times. They go through the same
//! parser as flags, so they have the same checks and the same messages; flags behind
//! the file come later and win.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use toml::{Table, Value};

use crate::cli::Cli;

/// The key that names the command.
const SCENARIO: &str = "scenario";

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The scenario file; `loadtest/scenarios` has one for each thing worth measuring.
    pub(crate) file: PathBuf,
    /// Flags of its scenario, such as `--streams 100`; they override the file's keys.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) flags: Vec<OsString>,
}

/// The command line that `args` stands for, with `program` as its first word.
pub(crate) fn command_line(program: OsString, args: &RunArgs) -> Result<Vec<OsString>, String> {
    let text = fs::read_to_string(&args.file)
        .map_err(|error| format!("{}: {error}", args.file.display()))?;
    let words = words(&args.file, &text)?;
    let words = words.into_iter().map(OsString::from);
    Ok([program].into_iter().chain(words).chain(args.flags.iter().cloned()).collect())
}

/// The file as words of a command line: the scenario, then its flags.
fn words(file: &Path, text: &str) -> Result<Vec<String>, String> {
    let fail = |what: String| format!("{}: {what}", file.display());
    let mut table: Table = text.parse().map_err(|error| fail(format!("{error}")))?;
    let Some(Value::String(scenario)) = table.remove(SCENARIO) else {
        return Err(fail(format!("needs a line such as {SCENARIO} = \"fanout\"")));
    };
    let cli = Cli::command();
    let command = cli
        .find_subcommand(&scenario)
        .filter(|command| command.get_name() != "run")
        .ok_or_else(|| fail(format!("there is no scenario {scenario:?}")))?;
    let mut words = vec![scenario.clone()];
    for (key, value) in &table {
        if !command.get_arguments().any(|arg| arg.get_long() == Some(key)) {
            return Err(fail(format!(
                "{key:?} is no key: {scenario} has no flag --{key}; `tidegate-loadtest {scenario} \
                 --help` lists them"
            )));
        }
        let several = std::slice::from_ref(value);
        let values = value.as_array().map_or(several, Vec::as_slice);
        for value in values {
            let word = word(key, value).ok_or_else(|| {
                fail(format!("{key} must be a number, a string, a boolean or a list of them"))
            })?;
            words.extend(word);
        }
    }
    let whole = [cli.get_name().to_owned()].into_iter().chain(words.iter().cloned());
    Cli::try_parse_from(whole).map_err(|error| fail(error.to_string()))?;
    Ok(words)
}

/// One flag; `Some(None)` for one that is switched off.
fn word(key: &str, value: &Value) -> Option<Option<String>> {
    Some(match value {
        Value::Boolean(on) => on.then(|| format!("--{key}")),
        Value::String(text) => Some(format!("--{key}={text}")),
        Value::Integer(number) => Some(format!("--{key}={number}")),
        Value::Float(number) => Some(format!("--{key}={number}")),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => return None,
    })
}

/// What belongs here: what a file stands for, what is refused, and the files that we ship.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{FanoutArgs, Scenario};

    fn fanout(text: &str, flags: &[&str]) -> FanoutArgs {
        let words = words(Path::new("x.toml"), text).unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let cli = Cli::try_parse_from(
            ["tidegate-loadtest".to_owned()].into_iter().chain(words).chain(flags),
        );
        match cli.unwrap().scenario {
            Scenario::Fanout(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_flags_and_later_flags_win() {
        let text = "scenario = 'fanout'\nstreams = 5000\nrate = 20.5\nrequire-one-gap = true\n\
            fairness = false\nduration = '3s'\npublish-header = ['a: 1', 'b: 2']\n";
        let args = fanout(text, &[]);
        assert_eq!((args.common.streams, args.rate, args.in_flight), (5000, Some(20.5), None));
        assert!(args.require_one_gap && !args.fairness);
        assert_eq!(args.duration.as_secs(), 3);
        assert_eq!(args.publish.publish_header, ["a: 1", "b: 2"]);

        let args = fanout(text, &["--streams", "7", "--in-flight", "16", "--fairness"]);
        assert_eq!((args.common.streams, args.rate, args.in_flight), (7, None, Some(16)));
        assert!(args.fairness);
    }

    #[test]
    fn refusals_name_the_file_and_what_is_wrong() {
        for (text, wanted) in [
            ("streams = 1", "scenario ="),
            ("scenario = 'run'", "no scenario \"run\""),
            ("scenario = 'fanout'\nstreem = 1", "\"streem\""),
            ("scenario = 'idle'\nrate = 1", "idle has no flag --rate"),
            ("scenario = 'fanout'\nstreams = 'many'", "--streams"),
            ("scenario = 'fanout'\nrate = -1", "must be above 0"),
            ("scenario = 'fanout'\nrate = 2020-01-01", "rate must be a number"),
            ("scenario =", "TOML parse error"),
        ] {
            let said = words(Path::new("a/x.toml"), text).unwrap_err();
            assert!(said.starts_with("a/x.toml: ") && said.contains(wanted), "{text}: {said}");
        }
    }

    #[test]
    fn every_shipped_file_is_a_command_line_that_passes_its_checks() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("# "), "{}: no comment at its top", file.display());
            let args = RunArgs { file: file.clone(), flags: Vec::new() };
            let line = command_line("tidegate-loadtest".into(), &args).unwrap();
            let checked = match Cli::try_parse_from(line).unwrap().scenario {
                Scenario::Fanout(args) => args.check(),
                Scenario::Churn(args) => args.check(),
                Scenario::Storm(args) => args.check(),
                Scenario::Idle(args) => args.common.check(),
                other => panic!("{}: {other:?}", file.display()),
            };
            assert_eq!(checked, Ok(()), "{}", file.display());
            names.push(file.file_stem().unwrap().to_string_lossy().into_owned());
        }
        for name in ["fanout", "paced", "burst", "idle", "churn", "stuck", "publish", "overload"] {
            assert!(names.iter().any(|found| found == name), "{name} is missing of {names:?}");
        }
    }
}
