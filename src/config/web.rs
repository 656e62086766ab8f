//! Values to which the web gives a form: URLs, hosts, networks, paths, methods, header fields. What
//! parses here needs no further check where it is used.

use std::cmp::{Ordering, Reverse};
use std::net::{IpAddr, SocketAddr};

use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A type that is written as text: how it is read, with what was expected when it cannot be, and
/// how it is written.
macro_rules! written_as_text {
    ($name:ident, $read:expr, $write:expr) => {
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                let read: fn(&str) -> Result<Self, &'static str> = $read;
                read(&text).map_err(|expected| format!("{text:?} is not {expected}"))
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                let write: fn(&$name) -> String = $write;
                write(&value)
            }
        }
    };
}
pub(super) use written_as_text;

/// Where an app server is: `http://127.0.0.1:3000`, `https://app.example.com`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerUrl {
    /// Whether it is spoken to over TLS.
    pub is_tls: bool,
    /// Host and, where it is not the usual one, port.
    pub authority: Authority,
}

written_as_text!(ServerUrl, ServerUrl::read, |url| {
    format!("{}://{}", if url.is_tls { "https" } else { "http" }, url.authority)
});

impl ServerUrl {
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "the URL of a server, like \"http://127.0.0.1:3000\"";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.contains('@');
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(EXPECTED),
        };
        let authority = uri.authority().filter(|_| is_bare).cloned();
        authority.map(|authority| Self { is_tls, authority }).ok_or(EXPECTED)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(if self.is_tls { 443 } else { 80 })
    }

    /// Its name or address, without the brackets of an IPv6 address.
    pub fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }
}

/// Where an event stream is: `https://app.example.com/events?topic=a`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamUrl {
    /// The server that has it.
    pub server: ServerUrl,
    /// Path and query there.
    pub target: PathAndQuery,
}

written_as_text!(StreamUrl, StreamUrl::read, |url| {
    format!("{}{}", String::from(url.server.clone()), url.target)
});

impl StreamUrl {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "the URL of an event stream, like \"http://127.0.0.1:3000/events\"";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let target = uri.path_and_query().filter(|target| target.as_str().starts_with('/'));
        let target = target.filter(|_| !text.contains('#')).cloned().ok_or(EXPECTED)?;
        let server = text.strip_suffix(target.as_str()).unwrap_or(text);
        Ok(Self { server: ServerUrl::read(server).map_err(|_| EXPECTED)?, target })
    }

    /// The same with `hidden` in place of the query, which may hold a token.
    #[must_use]
    pub fn without_query(&self, hidden: &str) -> Self {
        let target = match self.target.query() {
            None => self.target.clone(),
            Some(_) => format!("{}?{hidden}", self.target.path())
                .try_into()
                .expect("a path is still one with another query"),
        };
        Self { server: self.server.clone(), target }
    }
}

/// The URL of an app server, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct OptionalUrl(pub Option<ServerUrl>);

written_as_text!(
    OptionalUrl,
    |text| match text {
        "" => Ok(OptionalUrl(None)),
        text => ServerUrl::read(text).map(Some).map(OptionalUrl),
    },
    |url| url.0.clone().map(String::from).unwrap_or_default()
);

/// An address and a port to listen on, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct OptionalAddress(pub Option<SocketAddr>);

written_as_text!(
    OptionalAddress,
    |text| match text {
        "" => Ok(OptionalAddress(None)),
        text => text
            .parse()
            .map(Some)
            .map(OptionalAddress)
            .map_err(|_| { "an IP address and port, like \"0.0.0.0:8443\" or \"[::1]:8443\"" }),
    },
    |address| address.0.map(|address| address.to_string()).unwrap_or_default()
);

/// An address, or a network like `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

written_as_text!(
    Network,
    |text| {
        let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        parsed.map(Network).map_err(|_| "an address or a network, like \"10.0.0.0/8\"")
    },
    |network| network.0.to_string()
);

/// Hosts that a route is for. Ordered from the one that says most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// `www.example.com`, in lower case.
    Exact(Box<str>),
    /// `*.example.com`: the end of a name, with the dot before it, in lower case.
    Below(Box<str>),
    /// Any; written as nothing.
    #[default]
    Any,
}

