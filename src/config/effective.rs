//! The effective configuration as TOML, each key with the source of its value. Owns that text
//! format; called by `tidegate config --effective`. Shows no secret.

use std::fmt::{Display, Formatter};

use toml::{Table, Value};

use super::error::Origin;
use super::schema::Source;
use super::{Config, Loaded};

/// A loaded configuration, printed: valid TOML that gives the same configuration again, but for secrets.
impl Display for Loaded {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        // `toml` refuses only numbers beyond its 64 bits, which no parsed value holds.
        let table = Table::try_from(self.config.redacted()).map_err(|_| std::fmt::Error)?;
        let mut current = "";
        for (key, origin) in &self.origins {
            let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
            let Some(value) = value_at(&table, key) else {
                continue;
            };
            if section != current {
                let gap = if current.is_empty() { "" } else { "\n" };
                writeln!(f, "{gap}[{section}]")?;
                current = section;
            }
            writeln!(f, "{name} = {value}  # {}", source(origin))?;
        }
        Ok(())
    }
}

/// The value of a key, dotted.
pub(super) fn value_at<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        None => table.get(key),
        Some((section, rest)) => value_at(table.get(section)?.as_table()?, rest),
    }
}

fn source(origin: &Origin) -> String {
    let kind = match origin {
        Origin::Default => return "default".into(),
        Origin::File { name, line, .. } => {
            // A file's name may hold a line break, which would end the comment.
            return format!("file {}:{line}", name.escape_debug());
        }
        Origin::Env(_) => "env",
        Origin::Flag(_) => "flag",
    };
    format!("{kind} {origin}")
}

impl Config {
    /// The same with [`REDACTED`](super::schema::REDACTED) in place of each secret.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let source = self.source.iter().map(Source::redacted).collect();
        Self { source, ..self.clone() }
    }

    /// The configuration as a TOML document, without sources.
    ///
    /// # Errors
    /// A number is beyond TOML's signed 64 bits.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}
