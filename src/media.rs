//! Media types and codings: the type of a body (RFC 9110, 8.3), how much a client wants one (12.5.1), and
//! whether it takes it compressed (12.5.3).

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap};

/// An event stream.
pub const EVENT_STREAM: Media = Media("text", "event-stream");
/// A JSON text.
pub const JSON: Media = Media("application", "json");

/// A media type: its type and its subtype, in lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media(&'static str, &'static str);

/// How much a media type is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Preference {
    /// From 0, which is not at all, to 1.
    pub weight: f32,
    /// How much the range says that the weight is of.
    pub by: Range,
}

/// By what a client accepts a media type. What says more counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Range {
    /// `*/*`.
    #[default]
    Any,
    /// `text/*`.
    OfType,
    /// `text/event-stream`.
    Named,
}

/// The media type of a body without its parameters, as it is written; empty where nothing is said.
pub fn of_body(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

impl Media {
    /// Whether a body is of this type.
    pub fn is_of_body(self, headers: &HeaderMap) -> bool {
        of_body(headers).split_once('/').is_some_and(|(kind, subtype)| {
            kind.eq_ignore_ascii_case(self.0) && subtype.eq_ignore_ascii_case(self.1)
        })
    }

    /// How much a client wants this type that has an `accept`; one that has none takes anything.
    pub fn preference(self, headers: &HeaderMap) -> Preference {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges = values.flat_map(|value| value.split(','));
        let matching = ranges.filter_map(|range| self.preference_by(range));
        matching.max_by_key(|preference| preference.by).unwrap_or_default()
    }

    fn preference_by(self, range: &str) -> Option<Preference> {
        let mut parts = range.split(';').map(str::trim);
        let by = match parts.next()?.split_once('/')? {
            ("*", "*") => Range::Any,
            (kind, _) if !kind.eq_ignore_ascii_case(self.0) => return None,
            (_, "*") => Range::OfType,
            (_, subtype) if subtype.eq_ignore_ascii_case(self.1) => Range::Named,
            _ => return None,
        };
        Some(Preference { weight: weight(parts), by })
    }
}

/// Whether a request accepts gzip. One that says nothing does not, although it might by RFC 9110, 12.5.3.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let matching = values.flat_map(|value| value.split(',')).filter_map(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_named = match parts.next()? {
            "*" => false,
            name if name.eq_ignore_ascii_case("gzip") => true,
            _ => return None,
        };
        Some((weight(parts), is_named))
    });
    matching.max_by_key(|&(_, is_named)| is_named).is_some_and(|(weight, _)| weight > 0.0)
}

/// How much something is wanted, by its parameters.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> f32 {
    let q = parameters.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    q.and_then(|q| q.parse().ok()).filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    //! Fields by example.

    use super::*;

    #[test]
    fn the_range_that_says_most_counts() {
        for (accept, weight, by) in [
            ("text/event-stream", 1.0, Range::Named),
            ("*/*, text/*;q=0.5", 0.5, Range::OfType),
            ("TEXT/Event-Stream ; q=0.25;x=1, */*", 0.25, Range::Named),
            ("text/event-stream;q=0, */*", 0.0, Range::Named),
            ("text/event-stream;q=2", 1.0, Range::Named),
            ("text/html, application/*", 0.0, Range::Any),
            ("text/event-streams", 0.0, Range::Any),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, accept.parse().expect("a field value"));
            assert_eq!(EVENT_STREAM.preference(&headers), Preference { weight, by }, "{accept}");
        }
    }

    #[test]
    fn the_type_of_a_body_has_no_parameters_and_no_case() {
        for (content_type, is_json) in [
            ("application/json", true),
            (" Application/JSON ;charset=utf-8", true),
            ("application/jsonl", false),
            ("text/json", false),
            ("json", false),
        ] {
            let mut headers = HeaderMap::new();
            assert!(!JSON.is_of_body(&headers));
            headers.insert(CONTENT_TYPE, content_type.parse().expect("a field value"));
            assert_eq!(JSON.is_of_body(&headers), is_json, "{content_type}");
        }
    }

    #[test]
    fn gzip_is_for_who_names_it_or_takes_anything() {
        let accepts = |value: &str| {
            let headers = [(ACCEPT_ENCODING, value.parse().expect("a field value"))];
            accepts_gzip(&headers.into_iter().collect())
        };
        for value in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.5", "*", "br, *;q=0.1"]
        {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "identity", "br", "gzip;q=0", "*;q=0", "gzip; q=0, *", "x-gzip2"] {
            assert!(!accepts(value), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
