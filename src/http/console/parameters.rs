//! The query parameters of a view: each is known, there at most once, and text.

use std::borrow::Cow;
use std::str::FromStr;

use http::request::Parts;

use crate::error::Problem;
use crate::query;

/// Entries of a page where a request does not say.
const PAGE_DEFAULT: usize = 100;

/// Entries of a page at most.
const PAGE_MAX: usize = 500;

/// What a request's query says.
pub(super) struct Parameters<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// A name is not one of `known`, or is there twice, or a value is not UTF-8.
    pub(super) fn read(head: &'a Parts, known: &[&'static str]) -> Result<Self, Problem> {
        let mut read = Vec::<(&'static str, Cow<'a, str>)>::new();
        for (name, value) in query::pairs(head.uri.query().unwrap_or_default()) {
            let name = String::from_utf8_lossy(&name).into_owned();
            let Some(&known) = known.iter().find(|known| **known == name) else {
                let detail = format!("this path takes the parameters {}", known.join(", "));
                return Err(bad(&name, detail));
            };
            if read.iter().any(|(there, _)| *there == known) {
                return Err(bad(known, "the parameter is there more than once"));
            }
            let value = match value {
                Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
                Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
            };
            read.push((known, value.ok_or_else(|| bad(known, "the value is not UTF-8"))?));
        }
        Ok(Self(read))
    }

    /// A value; `None` where it is empty too, as an empty field of a form is.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(there, _)| *there == name)?;
        Some(&**value).filter(|value| !value.is_empty())
    }

    /// A value that is read as something.
    ///
    /// # Errors
    /// It is not what it has to be.
    pub(super) fn parsed<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        let parse = |value: &str| value.parse().map_err(|_| bad(name, format!("it is {what}")));
        self.get(name).map(parse).transpose()
    }

    /// How many entries are wanted.
    ///
    /// # Errors
    /// More than a page has, or none.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let what = format!("a number from 1 to {PAGE_MAX}");
        match self.parsed("limit", &what)? {
            None => Ok(PAGE_DEFAULT),
            Some(limit @ 1..=PAGE_MAX) => Ok(limit),
            Some(_) => Err(bad("limit", format!("it is {what}"))),
        }
    }
}

/// A parameter that is not what it has to be.
pub(super) fn bad(name: &str, detail: impl Into<String>) -> Problem {
    Problem::new(400, "bad-parameter", "Bad parameter", detail).in_field(name)
}