written_as_text!(HostPattern, HostPattern::read, |pattern| match pattern {
    HostPattern::Any => String::new(),
    HostPattern::Exact(name) => name.to_string(),
    HostPattern::Below(end) => format!("*{end}"),
});

impl HostPattern {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a host, like \"example.com\" or \"*.example.com\", without a port";
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_name =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let is_address = name.starts_with('[') && name.parse::<Authority>().is_ok();
        if !(is_name || (is_address && name == text)) || (name.is_empty() && !text.is_empty()) {
            return Err(EXPECTED);
        }
        let name = name.to_ascii_lowercase();
        Ok(match text {
            "" => Self::Any,
            text if text.starts_with('*') => Self::Below(format!(".{name}").into()),
            _ => Self::Exact(name.into()),
        })
    }

    fn rank(&self) -> (u8, Reverse<usize>, &str) {
        match self {
            Self::Exact(name) => (0, Reverse(0), name),
            Self::Below(end) => (1, Reverse(end.len()), end),
            Self::Any => (2, Reverse(0), ""),
        }
    }

    /// Whether it is for a host, which is without a port.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => host.eq_ignore_ascii_case(name),
            Self::Below(end) => {
                let start = host.len().saturating_sub(end.len());
                start > 0 && host.get(start..).is_some_and(|own| own.eq_ignore_ascii_case(end))
            }
        }
    }
}

impl Ord for HostPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for HostPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A host without its port.
pub fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // Not within the brackets of an IPv6 address.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// The beginning of paths, without a slash at its end: `/api` for itself and everything below it, and
/// nothing at all for every path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathPrefix(Box<str>);

written_as_text!(PathPrefix, PathPrefix::read, |prefix| match &*prefix.0 {
    "" => "/".to_owned(),
    prefix => prefix.to_owned(),
});

impl PathPrefix {
    fn read(text: &str) -> Result<Self, &'static str> {
        let is_path = text.starts_with('/')
            && !text.contains(['?', '#'])
            && text.parse::<Uri>().is_ok()
            && !has_dot_segments(text);
        let prefix = Self(text.trim_end_matches('/').into());
        is_path.then_some(prefix).ok_or("a path, like \"/api\"")
    }

    /// What a path has behind this: nothing, or something that begins with a slash.
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&*self.0)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// The path that begins with this and goes on with `rest`.
    pub fn join(&self, rest: &str) -> String {
        if self.0.is_empty() && rest.is_empty() { "/".into() } else { format!("{}{rest}", self.0) }
    }

    /// How much it says.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Whether a path has segments that some servers resolve and others do not.
pub fn has_dot_segments(path: &str) -> bool {
    let is_dots = |segment: &str| match segment.len() {
        1..=6 => {
            let dots = segment.replace("%2e", ".").replace("%2E", ".");
            dots == "." || dots == ".."
        }
        _ => false,
    };
    (path.contains("/.") || path.contains("/%2")) && path.split('/').any(is_dots)
}

/// Origins whose pages may read a response (CORS): one, as browsers write it, or with `*` all.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum AllowedOrigin {
    /// `https://app.example.com`, in lower case.
    Exact(Box<str>),
    /// Any.
    Any,
}

written_as_text!(AllowedOrigin, AllowedOrigin::read, |origin| match origin {
    AllowedOrigin::Exact(origin) => origin.to_string(),
    AllowedOrigin::Any => "*".into(),
});

impl AllowedOrigin {
    fn read(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "an origin, like \"https://app.example.com\" without a path, or \"*\"";
        if text == "*" {
            return Ok(Self::Any);
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !text.contains(['@', '*']);
        let (scheme, authority) = (uri.scheme_str(), uri.authority().filter(|_| is_bare));
        match (scheme, authority) {
            (Some(scheme), Some(authority)) => {
                let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
                Ok(Self::Exact(origin.into()))
            }
            _ => Err(EXPECTED),
        }
    }
}

/// A method.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct MethodName(pub Method);

written_as_text!(
    MethodName,
    |text| text.parse().map(MethodName).map_err(|_| "a method, like \"GET\""),
    |method| method.0.to_string()
);

/// Name of a header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldName(pub HeaderName);

written_as_text!(
    FieldName,
    |text| text.parse().map(FieldName).map_err(|_| "the name of a header field"),
    |name| name.0.to_string()
);

impl FieldName {
    /// A name that the code knows.
    pub fn from_static(name: &'static str) -> Self {
        Self(HeaderName::from_static(name))
    }
}

impl PartialOrd for FieldName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for FieldName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

/// Value of a header field: visible ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldValue(pub HeaderValue);

written_as_text!(
    FieldValue,
    |text| {
        let value = text.parse::<HeaderValue>().ok().filter(|value| value.to_str().is_ok());
        value.map(FieldValue).ok_or("the value of a header field, in visible ASCII")
    },
    |value| value.0.to_str().unwrap_or_default().to_owned()
);

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: TryFrom<String>>(text: &str) -> Option<T> {
        T::try_from(text.to_owned()).ok()
    }

