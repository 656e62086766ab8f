//! Configuration, from its sources to one checked [`Config`]: defaults, then the file, then the
//! environment, then flags, each over the one before. Owns the order; reads no global state, so a
//! reload is the same call again. Called by `cli` at start and by the gateway at a reload.
//!
//! `schema` (every key) ← `keys` (which exist) ← `file`, `strings` (values with their place)
//! ← `layer` (who wins) ← `validate` (rules between keys) ← `effective` (printed back);
//! `reload` (what a new one changes), `host` (what is left to the machine).

mod effective;
mod error;
mod file;
pub mod host;
mod keys;
mod layer;
mod reload;
pub mod schema;
mod strings;
pub mod template;
pub mod units;
mod validate;
pub mod web;

use std::ffi::OsString;
use std::path::PathBuf;

use self::file::Source;
use self::keys::Keys;
use self::layer::{Assignment, Layers};

pub use self::error::{ConfigError, Origin, Problem};
pub use self::reload::{Applies, Change};
pub use self::schema::Config;
pub use self::validate::{Violation, is_log_filter};

/// Everything an operator says about the configuration besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read, if any.
    pub file: Option<PathBuf>,
    /// The environment, all of it; variables that are not Tidegate's are left alone.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags in the order they were typed.
    pub flags: Vec<Flag>,
}

/// A key set on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// How it was typed, for messages: `--listen`, `--set stream.retry`.
    pub name: String,
    /// The key it sets, dotted; need not exist.
    pub key: String,
    /// The value, as text.
    pub value: String,
}

/// A configuration and where each value came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Each key, dotted, with its source, in the order of [`schema`].
    pub origins: Vec<(String, Origin)>,
}

impl Loaded {
    /// Checks the rules between keys; each problem stands at the strongest source involved.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Err(violations) = self.config.validate() else {
            return Ok(());
        };
        let problem = |violation: &Violation| {
            let involved = self.origins.iter().filter(|(key, _)| violation.keys.contains(&&**key));
            let origin = involved.map(|(_, origin)| origin).max_by_key(|origin| origin.strength());
            let origin = origin.cloned().unwrap_or_default();
            Problem::new(origin, violation.message.clone())
        };
        Err(ConfigError { problems: violations.iter().map(problem).collect() })
    }
}

/// The configuration that `overrides` give, checked.
///
/// # Errors
/// Everything wrong with any source; if nothing is, every broken rule between keys.
pub fn load(overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let loaded = resolve(overrides)?;
    loaded.validate()?;
    Ok(loaded)
}

/// Like [`load`], without the rules between keys: to show a configuration that breaks them.
///
/// # Errors
/// Everything wrong with any source.
pub fn resolve(overrides: &Overrides) -> Result<Loaded, ConfigError> {
    match overrides.file.as_deref().map(Source::read).transpose() {
        Ok(source) => merge(source.as_ref(), overrides, Vec::new()),
        // The other sources are still looked at: one round of corrections is better than two.
        Err(problem) => merge(None, overrides, vec![problem]),
    }
}

/// The configuration of a file's `text` alone, checked; `name` stands in messages.
///
/// # Errors
/// Everything wrong with the text; if nothing is, every broken rule between keys.
pub fn from_text(name: &str, text: &str) -> Result<Loaded, ConfigError> {
    let source = Source::new(name, text);
    let loaded = merge(Some(&source), &Overrides::default(), Vec::new())?;
    loaded.validate()?;
    Ok(loaded)
}

fn merge(
    source: Option<&Source>,
    overrides: &Overrides,
    mut problems: Vec<Problem>,
) -> Result<Loaded, ConfigError> {
    let keys = Keys::new();
    let mut layers = Layers::new(&keys);
    let mut lay = |(assignments, unknown): (Vec<Assignment>, Vec<Problem>)| {
        let refused = assignments.into_iter().filter_map(|one| layers.lay(one).err());
        let mut found: Vec<Problem> = unknown.into_iter().chain(refused).collect();
        found.sort_by_key(|problem| problem.origin.as_ref().and_then(Origin::position));
        problems.append(&mut found);
    };
    if let Some(source) = source {
        lay(source.assignments(&keys));
    }
    lay(strings::from_environment(&keys, &overrides.environment));
    lay(strings::from_flags(&keys, &overrides.flags));
    if !problems.is_empty() {
        return Err(ConfigError { problems });
    }
    let (config, origins) = layers.finish();
    Ok(Loaded { config, origins })
}
