//! What a reload changes: which keys differ, when each of them takes effect, and the configuration that
//! is in effect then. The statement of each key stands below its section in `schema`. Called by the
//! gateway on SIGHUP and `POST /reload`.

use serde::Deserialize;
use toml::Table;

use super::effective::value_at;
use super::keys::{Keys, join};
use super::layer::put;
use super::schema::Config;

/// When a changed value of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// From the reload on, for everything that is there.
    AtOnce,
    /// For requests that come after it.
    Requests,
    /// For connections that are accepted after it.
    Connections,
    /// For streams that open after it; those that are open keep what they were opened with.
    Streams,
    /// When the gateway starts again. Until then, it runs with the old value.
    Restart,
}

impl Applies {
    /// The words of answers, logs and docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::Requests => "new requests",
            Self::Connections => "new connections",
            Self::Streams => "new streams",
            Self::Restart => "restart",
        }
    }
}

/// The statements of a section, by the names of its keys.
pub(super) type Statements = &'static [(&'static str, Applies)];

/// A key whose value differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key, dotted.
    pub key: String,
    /// When its new value counts.
    pub applies: Applies,
}

impl Config {
    /// When a change of this key (dotted) counts; `None` if there is no such key, or no statement.
    pub fn applies(key: &str) -> Option<Applies> {
        let of_section = |(section, keys): &(&str, Statements)| {
            let is_it = |(name, _): &&(&str, Applies)| join(section, name) == key;
            keys.iter().find(is_it).map(|(_, applies)| *applies)
        };
        Self::APPLIES.iter().find_map(of_section)
    }

    /// Every key, dotted, in the order of the schema.
    pub fn keys() -> Vec<String> {
        Keys::new().ordered().to_vec()
    }

    /// The keys whose values differ in `wanted`.
    pub fn changes(&self, wanted: &Self) -> Vec<Change> {
        let (running, wanted) = (table(self), table(wanted));
        let differs = |key: &String| value_at(&running, key) != value_at(&wanted, key);
        let change = |key: String| {
            // A test holds the statements to the schema.
            let applies = Self::applies(&key).unwrap_or(Applies::Restart);
            Change { key, applies }
        };
        Self::keys().into_iter().filter(differs).map(change).collect()
    }

    /// What runs after a reload of `wanted`: that, but for the keys that need a restart.
    #[must_use]
    pub fn reloaded(&self, wanted: &Self) -> Self {
        let (running, mut next) = (table(self), table(wanted));
        for change in self.changes(wanted) {
            if change.applies == Applies::Restart
                && let Some(value) = value_at(&running, &change.key)
            {
                put(&mut next, &change.key, value.clone());
            }
        }
        Self::deserialize(next).expect("each value is of a configuration that was read")
    }
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("a configuration that was read is representable in TOML")
}

#[cfg(test)]
mod tests {
    //! Every key has a statement; what needs a restart stays.

    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::config::units::Interval;

    #[test]
    fn every_key_has_one_statement_and_every_statement_a_key() {
        let keys: BTreeSet<String> = Config::keys().into_iter().collect();
        let mut stated = BTreeSet::new();
        for (section, statements) in Config::APPLIES {
            for (name, _) in statements {
                let key = join(section, name);
                assert!(keys.contains(&key), "there is no key {key}");
                assert!(stated.insert(key.clone()), "{key} is stated twice");
            }
        }
        let missing: Vec<_> = keys.difference(&stated).collect();
        assert!(missing.is_empty(), "say below the section when a change counts: {missing:?}");
    }

    #[test]
    fn what_needs_a_restart_stays_and_the_rest_changes() {
        let running = Config::default();
        let mut wanted = Config::default();
        assert_eq!(running.changes(&wanted), []);
        wanted.server.shards = 7;
        wanted.stream.heartbeat = Interval(Duration::from_secs(3));
        wanted.stream.control.end = "bye".into();
        let change = |key: &str, applies| Change { key: key.into(), applies };
        let expected = [
            change("server.shards", Applies::Restart),
            change("stream.heartbeat", Applies::Streams),
            change("stream.control.end", Applies::Streams),
        ];
        assert_eq!(running.changes(&wanted), expected);
        let next = running.reloaded(&wanted);
        assert_eq!(next.server, running.server);
        assert_eq!(next.stream, wanted.stream);
        assert_eq!(next.changes(&wanted), expected[..1]);
    }
}
