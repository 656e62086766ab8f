//! What can be wrong with a configuration, and how it is told to the operator. Owns the place of a
//! value (`file:line:column`, variable or flag) and the text of a problem; finds nothing itself.
//! Every other file of this folder reports through it.

use std::fmt::{self, Display, Formatter};

/// Where the value of a key came from, weakest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    #[default]
    Default,
    /// The configuration file.
    File {
        /// The file as the operator named it.
        name: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable, by its name.
    Env(String),
    /// A flag as it is typed: `--listen`, `--set stream.retry`.
    Flag(String),
}

impl Origin {
    /// Which source wins: a larger number beats a smaller one.
    pub(super) fn strength(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Env(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    /// Line and column, in a file.
    pub(super) fn position(&self) -> Option<(usize, usize)> {
        match self {
            Self::File { line, column, .. } => Some((*line, *column)),
            _ => None,
        }
    }
}

/// As it stands before a problem: `tidegate.toml:3:1`, a variable's name, a flag.
impl Display for Origin {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Env(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong. Always the operator's to fix; trying again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The source at fault; `None` for a file that cannot be read, whose name is in the message.
    pub origin: Option<Origin>,
    /// What is wrong and what is expected, in one line.
    pub message: String,
    /// The offending line with a caret below it; empty when there is no file.
    pub excerpt: String,
}

impl Problem {
    /// A problem with no line to show.
    pub(super) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin: Some(origin), message: message.into(), excerpt: String::new() }
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)?;
        if !self.excerpt.is_empty() {
            write!(f, "\n{}", self.excerpt)?;
        }
        Ok(())
    }
}

/// Everything found wrong in one go, in the order file, environment, flags, rules between keys.
/// Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// Whether the command line is (partly) to blame, which is a usage error and not a failure.
    pub fn is_usage(&self) -> bool {
        self.problems.iter().any(|problem| matches!(problem.origin, Some(Origin::Flag(_))))
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
