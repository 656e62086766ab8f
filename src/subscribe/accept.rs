//! What a client wants of a stream route: a stream, or one answer with what there is.

use http::header::{ACCEPT, HeaderMap};

use crate::media::{EVENT_STREAM, JSON};

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
    let (stream, poll) = (EVENT_STREAM.preference(headers), JSON.preference(headers));
    match stream.weight.max(poll.weight) > 0.0 {
        false => None,
        true if poll > stream => Some(Form::Poll),
        true => Some(Form::Stream),
    }
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
