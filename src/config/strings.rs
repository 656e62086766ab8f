//! Values that arrive as strings: environment variables and flags. Owns their names and the alias
//! `STREAM_MAX_SECONDS`; reads neither the environment nor the command line itself, both are handed
//! in. Called by `load` in `mod.rs`.

use std::ffi::OsString;

use toml::Value;

use super::Flag;
use super::error::{Origin, Problem};
use super::keys::{ENV_PREFIX, Keys, Named, variable_of};
use super::layer::{Assignment, from_text, quote};
use super::units::Interval;

/// Older name of the lifetime cap, in seconds without a unit. The variable of the key itself wins.
const LIFETIME_ALIAS: &str = "STREAM_MAX_SECONDS";
const LIFETIME_KEY: &str = "stream.max_lifetime";

/// The variables that are ours, weakest first; a problem for each that names no key.
pub(super) fn from_environment(
    keys: &Keys,
    environment: &[(OsString, OsString)],
) -> (Vec<Assignment>, Vec<Problem>) {
    let (mut assignments, mut problems) = (Vec::new(), Vec::new());
    let is_alias = |name: &OsString| name.as_os_str() == LIFETIME_ALIAS;
    let ours = |name: &OsString| name.as_encoded_bytes().starts_with(ENV_PREFIX.as_bytes());
    let mut variables: Vec<_> =
        environment.iter().filter(|(name, _)| is_alias(name) || ours(name)).collect();
    // The environment has no order of its own; messages should not change from run to run.
    variables.sort_by_key(|(name, _)| (!is_alias(name), name));
    for (name, value) in variables {
        let assignment = match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) if name == LIFETIME_ALIAS => lifetime(value),
            (Some(name), Some(value)) => variable(keys, name, value),
            _ => {
                let name = name.to_string_lossy().escape_debug().to_string();
                Err(Problem::new(Origin::Env(name), "name and value must be UTF-8"))
            }
        };
        match assignment {
            Ok(assignment) => assignments.push(assignment),
            Err(problem) => problems.push(problem),
        }
    }
    (assignments, problems)
}

/// The flags in the order they were typed, so that the last one wins.
pub(super) fn from_flags(keys: &Keys, flags: &[Flag]) -> (Vec<Assignment>, Vec<Problem>) {
    let (mut assignments, mut problems) = (Vec::new(), Vec::new());
    for flag in flags {
        let origin = Origin::Flag(flag.name.escape_debug().to_string());
        match keys.find(&flag.key) {
            Named::Key(_) => assignments.push(assignment(keys, &flag.key, &flag.value, origin)),
            Named::Section(_) => {
                let message = format!("`{}` is a section of keys, not a key", flag.key);
                problems.push(Problem::new(origin, message));
            }
            Named::Unknown => {
                let mut message = format!("unknown key `{}`", flag.key.escape_debug());
                if let Some(meant) = keys.suggest_key(&flag.key) {
                    message.push_str(&format!("; did you mean `{meant}`?"));
                }
                problems.push(Problem::new(origin, message));
            }
        }
    }
    (assignments, problems)
}

fn assignment(keys: &Keys, key: &str, text: &str, origin: Origin) -> Assignment {
    Assignment {
        key: key.to_owned(),
        value: from_text(keys, key, text),
        written: quote(&Value::String(text.to_owned())),
        origin,
        excerpt: String::new(),
    }
}

fn variable(keys: &Keys, name: &str, value: &str) -> Result<Assignment, Problem> {
    let origin = Origin::Env(name.escape_debug().to_string());
    if let Some(key) = keys.of_variable(name) {
        return Ok(assignment(keys, key, value, origin));
    }
    let path = name[ENV_PREFIX.len()..].replace("__", ".").to_lowercase();
    if let Named::Section(_) = keys.find(&path)
        && !path.is_empty()
    {
        let message = format!("`{path}` is a section of keys, not a key");
        return Err(Problem::new(origin, message));
    }
    let mut message = "unknown variable".to_owned();
    if let Some(meant) = keys.suggest_key(&path) {
        message.push_str(&format!("; did you mean `{}`?", variable_of(&meant)));
    }
    Err(Problem::new(origin, message))
}

fn lifetime(seconds: &str) -> Result<Assignment, Problem> {
    let origin = Origin::Env(LIFETIME_ALIAS.to_owned());
    let written = quote(&Value::String(seconds.to_owned()));
    match Interval::from_seconds(seconds) {
        Ok(interval) => Ok(Assignment {
            key: LIFETIME_KEY.to_owned(),
            value: Value::String(interval.to_string()),
            written,
            origin,
            excerpt: String::new(),
        }),
        Err(expected) => {
            let message = format!("`{LIFETIME_KEY}` is {written}; {expected}");
            Err(Problem::new(origin, message))
        }
    }
}
