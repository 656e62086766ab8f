//! Text with parameters in it, and what a parameter may be: the path of a stream route, the topics
//! that are made of its parameters, and their patterns. What parses here needs no further check where
//! it is used; whether the names in one are those in another is `validate`'s.

use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::web::{OptionalUrl, ServerUrl, has_dot_segments, written_as_text};
use crate::topic::Filter;

/// Memory of one compiled pattern, in bytes: room for a few hundred characters of repetitions.
const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Parameter(Box<str>),
}

impl Part {
    fn parameter(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Parameter(name) => Some(name),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Literal(text) => text.to_string(),
            Self::Parameter(name) => format!("{{{name}}}"),
        }
    }
}

/// Whether a parameter can have this name: letters, digits, `_` and `-`.
pub fn is_parameter_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !name.is_empty() && name.bytes().all(is_fine)
}

/// The path of a stream route, each segment of which is literal or a parameter:
/// `/api/boards/{boardId}/events`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(Box<[Part]>);

written_as_text!(PathTemplate, PathTemplate::read, |path| {
    path.0.iter().map(|segment| format!("/{}", segment.text())).collect()
});

impl PathTemplate {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a path whose segments are literal or a parameter each, like \
                                \"/api/boards/{boardId}/events\"";
        let segments = text.strip_prefix('/').ok_or(EXPECTED)?.split('/');
        let segments: Option<Box<[Part]>> = segments.map(segment).collect();
        let template = Self(segments.ok_or(EXPECTED)?);
        let mut names: Vec<_> = template.parameters().collect();
        names.sort_unstable();
        let is_twice = names.windows(2).any(|pair| pair[0] == pair[1]);
        if is_twice || has_dot_segments(text) { Err(EXPECTED) } else { Ok(template) }
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Part::parameter)
    }

    /// Whether both match some path, and if so whether one of them says more about it: a literal says
    /// more than a parameter.
    pub fn compare(&self, other: &Self) -> Overlap {
        if self.0.len() != other.0.len() {
            return Overlap::None;
        }
        let (mut own_says_more, mut other_says_more) = (false, false);
        for pair in self.0.iter().zip(&other.0) {
            match pair {
                (Part::Literal(own), Part::Literal(other)) if own != other => return Overlap::None,
                (Part::Literal(_), Part::Parameter(_)) => own_says_more = true,
                (Part::Parameter(_), Part::Literal(_)) => other_says_more = true,
                (Part::Literal(_), Part::Literal(_)) | (Part::Parameter(_), Part::Parameter(_)) => {
                }
            }
        }
        if own_says_more == other_says_more { Overlap::Ambiguous } else { Overlap::Ordered }
    }
}

/// What two path templates have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// No path.
    None,
    /// Some paths, of which one says more.
    Ordered,
    /// Some paths, of which neither says more.
    Ambiguous,
}

/// One segment of a path, without braces or characters that a path has to escape.
fn segment(text: &str) -> Option<Part> {
    let is_literal =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => is_parameter_name(name).then(|| Part::Parameter(name.into())),
        None => text.bytes().all(is_literal).then(|| Part::Literal(text.into())),
    }
}

/// A topic or pattern with parameters in it: `board.{boardId}`, `agents.*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicTemplate(Box<[Part]>);

written_as_text!(TopicTemplate, TopicTemplate::read, |topic| {
    topic.0.iter().map(Part::text).collect()
});

impl TopicTemplate {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a topic or pattern, with or without parameters, like \
                                \"board.{boardId}\" or \"agents.*\"";
        let template = Self(parts(text).ok_or(EXPECTED)?);
        // Of a value nothing matters but that it is part of one token.
        Filter::parse(&template.fill(|_| "x")).map_err(|_| EXPECTED)?;
        Ok(template)
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(Part::parameter)
    }

    /// The topic or pattern with these values.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Parameter(name) => value(name).to_owned(),
        };
        self.0.iter().map(text).collect()
    }
}

/// A URL on a server of the operator's choice, with parameters in its path and query:
/// `http://127.0.0.1:3000/api/boards/{boardId}/state`, or from its path on where the server is the
/// proxy's upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlTemplate {
    server: Option<ServerUrl>,
    target: Box<[Part]>,
}

written_as_text!(UrlTemplate, UrlTemplate::read, |url| {
    let target: String = url.target.iter().map(Part::text).collect();
    let server = url.server.clone().map(String::from);
    format!("{}{target}", server.unwrap_or_default())
});

