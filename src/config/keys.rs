//! The keys that exist. Owns the question "is there such a key, and if not, which one was meant?".
//! Knows the keys from the default configuration, so `schema.rs` stays the only list; that is why
//! every key needs a default (an optional one is an empty string or 0, never an absent `Option`).

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::schema::Config;

/// Similarity (Jaro-Winkler, 0 to 1) from which a suggestion helps more than it confuses.
const SIMILAR: f64 = 0.85;

/// Every environment variable of ours starts with this. One underscore would not do: Kubernetes
/// sets `TIDEGATE_SERVICE_HOST` and the like for a service of that name.
pub(super) const ENV_PREFIX: &str = "TIDEGATE__";

/// The tree of keys, with the defaults as leaves.
pub(super) struct Keys {
    defaults: Table,
    /// Dotted leaves as `schema.rs` orders them.
    ordered: Vec<String>,
}

/// What a dotted path names.
pub(super) enum Named<'a> {
    /// A key, with its default.
    Key(&'a Value),
    /// A section: a table of keys.
    Section(&'a Table),
    /// Nothing.
    Unknown,
}

impl Keys {
    /// Reads the keys off the default configuration.
    pub(super) fn new() -> Self {
        let default = Config::default();
        let defaults = Table::try_from(&default).expect("the defaults are representable in TOML");
        let text = toml::to_string(&default).expect("the defaults are representable in TOML");
        let parsed = DeTable::parse(&text).expect("what was just written is TOML");
        let mut leaves = Vec::new();
        collect_leaves("", parsed.get_ref(), &mut leaves);
        leaves.sort_unstable();
        Self { defaults, ordered: leaves.into_iter().map(|(_, key)| key).collect() }
    }

    /// The defaults as a table, to lay other sources over.
    pub(super) fn defaults(&self) -> &Table {
        &self.defaults
    }

    /// Every key, dotted, in the order of `schema.rs`.
    pub(super) fn ordered(&self) -> &[String] {
        &self.ordered
    }

    /// What `path` (dotted; empty for the top level) names.
    pub(super) fn find(&self, path: &str) -> Named<'_> {
        let mut table = &self.defaults;
        let mut parts = path.split('.').filter(|_| !path.is_empty()).peekable();
        while let Some(part) = parts.next() {
            match table.get(part) {
                Some(Value::Table(inner)) => table = inner,
                Some(value) if parts.peek().is_none() => return Named::Key(value),
                _ => return Named::Unknown,
            }
        }
        Named::Section(table)
    }

    /// What the unknown `name` in `section` was probably meant to be, ready to print: a bare `key`
    /// of that section, a `dotted.key` of another, or a `[section]`.
    pub(super) fn suggest(&self, section: &str, name: &str) -> Option<String> {
        if let Named::Section(table) = self.find(section) {
            let sections = table.iter().filter(|(_, value)| value.is_table());
            let names = sections.map(|(name, _)| (name.as_str(), name.as_str()));
            if let Some(sibling) = closest(name, names) {
                return Some(format!("[{}]", join(section, sibling)));
            }
        }
        let key = self.suggest_key(&join(section, name))?;
        let (parent, bare) = split(&key);
        Some(format!("`{}`", if parent == section { bare } else { &key }))
    }

    /// The full key that a full but unknown `path` was probably meant to be: one of the same
    /// section, else one of the same name, else one that reads alike as a whole or in its name.
    pub(super) fn suggest_key(&self, path: &str) -> Option<String> {
        let (section, name) = split(path);
        let keys = || self.ordered.iter().map(String::as_str);
        let siblings = keys().filter(|key| split(key).0 == section).map(|key| (split(key).1, key));
        closest(name, siblings)
            .or_else(|| keys().find(|key| split(key).1 == name))
            .or_else(|| closest(path, keys().map(|key| (key, key))))
            .or_else(|| closest(name, keys().map(|key| (split(key).1, key))))
            .map(str::to_owned)
    }

    /// The key that an environment variable sets.
    pub(super) fn of_variable(&self, variable: &str) -> Option<&str> {
        let found = self.ordered.iter().find(|key| variable_of(key) == variable);
        found.map(String::as_str)
    }
}

/// The environment variable that sets `key`.
pub(super) fn variable_of(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// `section.name`, or `name` at the top level.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// The answer whose text is most like `name`, if any is like it at all.
fn closest<'a>(
    name: &str,
    candidates: impl Iterator<Item = (&'a str, &'a str)>,
) -> Option<&'a str> {
    candidates
        .map(|(text, answer)| (strsim::jaro_winkler(name, text), answer))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        // The first of those that are as similar.
        .min_by(|a, b| b.0.total_cmp(&a.0))
        .map(|(_, answer)| answer)
}

fn collect_leaves(section: &str, table: &DeTable<'_>, leaves: &mut Vec<(usize, String)>) {
    for (key, value) in table {
        let path = join(section, key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => collect_leaves(&path, inner, leaves),
            _ => leaves.push((key.span().start, path)),
        }
    }
}
