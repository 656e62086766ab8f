//! The configuration file. Owns reading it, the position of everything in it, and the refusal of
//! keys that do not exist; values are tried by `layer.rs`. Called by `load` in `mod.rs`.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::Value;
use toml::de::{DeString, DeTable, DeValue, ValueDeserializer};

use super::error::{Origin, Problem};
use super::keys::{Keys, Named, join};
use super::layer::{Assignment, quote};

/// Size of the largest file that is read, in bytes: far above any real one, far below harm.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file's text and its name as the operator gave it.
pub(super) struct Source {
    name: String,
    text: String,
}

impl Source {
    /// Reads the file at `path`, at most 1 MiB of UTF-8.
    ///
    /// # Errors
    /// One problem that names the file.
    pub(super) fn read(path: &Path) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let failed = |message: String| Problem { origin: None, message, excerpt: String::new() };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| failed(format!("{name}: cannot read the file: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(failed(format!("{name}: larger than 1MiB, the most a file may have")));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(Self { name, text }.problem(valid..valid, "the file is not UTF-8 from here on"))
            }
        }
    }

    /// Text that is already here, under a name for messages.
    pub(super) fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: text.to_owned() }
    }

    /// The values of all keys that exist; a problem for each key that does not; sorted by
    /// name, as the parser leaves them. A file that is not
    /// TOML gives only the reasons why.
    pub(super) fn assignments(&self, keys: &Keys) -> (Vec<Assignment>, Vec<Problem>) {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        if !errors.is_empty() {
            return (Vec::new(), self.syntax_problems(&errors));
        }
        let mut found = (Vec::new(), Vec::new());
        self.walk(keys, "", table.get_ref(), &mut found);
        found
    }

    /// Parsing goes on after an error, but the rest of a broken line only repeats it.
    fn syntax_problems(&self, errors: &[toml::de::Error]) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut lines = Vec::new();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let line = self.position(span.start).0;
            if !lines.contains(&line) {
                lines.push(line);
                let message = error.message().trim_end().replace('\n', ", ");
                problems.push(self.problem(span, message));
            }
        }
        problems
    }

    fn walk(
        &self,
        keys: &Keys,
        section: &str,
        table: &DeTable<'_>,
        found: &mut (Vec<Assignment>, Vec<Problem>),
    ) {
        for (key, value) in table {
            let path = join(section, key.get_ref());
            match (keys.find(&path), value.get_ref()) {
                // A quoted key with a dot in it must not pass for a path.
                _ if key.get_ref().contains('.') => {
                    found.1.push(self.unknown(keys, section, key, value));
                }
                (Named::Unknown, _) => found.1.push(self.unknown(keys, section, key, value)),
                (Named::Section(_), DeValue::Table(inner)) => self.walk(keys, &path, inner, found),
                (Named::Section(_), _) => {
                    let message = format!("`{path}` is a section of keys, not a key");
                    found.1.push(self.problem(key.span(), message));
                }
                (Named::Key(_), _) => match self.assignment(path, value) {
                    Ok(assignment) => found.0.push(assignment),
                    Err(problem) => found.1.push(problem),
                },
            }
        }
    }

    fn assignment(
        &self,
        key: String,
        spanned: &Spanned<DeValue<'_>>,
    ) -> Result<Assignment, Problem> {
        let span = spanned.span();
        match Value::deserialize(ValueDeserializer::from(spanned.clone())) {
            Ok(value) => Ok(Assignment {
                key,
                written: quote(&value),
                value,
                origin: self.origin(span.start),
                excerpt: self.excerpt(&span),
            }),
            // All that the parser leaves to this conversion is the size of a number.
            Err(_) => {
                let written = self.text.get(span.clone()).unwrap_or_default();
                let message = format!("`{key}` is {written}; expected a number of at most 64 bits");
                Err(self.problem(span, message))
            }
        }
    }

    fn unknown(
        &self,
        keys: &Keys,
        section: &str,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Problem {
        let name = key.get_ref();
        let place = match section {
            "" => "at the top level".to_owned(),
            section => format!("in [{section}]"),
        };
        let mut message = match value.get_ref() {
            DeValue::Table(_) => format!("unknown section [{}]", join(section, name)),
            _ => format!("unknown key `{name}` {place}"),
        };
        if let Some(suggestion) = keys.suggest(section, name) {
            message.push_str(&format!("; did you mean {suggestion}?"));
        }
        self.problem(key.span(), message.escape_debug().to_string())
    }

    fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        Problem {
            origin: Some(self.origin(span.start)),
            message: message.into(),
            excerpt: self.excerpt(&span),
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        let (line, column) = self.position(offset);
        Origin::File { name: self.name.clone(), line, column }
    }

    /// Line and column in characters, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        (line, before[line_start..].chars().count() + 1)
    }

    /// The line where `span` starts, with carets below the part of `span` that is on it.
    fn excerpt(&self, span: &Range<usize>) -> String {
        let (number, column) = self.position(span.start);
        let line = self.text.lines().nth(number - 1).unwrap_or_default();
        // Tabs stay, so that the caret lines up; other control characters could move the cursor.
        let visible = |c: char| {
            if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
        };
        let shown: String = line.chars().map(visible).collect();
        let indent: String =
            line.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let marked = self.text.get(span.clone()).unwrap_or_default();
        let room = line.chars().count().saturating_sub(column - 1);
        let carets = "^".repeat(marked.chars().count().min(room).max(1));
        let gutter = " ".repeat(number.to_string().len());
        format!("{gutter} |\n{number} | {shown}\n{gutter} | {indent}{carets}")
    }
}