impl UrlTemplate {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a URL, with or without parameters in its path and query, like \
                                \"http://127.0.0.1:3000/api/boards/{boardId}/state\" or, on \
                                `proxy.upstream`, \"/api/boards/{boardId}/state\"";
        let is_path = text.starts_with('/') && !text.starts_with("//");
        let path_at = match text.find("://").map(|at| at + "://".len()) {
            _ if is_path => 0,
            Some(host) => text[host..].find('/').map_or(text.len(), |at| host + at),
            None => return Err(EXPECTED),
        };
        let (server, target) = text.split_at(path_at);
        let target = parts(if target.is_empty() { "/" } else { target }).ok_or(EXPECTED)?;
        // A value behind half an escape would become part of it.
        let has_half_escape = target.iter().any(|part| match part {
            Part::Literal(literal) => has_half_escape(literal),
            Part::Parameter(_) => false,
        });
        let server = (!is_path).then(|| ServerUrl::read(server)).transpose();
        let template = Self { server: server.map_err(|_| EXPECTED)?, target };
        let filled: Result<PathAndQuery, _> = template.fill_text(|_| "x").try_into();
        let is_target = filled.is_ok_and(|target| !has_dot_segments(target.path()));
        if is_target && !has_half_escape && !text.contains('#') {
            Ok(template)
        } else {
            Err(EXPECTED)
        }
    }

    /// The server, which no parameter changes: its own, or else the proxy's upstream, if there is one.
    pub fn server<'a>(&'a self, upstream: &'a OptionalUrl) -> Option<&'a ServerUrl> {
        self.server.as_ref().or(upstream.0.as_ref())
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.target.iter().filter_map(Part::parameter)
    }

    /// Path and query with these values in them, percent-encoded: a value is never more than part of a
    /// segment, or of a value of the query.
    pub fn fill<'a>(&self, value: impl Fn(&str) -> &'a str) -> PathAndQuery {
        let target = self.fill_text(value);
        target.try_into().expect("a template is a target with any values")
    }

    fn fill_text<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.to_string(),
            Part::Parameter(name) => utf8_percent_encode(value(name), ENCODED).to_string(),
        };
        self.target.iter().map(text).collect()
    }
}

/// All but RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn has_half_escape(literal: &str) -> bool {
    literal.split('%').skip(1).any(|escape| {
        let digits = escape.as_bytes().get(..2);
        digits.is_none_or(|digits| !digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Literals and parameters anywhere between them.
fn parts(text: &str) -> Option<Box<[Part]>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        if literal.contains('}') || !is_parameter_name(name) {
            return None;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.into()));
        }
        parts.push(Part::Parameter(name.into()));
        rest = after;
    }
    if rest.contains('}') {
        return None;
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.into()));
    }
    Some(parts.into())
}

