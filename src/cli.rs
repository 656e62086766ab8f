//! The command line. Owns the commands, the flags, their `--help`, the exit codes (0 done, 1 failed,
//! 2 wrong usage; `log` has its own) and the wording `tidegate: error: …`. Carries out what needs only
//! a configuration (`check`, `config`, `size`) or a log's folder (`log`); hands the rest to `main` as a
//! [`Command`]. The one place that reads the process's arguments and environment.

mod pages;
mod probe;
mod size;

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::probe::Probe;
use self::size::Size;
use crate::canary::Canary;
use crate::config::{self, Config, ConfigError, Flag, Overrides};
use crate::journal::{self, BootId, Folder, Inspection};
use crate::sizing;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
/// A log that could not be read; one that was read and has faults is [`FAILED`].
const UNREADABLE: u8 = 2;

/// A command for the gateway itself.
#[derive(Debug)]
pub enum Command {
    /// Serve until told to stop.
    Run(Box<Launch>),
    /// List every metric.
    Metrics,
    /// Publish an event and see it come.
    Canary(Box<Canary>),
}

/// What `run` starts with.
#[derive(Debug)]
pub struct Launch {
    /// The configuration, checked.
    pub config: Config,
    /// Where it came from: a reload gives this to [`config::load`] again.
    pub overrides: Overrides,
}

const EXAMPLES: &str = "\
Examples:
  tidegate                                          start with the defaults
  curl -N 'localhost:8080/events?topic=t'           subscribe to the topic t
  curl -d hi localhost:8081/topics/t                publish \"hi\" to it
  tidegate check tidegate.toml                      check a file before it goes live

Every key can be set in the file, as TIDEGATE__SECTION__KEY in the environment, or with --set;
flags beat the environment, the environment beats the file.";

// `about` is the description in Cargo.toml.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, about, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the gateway; what tidegate does without a command
    Run {
        #[command(flatten)]
        settings: Settings,
    },
    /// Check a configuration file alone: neither flags nor the environment count
    Check {
        /// The file to check
        file: PathBuf,
    },
    /// Show the configuration
    Config {
        /// As it would run, each value with its source: default, file, environment or flag
        #[arg(long, required = true)]
        effective: bool,
        #[command(flatten)]
        settings: Settings,
    },
    /// Calculate what a load takes: memory, descriptors, bandwidth, cores, a storm of reconnects
    Size(Box<Size>),
    /// List every metric with its type, labels and meaning
    Metrics,
    /// Open a stream, publish an event, and see it come: exit code 1 if it does not
    Canary(Probe),
    /// Print a shell's completions of this command line
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, tidegate(1)
    Man {
        /// Write it into this folder instead, and a page for every command
        #[arg(long, value_name = "FOLDER")]
        to: Option<PathBuf>,
    },
    /// Look at a log of events on disk, also while a gateway writes to it
    Log {
        #[command(subcommand)]
        verb: LogVerb,
    },
}

#[derive(Debug, Subcommand)]
enum LogVerb {
    /// Show the log's segments, holes and quarantined files
    Inspect(LogFolder),
    /// Read everything and list what is damaged; exit code 1 if anything is, 2 if it cannot be read
    Verify(LogFolder),
}

#[derive(Debug, Args)]
struct LogFolder {
    /// The log's folder
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Settings {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the public listener: streams [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of the internal listener: publish, health, metrics [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    internal: Option<String>,
    /// URL of the app server that gets everything else, like "http://127.0.0.1:3000"
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Shard threads; 0 means one per core [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    shards: Option<String>,
    /// Level or filter of the log, like "info,tidegate=debug" [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log lines for people or for machines [default: text]
    #[arg(long, value_name = "FORMAT", value_parser = ["text", "json"])]
    log_format: Option<String>,
    /// Set any key, like --set stream.heartbeat=5s; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = split_assignment)]
    set: Vec<(String, String)>,
}

fn split_assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected section.key=value")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

impl Settings {
    fn into_overrides(self) -> Overrides {
        let assigned = self.set.into_iter().map(|(key, value)| {
            let name = format!("--set {key}");
            Flag { name, key, value }
        });
        let named = [
            ("--listen", "server.listen", self.listen),
            ("--internal", "server.internal", self.internal),
            ("--upstream", "proxy.upstream", self.upstream),
            ("--shards", "server.shards", self.shards),
            ("--log-level", "log.level", self.log_level),
            ("--log-format", "log.format", self.log_format),
        ]
        .into_iter()
        .filter_map(|(name, key, value)| {
            value.map(|value| Flag { name: name.to_owned(), key: key.to_owned(), value })
        });
        // A flag of its own is the more deliberate one: it beats --set.
        let flags = assigned.chain(named).collect();
        Overrides { file: self.config, environment: std::env::vars_os().collect(), flags }
    }
}

/// The whole program: parses the command line, does what needs no gateway and leaves the rest to
/// `act`. An error of `act` is printed and ends in exit code 1.
pub fn main<E: Display>(act: impl FnOnce(Command) -> Result<(), E>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => return clap_message(&message),
    };
    let command = match cli.verb {
        None => launch(cli.settings),
        Some(Verb::Run { settings }) => launch(settings),
        Some(Verb::Check { file }) => return check(&file),
        Some(Verb::Config { settings, effective: _ }) => return effective(settings),
        Some(Verb::Size(asked)) => return size(*asked),
        Some(Verb::Metrics) => Ok(Command::Metrics),
        Some(Verb::Canary(probe)) => match probe.into_canary() {
            Ok(canary) => Ok(Command::Canary(Box::new(canary))),
            Err(message) => return clap_message(&message),
        },
        Some(Verb::Completions { shell }) => {
            return print(&pages::completions(shell, Cli::command()));
        }
        Some(Verb::Man { to }) => return manual(to.as_deref()),
        Some(Verb::Log { verb }) => return log(&verb),
    };
    match command.map(act) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&error);
            FAILED.into()
        }
        Err(error) => refuse(&error),
    }
}

