//! The configuration from outside: sources and who wins, the exact words of refusals, the example
//! file against the code, and the commands `check` and `config` as processes. Rules between keys are
//! tested beside them, in `src/config/validate/tests.rs`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "config/commands.rs"]
mod commands;
#[path = "config/example.rs"]
mod example;
#[path = "config/hook_keys.rs"]
mod hook_keys;
#[path = "config/page.rs"]
mod page;
#[path = "config/precedence.rs"]
mod precedence;
#[path = "config/refusals.rs"]
mod refusals;
#[path = "config/round_trip.rs"]
mod round_trip;
#[path = "config/server_keys.rs"]
mod server_keys;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tidegate::config::units::Interval;
use tidegate::config::{Flag, Overrides};

/// The file that operators copy.
const EXAMPLE: &str = include_str!("../config/tidegate.toml");

/// A file that is removed when the test ends.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("tidegate-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn with_environment(variables: &[(&str, &str)]) -> Overrides {
    Overrides { environment: environment(variables), ..Overrides::default() }
}

fn set(key: &str, value: &str) -> Flag {
    Flag { name: format!("--set {key}"), key: key.into(), value: value.into() }
}

fn seconds(n: u64) -> Interval {
    Interval(Duration::from_secs(n))
}