/// What a whole value has to match: a regular expression that takes linear time.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: Box<str>,
    whole: Regex,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Alone first: brackets that are only balanced together with ours are a mistake.
        let compile = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
        let whole = compile(&text).and_then(|_| compile(&format!(r"\A(?:{text})\z")));
        let whole = whole.map_err(|error| {
            // Its last line says what is wrong, those before draw where.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("{text:?} is not a regular expression: {why}")
        })?;
        Ok(Self { text: text.into(), whole })
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text.into()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of `value` matches.
    pub fn matches(&self, value: &str) -> bool {
        self.whole.is_match(value)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What is a template and what is none; which of two says more, against trying paths.

    use proptest::prelude::*;

    use super::*;

    fn read<T: TryFrom<String>>(text: &str) -> Option<T> {
        T::try_from(text.to_owned()).ok()
    }

    fn path(text: &str) -> PathTemplate {
        read(text).expect(text)
    }

    #[test]
    fn a_path_has_literal_segments_and_parameters() {
        let board = path("/api/boards/{boardId}/{x-1_y}");
        assert_eq!(board.parameters().collect::<Vec<_>>(), ["boardId", "x-1_y"]);
        for text in ["/", "/events", "/a/", "/%C3%A9", "/{a}"] {
            assert_eq!(String::from(path(text)), text);
        }
        for text in [
            "", "events", "/a?b", "/a#b", "/a b", "/{a", "/a}", "/{}", "/x{a}", "/{a}x", "/{a b}",
            "/{a}/{a}", "/a/../b", "/é", "/{a/b}",
        ] {
            assert_eq!(read::<PathTemplate>(text), None, "{text}");
        }
    }

    #[test]
    fn a_topic_takes_its_parameters_values() {
        let topic: TopicTemplate = read("a.{x}-{y}.*").expect("a template");
        let value = |name: &str| if name == "x" { "1" } else { "2" };
        assert_eq!(topic.fill(value), "a.1-2.*");
        assert_eq!(topic.parameters().collect::<Vec<_>>(), ["x", "y"]);
        for text in ["board.{id}", "agents.*", ">", "{a}", "a{b}"] {
            assert_eq!(String::from(read::<TopicTemplate>(text).expect(text)), text);
        }
        for text in
            ["", "a.{", "a.}", "a.{}", "a.{b c}", "{a.>}", "a..{b}.*", ">.{a}", "a\n", "{a}}"]
        {
            assert_eq!(read::<TopicTemplate>(text), None, "{text}");
        }
    }

    #[test]
    fn f30_a_value_cannot_leave_its_place_in_a_url() {
        let url: UrlTemplate = read("http://app:3000/b/{id}/x?y={id}&z=1").expect("a template");
        let upstream: OptionalUrl = read("http://upstream").expect("a server");
        let host = |url: &UrlTemplate, upstream| {
            url.server(upstream).map(|server| server.host().to_owned())
        };
        assert_eq!(host(&url, &upstream).as_deref(), Some("app"));
        let path: UrlTemplate = read("/b/{id}/x?y={id}&z=http://b").expect("a template");
        assert_eq!(host(&path, &upstream).as_deref(), Some("upstream"));
        assert_eq!(host(&path, &OptionalUrl(None)), None);
        let filled = url.fill(|_| "a/../b?c=d&e#f%2F é@h");
        let value = "a%2F..%2Fb%3Fc%3Dd%26e%23f%252F%20%C3%A9%40h";
        assert_eq!(filled.as_str(), format!("/b/{value}/x?y={value}&z=1"));
        for text in
            ["http://a", "https://a:1/", "http://a/{x}-{y}", "http://a/%2F{x}?q", "/", "/{x}?q={y}"]
        {
            let url: UrlTemplate = read(text).expect(text);
            assert_eq!(String::from(url).trim_end_matches('/'), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "a",
            "//a/b",
            "/../a",
            "ftp://a/b",
            "http://{host}/a",
            "http://a{x}/b",
            "http://a:{port}/",
            "a://{x",
            "http://u:p@a/",
            "http://a/{x",
            "http://a/x}",
            "http://a/{}",
            "http://a/%2{x}",
            "http://a/%{x}",
            "http://a/../{x}",
            "http://a/b#c",
            "http://a/ b",
        ] {
            assert_eq!(read::<UrlTemplate>(text), None, "{text}");
        }
    }

    #[test]
    fn a_pattern_is_of_the_whole_value() {
        let digits: Pattern = read("[0-9]{1,3}|x").expect("a pattern");
        assert!(digits.matches("12") && digits.matches("x"));
        for value in ["", "1234", "12\n", "a12", "xx", "1x"] {
            assert!(!digits.matches(value), "{value:?}");
        }
        assert!(
            read::<Pattern>("(?x) a # comment \n b").is_some_and(|spaced| spaced.matches("ab"))
        );
        for (text, why) in [
            ("[a-z", "is not a regular expression: unclosed character class"),
            ("a)(b", "is not a regular expression: unopened group"),
            (r"(\w{500}){500}", "exceeds size limit"),
        ] {
            let error = Pattern::try_from(text.to_owned()).expect_err(text);
            assert!(error.contains(why), "{error}");
        }
    }

    fn matches(template: &PathTemplate, path: &[&str]) -> bool {
        let is = |(part, segment): (&Part, &&str)| match part {
            Part::Literal(text) => **text == **segment,
            Part::Parameter(_) => true,
        };
        template.0.len() == path.len() && template.0.iter().zip(path).all(is)
    }

    fn template() -> impl Strategy<Value = PathTemplate> {
        prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("{}")], 1..4).prop_map(
            |parts| {
                let named = |(index, part): (usize, &&str)| match *part {
                    "{}" => format!("/{{p{index}}}"),
                    literal => format!("/{literal}"),
                };
                path(&parts.iter().enumerate().map(named).collect::<String>())
            },
        )
    }

    proptest! {
        #[test]
        fn one_of_two_that_overlap_says_more_or_they_are_ambiguous(
            one in template(), other in template(),
        ) {
            // Every path of up to three segments of an alphabet with a letter that no literal has.
            let alphabet = ["a", "b", "c"];
            let mut paths: Vec<Vec<&str>> = vec![Vec::new()];
            for length in 0..3 {
                let longest: Vec<_> = paths.iter().filter(|path| path.len() == length).cloned().collect();
                for path in longest {
                    paths.extend(alphabet.map(|segment| [&path[..], &[segment]].concat()));
                }
            }
            let of = |template| move |path: &&Vec<&str>| matches(template, path);
            let both = paths.iter().filter(of(&one)).filter(of(&other)).count();
            let (ones, others) =
                (paths.iter().filter(of(&one)).count(), paths.iter().filter(of(&other)).count());
            let expected = if both == 0 {
                Overlap::None
            } else if (both == ones) != (both == others) {
                // One matches nothing that the other does not.
                Overlap::Ordered
            } else {
                Overlap::Ambiguous
            };
            prop_assert_eq!(one.compare(&other), expected);
            prop_assert_eq!(other.compare(&one), expected);
        }

        #[test]
        fn no_text_panics(text in "[a-z{}./*>|()\\[\\]+-]{0,20}") {
            let (path, topic) = (read::<PathTemplate>(&text), read::<TopicTemplate>(&text));
            if let Some(path) = path {
                prop_assert_eq!(String::from(path), text.clone());
            }
            if let Some(topic) = topic {
                prop_assert_eq!(String::from(topic), text.clone());
            }
            let _ = Pattern::try_from(text);
        }
    }
}
