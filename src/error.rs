//! What an error looks like to a client: RFC 9457 problem details. Each module has its own small
//! error enum; `http::problem` maps those to this, and only there is a status code chosen.

use std::borrow::Cow;

use serde::Serialize;

/// A problem as it is sent, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Stable name of this kind of problem: `urn:tidegate:problem:<kind>`, listed in
    /// `docs/PROBLEMS.md`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The same for every problem of the kind.
    pub title: &'static str,
    /// The HTTP status code.
    pub status: u16,
    /// What is wrong with this request, and what would be right.
    pub detail: String,
    /// The field of the request that is wrong, where it is one: `[3].event`, `topic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem of the kind that `slug` names.
    pub fn new(status: u16, slug: &str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: Cow::Owned(format!("urn:tidegate:problem:{slug}")),
            title,
            status,
            detail: detail.into(),
            field: None,
        }
    }

    /// Names the field that is wrong.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}