    #[test]
    fn servers_are_urls_of_hosts_and_nothing_else() {
        for (text, host, port) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000),
            ("http://app", "app", 80),
            ("http://[::1]:8000/", "::1", 8000),
            ("https://app.example.com", "app.example.com", 443),
        ] {
            let url: ServerUrl = read(text).expect(text);
            assert_eq!((url.host(), url.port()), (host, port));
        }
        for text in ["", "app:3000", "ftp://app", "http://", "http://app/x", "http://u:p@app", "/"]
        {
            assert_eq!(read::<ServerUrl>(text), None, "{text}");
        }
    }

    #[test]
    fn streams_have_a_path_and_a_query() {
        for (text, target) in [
            ("http://127.0.0.1:3000", "/"),
            ("http://[::1]:8000/events", "/events"),
            ("https://app.example.com/a/b?topic=x&y=/z", "/a/b?topic=x&y=/z"),
        ] {
            let url: StreamUrl = read(text).expect(text);
            assert_eq!(url.target.as_str(), target);
            assert_eq!(read(&String::from(url.clone())), Some(url));
        }
        for text in ["", "/events", "ftp://a/b", "http://u:p@app/x", "http://app/x#y", "http://a?b"]
        {
            assert_eq!(read::<StreamUrl>(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_match_as_names_do() {
        let below: HostPattern = read("*.Example.com").expect("a pattern");
        assert!(below.matches("a.example.COM") && !below.matches("example.com"));
        assert!(!below.matches("badexample.com") && !below.matches(""));
        let exact: HostPattern = read("Example.com").expect("a name");
        assert!(exact.matches("EXAMPLE.com") && !exact.matches("a.example.com"));
        assert!(exact < below && below < HostPattern::Any);
        let closer: HostPattern = read("*.z.example.com").expect("a pattern");
        assert!(exact < closer && closer < below);
        for text in ["*.", "a*.com", "example.com:80", "a/b", "*"] {
            assert_eq!(read::<HostPattern>(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_no_path() {
        for (text, origin) in [
            ("https://App.example.com", "https://app.example.com"),
            ("http://localhost:5173/", "http://localhost:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
        ] {
            assert_eq!(String::from(read::<AllowedOrigin>(text).expect(text)), origin);
        }
        for text in ["", "app.example.com", "https://", "https://a/b", "https://*.a.com", "null"] {
            assert_eq!(read::<AllowedOrigin>(text), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_segment_does() {
        let api: PathPrefix = read("/api/").expect("a path");
        assert_eq!(api.strip("/api"), Some(""));
        assert_eq!(api.strip("/api/x"), Some("/x"));
        assert_eq!(api.strip("/apis"), None);
        let all: PathPrefix = read("/").expect("a path");
        assert_eq!(all.strip("/x"), Some("/x"));
        assert_eq!(
            (all.join(""), all.join("/x"), api.join("")),
            ("/".into(), "/x".into(), "/api".into())
        );
        for text in ["", "api", "/a?b", "/a#b", "/a/../b", "/ a"] {
            assert_eq!(read::<PathPrefix>(text), None, "{text}");
        }
    }

    #[test]
    fn dot_segments_are_found_however_they_are_written() {
        for path in ["/a/../b", "/..", "/./a", "/a/.", "/%2e%2E/a", "/a/%2e./b", "/.%2e"] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in ["/.well-known/x", "/a..b", "/...", "/%2efoo", "/a/%20", "/"] {
            assert!(!has_dot_segments(path), "{path}");
        }
    }
}