fn launch(settings: Settings) -> Result<Command, ConfigError> {
    let overrides = settings.into_overrides();
    let config = config::load(&overrides)?.config;
    Ok(Command::Run(Box::new(Launch { config, overrides })))
}

fn check(file: &Path) -> ExitCode {
    let overrides = Overrides { file: Some(file.to_owned()), ..Overrides::default() };
    match config::load(&overrides) {
        Ok(_) => print(&format!("{}: ok\n", file.display())),
        Err(error) => refuse(&error),
    }
}

/// Shows a configuration even when rules between keys are broken: it is how to find out why.
fn effective(settings: Settings) -> ExitCode {
    let loaded = match config::resolve(&settings.into_overrides()) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error),
    };
    let printed = print(&loaded.to_string());
    match loaded.validate() {
        Ok(()) => printed,
        Err(error) => refuse(&error),
    }
}

fn size(asked: Size) -> ExitCode {
    let (load, host, settings, as_json) = asked.into_parts();
    let config = match config::load(&settings.into_overrides()) {
        Ok(loaded) => loaded.config,
        Err(error) => return refuse(&error),
    };
    match sizing::size(&config, load, host) {
        Ok(sizing) if as_json => {
            print(&(serde_json::to_string_pretty(&sizing).expect("all keys are text") + "\n"))
        }
        Ok(sizing) => print(&sizing.to_string()),
        Err(error) => {
            complain(&error);
            USAGE.into()
        }
    }
}

fn log(verb: &LogVerb) -> ExitCode {
    let (LogVerb::Inspect(folder) | LogVerb::Verify(folder)) = verb;
    let inspection = match look_at(&folder.path) {
        Ok(inspection) => inspection,
        Err(error) => {
            complain(&error);
            return UNREADABLE.into();
        }
    };
    let printed = print(&match verb {
        _ if folder.json => inspection.to_json() + "\n",
        LogVerb::Inspect(_) => inspection.to_string(),
        LogVerb::Verify(_) => inspection.verdict(),
    });
    let failed = matches!(verb, LogVerb::Verify(_)) && inspection.has_faults();
    if failed { FAILED.into() } else { printed }
}

fn manual(folder: Option<&Path>) -> ExitCode {
    let Some(folder) = folder else {
        return print(&pages::manual(Cli::command()));
    };
    match pages::write_manuals(Cli::command(), folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{}: {error}", folder.display()));
            FAILED.into()
        }
    }
}

fn look_at(path: &Path) -> Result<Inspection, String> {
    let folder = Folder::read_only(path).map_err(|error| format!("{}: {error}", path.display()))?;
    journal::inspect(&folder, BootId::current()).map_err(|error| error.to_string())
}

/// `--help` and `--version` go to standard output and are no error; the rest is wrong usage.
fn clap_message(message: &clap::Error) -> ExitCode {
    if !message.use_stderr() {
        // clap colours what it prints itself.
        return match message.print() {
            Err(error) => output_failed(&error),
            Ok(()) => ExitCode::SUCCESS,
        };
    }
    let _ = write!(io::stderr(), "tidegate: {}", message.render());
    USAGE.into()
}

fn refuse(error: &ConfigError) -> ExitCode {
    for problem in &error.problems {
        complain(problem);
    }
    if error.is_usage() { USAGE.into() } else { FAILED.into() }
}

fn complain(error: &impl Display) {
    // Where even standard error is closed there is no one left to tell.
    let _ = writeln!(io::stderr(), "tidegate: error: {error}");
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output_failed(&error),
    }
}

fn output_failed(error: &io::Error) -> ExitCode {
    // `tidegate config --effective | head` has got what it wanted.
    if error.kind() == ErrorKind::BrokenPipe {
        return ExitCode::SUCCESS;
    }
    complain(&format!("cannot write to standard output: {error}"));
    FAILED.into()
}

/// The grammar of the command line; what the commands do is in `tests/config.rs`.
#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_states_the_defaults() {
        let help = Cli::command().term_width(0).render_help().to_string();
        let Config { server, log, .. } = Config::default();
        for default in [
            server.listen.to_string(),
            server.internal.to_string(),
            server.shards.to_string(),
            log.level,
            "text".into(),
        ] {
            assert!(help.contains(&format!("[default: {default}]")), "{default}");
        }
    }

    #[test]
    fn flags_of_run_work_without_the_word() {
        let bare = parse("tidegate --listen 127.0.0.1:0").unwrap();
        assert!(bare.verb.is_none());
        assert_eq!(bare.settings.listen.as_deref(), Some("127.0.0.1:0"));
        let run = parse("tidegate run --listen 127.0.0.1:0").unwrap();
        assert!(matches!(run.verb, Some(Verb::Run { settings }) if settings.listen.is_some()));
        assert!(parse("tidegate --listen 127.0.0.1:0 run").is_err());
    }

    #[test]
    fn set_splits_at_the_first_equals_sign() {
        let cli = parse("tidegate --set log.level=a=debug --set stream.control.end=").unwrap();
        let expected = [("log.level", "a=debug"), ("stream.control.end", "")];
        assert_eq!(cli.settings.set, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert!(parse("tidegate --set stream.retry").is_err());
    }

    #[test]
    fn a_flag_of_its_own_beats_set() {
        let cli = parse("tidegate --shards 2 --set server.shards=3").unwrap();
        let flags = cli.settings.into_overrides().flags;
        assert_eq!(flags.last().map(|flag| &*flag.name), Some("--shards"));
    }
}
