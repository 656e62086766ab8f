//! One source's values laid over another's. Owns the order of strength (defaults, file, environment,
//! flags), which source each key's value came from, and the words for a value of the wrong type.
//! Each value is tried alone, so one bad value hides no other. Called by `load` in `mod.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Table, Value};

use super::error::{Origin, Problem};
use super::keys::{Keys, Named};
use super::schema::Config;

/// Longest value repeated in a message, in characters.
const QUOTE_CHARS_MAX: usize = 60;

/// A value that a source gives to a key that exists.
pub(super) struct Assignment {
    /// The key, dotted.
    pub key: String,
    /// The value, already of the key's TOML type if it could be made so.
    pub value: Value,
    /// The value as the operator wrote it, for messages.
    pub written: String,
    /// Who says so.
    pub origin: Origin,
    /// The line it stands on, for messages; empty outside files.
    pub excerpt: String,
}

/// The defaults with every source so far laid over them.
pub(super) struct Layers<'a> {
    keys: &'a Keys,
    table: Table,
    /// Key to source, for keys that are not at their default.
    pub origins: BTreeMap<String, Origin>,
}

impl<'a> Layers<'a> {
    /// The defaults alone.
    pub(super) fn new(keys: &'a Keys) -> Self {
        Self { keys, table: keys.defaults().clone(), origins: BTreeMap::new() }
    }

    /// Lays `assignment` on top.
    ///
    /// # Errors
    /// The value is not one the key can hold; nothing is changed then.
    pub(super) fn lay(&mut self, assignment: Assignment) -> Result<(), Problem> {
        let Assignment { key, value, written, origin, excerpt } = assignment;
        let candidate = match self.with(&key, value.clone()) {
            Ok(candidate) => candidate,
            Err(expected) => {
                // A key that takes one of a few names does not list them for a number: ask again
                // with text for better words.
                let is_single = !value.is_str() && !value.is_array();
                let again = is_single.then(|| Value::String(written.clone()));
                let as_text = again.and_then(|text| self.with(&key, text).err());
                let expected = as_text.unwrap_or(expected);
                let message = format!("`{key}` is {written}; {expected}");
                return Err(Problem { origin: Some(origin), message, excerpt });
            }
        };
        self.table = candidate;
        self.origins.insert(key, origin);
        Ok(())
    }

    /// The table with one value changed, or what the key expects instead.
    fn with(&self, key: &str, value: Value) -> Result<Table, String> {
        let mut candidate = self.table.clone();
        put(&mut candidate, key, value);
        match Config::deserialize(candidate.clone()) {
            Ok(_) => Ok(candidate),
            Err(error) => Err(wanted(error.message())),
        }
    }

    /// The configuration as it stands, and where each value came from in the order of `schema.rs`.
    pub(super) fn finish(self) -> (Config, Vec<(String, Origin)>) {
        let Self { keys, table, mut origins } = self;
        let config = Config::deserialize(table).expect("each value was tried as it was laid");
        let origin = |key: &String| (key.clone(), origins.remove(key).unwrap_or_default());
        (config, keys.ordered().iter().map(origin).collect())
    }
}

/// The value of text from a variable or a flag, for a key that exists. Text that does not convert
/// stays text, which the key then refuses in its own words.
pub(super) fn from_text(keys: &Keys, key: &str, text: &str) -> Value {
    let converted = match keys.find(key) {
        Named::Key(Value::Integer(_)) => text.parse().ok().map(Value::Integer),
        Named::Key(Value::Float(_)) => text.parse().ok().map(Value::Float),
        Named::Key(Value::Boolean(_)) => text.parse().ok().map(Value::Boolean),
        Named::Key(Value::Array(_)) => text.parse().ok(),
        _ => None,
    };
    converted.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A value as it is repeated in a message: on one line, without control characters, not too long.
pub(super) fn quote(value: &Value) -> String {
    let written = match value {
        Value::Table(_) => return "a table".into(),
        // They are long, and may hold secrets; what is wrong with one says which.
        Value::Array(items) if items.iter().any(Value::is_table) => {
            return "a list of tables".into();
        }
        Value::String(text) => format!("{text:?}"),
        other => other.to_string().chars().map(visible).collect(),
    };
    match written.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &written[..end]),
        None => written,
    }
}

/// A character of TOML's own text, which has its quotes and escapes already.
fn visible(character: char) -> String {
    match character {
        '"' | '\'' | '\\' => character.into(),
        other => other.escape_debug().to_string(),
    }
}

/// Sets the value of a key, dotted, that is there.
pub(super) fn put(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            if let Some(Value::Table(inner)) = table.get_mut(section) {
                put(inner, rest, value);
            }
        }
    }
}

/// What was expected, in an operator's words. serde says "invalid type: string "x", expected u32";
/// its first half repeats the value and its second may be a Rust type.
fn wanted(message: &str) -> String {
    let expected = match message.rfind(", expected ") {
        Some(comma) => &message[comma + ", ".len()..],
        None => message,
    };
    match expected {
        "expected usize" | "expected u64" => "expected a whole number, 0 or more".into(),
        "expected u32" => format!("expected a whole number from 0 to {}", u32::MAX),
        "expected u16" => format!("expected a whole number from 0 to {}", u16::MAX),
        other => other.trim_end().to_owned(),
    }
}
