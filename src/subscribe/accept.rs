//! What a client wants of a stream route: a stream, or one answer with what there is (RFC 9110, 12.5.1).

use http::header::{ACCEPT, HeaderMap};

/// In which form events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `text/event-stream`, for as long as the stream lasts.
    Stream,
    /// `application/json`, once: a long poll.
    Poll,
}

/// The form that a request accepts, if any. A form that it names counts more than one it has only a
/// wildcard for: clients that poll send `application/json, */*`. Where both count the same, and where
/// nothing is said, it is a stream.
pub(super) fn form(headers: &HeaderMap) -> Option<Form> {
    if !headers.contains_key(ACCEPT) {
        return Some(Form::Stream);
    }
    let stream = weight(headers, "text", "event-stream");
    let poll = weight(headers, "application", "json");
    match stream.0.max(poll.0) > 0.0 {
        false => None,
        true if poll > stream => Some(Form::Poll),
        true => Some(Form::Stream),
    }
}

/// How much a media type is wanted, by the range that says most about it, and how much that says.
fn weight(headers: &HeaderMap, kind: &str, subtype: &str) -> (f32, u8) {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let matching = values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (range_kind, range_subtype) = parts.next()?.split_once('/')?;
        let says = match (range_kind, range_subtype) {
            ("*", "*") => 0,
            (range_kind, _) if !range_kind.eq_ignore_ascii_case(kind) => return None,
            (_, "*") => 1,
            (_, range_subtype) if range_subtype.eq_ignore_ascii_case(subtype) => 2,
            _ => return None,
        };
        let q = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let q = q.and_then(|q| q.parse().ok()).filter(|q| (0.0..=1.0).contains(q));
        Some((q.unwrap_or(1.0), says))
    });
    matching.max_by_key(|&(_, says)| says).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    //! Which form each kind of client gets.

    use super::*;

    fn form_of(accept: &[&str]) -> Option<Form> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().expect("a field value"));
        }
        form(&headers)
    }

    #[test]
    fn streams_are_for_who_accepts_them_in_any_way() {
        for accept in [
            "text/event-stream",
            "*/*",
            "text/html, TEXT/EVENT-STREAM;q=0.5",
            "text/*",
            "text/event-stream, application/json",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/json;q=0.5, text/event-stream",
            "application/*, text/*",
            "text/event-stream;q=nan",
        ] {
            assert_eq!(form_of(&[accept]), Some(Form::Stream), "{accept}");
        }
        assert_eq!(form_of(&[]), Some(Form::Stream));
    }

    #[test]
    fn polls_are_for_who_would_rather_have_json() {
        for accept in [
            "application/json",
            "APPLICATION/JSON; charset=utf-8",
            "application/json, text/plain, */*",
            "application/*",
            "text/event-stream;q=0.5, application/json",
            "text/event-stream; q=0, */*",
        ] {
            assert_eq!(form_of(&[accept]), Some(Form::Poll), "{accept}");
        }
        assert_eq!(form_of(&["text/html", "application/json"]), Some(Form::Poll));
    }

    #[test]
    fn what_is_not_accepted_is_neither() {
        for accept in
            ["", "text/html", "application/xml", "*/*;q=0", "nonsense", "text/event-stream;q=0"]
        {
            assert_eq!(form_of(&[accept]), None, "{accept}");
        }
    }
}
