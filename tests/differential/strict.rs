//! The strictest reading of RFC 9112: what every party must read alike, or refuse. It is written
//! apart from the gateway's guard, so that both cannot be wrong alike. It reads what the client sends
//! (the reference), and what leaves the gateway (the recording origin).

use super::log::Seen;

/// How a request begins at these bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Whole {
        request: Seen,
        length: usize,
        /// The client asks for the connection's end, or cannot keep it (HTTP/1.0).
        is_last: bool,
    },
    /// More has to come. `waits` if what has come asks for a go-ahead.
    Partial { waits: bool },
    /// No party should take this.
    Bad(&'static str),
}

/// Why reading stopped.
enum Stop {
    Partial,
    Bad(&'static str),
}

type Read<T> = Result<T, Stop>;

/// Reads the request at the beginning of these bytes.
pub(crate) fn read(bytes: &[u8]) -> Reading {
    let mut input = Input { bytes, at: 0 };
    let mut expects_continue = false;
    match request(&mut input, &mut expects_continue) {
        Ok((request, is_last)) => Reading::Whole { request, length: input.at, is_last },
        Err(Stop::Partial) => Reading::Partial { waits: expects_continue },
        Err(Stop::Bad(why)) => Reading::Bad(why),
    }
}

fn request(input: &mut Input<'_>, expects_continue: &mut bool) -> Read<(Seen, bool)> {
    let mut line = input.line()?;
    while line.is_empty() {
        line = input.line()?;
    }
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else { return Err(Stop::Bad("request line")) };
    let is_http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return Err(Stop::Bad("version")),
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(Stop::Bad("method or target"));
    }
    let fields = fields(input)?;
    let all = |name: &'static str| fields.iter().filter(move |(sent, _)| sent == name);
    let one = |name| match &all(name).collect::<Vec<_>>()[..] {
        [] => Ok(None),
        [(_, value)] => Ok(Some(value.as_str())),
        _ => Err(Stop::Bad("a field twice that may come once")),
    };
    if one("host")?.is_none() && is_http11 {
        return Err(Stop::Bad("no host"));
    }
    let asks_to_close = all("connection")
        .any(|(_, value)| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("close")));
    *expects_continue = is_http11 && all("expect").next().is_some();
    let body = match (one("content-length")?, one("transfer-encoding")?) {
        (None, None) => Vec::new(),
        (Some(digits), None) if is_number(digits) => {
            let length = digits.parse().map_err(|_| Stop::Bad("length too large"))?;
            input.take(length)?.to_vec()
        }
        (None, Some(coding)) if is_http11 && coding.eq_ignore_ascii_case("chunked") => {
            chunks(input)?
        }
        _ => return Err(Stop::Bad("framing")),
    };
    let text = |ascii: &[u8]| String::from_utf8_lossy(ascii).into_owned();
    let seen = Seen::new(&text(method), &text(target), body);
    Ok((seen, asks_to_close || !is_http11))
}

/// Field lines up to the empty line, names in lower case.
fn fields(input: &mut Input<'_>) -> Read<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = input.line()?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Stop::Bad("no colon"))?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(Stop::Bad("field name"));
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(Stop::Bad("field value"));
        }
        let value = String::from_utf8_lossy(value);
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        fields.push((name, value.trim_matches([' ', '\t']).to_owned()));
    }
}

fn chunks(input: &mut Input<'_>) -> Read<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = input.line()?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        let begins_right = extension.is_empty()
            || extension.trim_ascii_start().starts_with(b";")
                && !extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t');
        if digits.is_empty() || !begins_right {
            return Err(Stop::Bad("chunk size"));
        }
        let digits = str::from_utf8(digits).expect("hexadecimal digits are ASCII");
        let size = usize::from_str_radix(digits, 16).map_err(|_| Stop::Bad("chunk too large"))?;
        if size == 0 {
            let trailers = fields(input)?;
            let framing = ["content-length", "transfer-encoding", "host"];
            let is_bad = trailers.iter().any(|(name, _)| framing.contains(&name.as_str()));
            return if is_bad { Err(Stop::Bad("trailer")) } else { Ok(body) };
        }
        body.extend_from_slice(input.take(size)?);
        match input.take(2) {
            Ok(b"\r\n") => {}
            Err(Stop::Partial) if matches!(input.rest(), [] | b"\r") => return Err(Stop::Partial),
            _ => return Err(Stop::Bad("chunk longer than its size")),
        }
    }
}

/// Bytes, and how far they have been read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Up to the next CRLF. No CR and no LF stands alone.
    fn line(&mut self) -> Read<&'a [u8]> {
        let rest = self.rest();
        let end =
            rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')).ok_or(Stop::Partial)?;
        match rest[end..] {
            [b'\r', b'\n', ..] => {
                self.at += end + 2;
                Ok(&rest[..end])
            }
            [b'\r'] => Err(Stop::Partial),
            _ => Err(Stop::Bad("line end")),
        }
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let taken = self.rest().get(..length).ok_or(Stop::Partial)?;
        self.at += length;
        Ok(taken)
    }
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn only_what_has_one_reading_is_whole() {
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let sized =
        |length: &str| format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\nab");
    let whole = |bytes: &str| match read(bytes.as_bytes()) {
        Reading::Whole { request, length, .. } => (request.body, length),
        other => panic!("{bytes:?}: {other:?}"),
    };
    let request = sized("2");
    assert_eq!(whole(&(request.clone() + "GET")), (b"ab".to_vec(), request.len()));
    let request = format!("{chunked}1;x\r\na\r\n01\r\nb\r\n0\r\nx: y\r\n\r\n");
    assert_eq!(whole(&(request.clone() + "GET")), (b"ab".to_vec(), request.len()));
    for end in 0..request.len() {
        let partial = matches!(read(&request.as_bytes()[..end]), Reading::Partial { .. });
        assert!(partial, "the first {end} bytes");
    }
    for bad in [
        sized("+2"),
        sized("2\r\ncontent-length: 2"),
        sized("2\r\ntransfer-encoding: chunked"),
        sized("2\nx: y"),
        sized("2\r\nx : y"),
        format!("{chunked}1\na\r\n0\r\n\r\n"),
        format!("{chunked}1\r\nab\r\n0\r\n\r\n"),
        format!("{chunked}0\r\ncontent-length: 2\r\n\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
    ] {
        assert!(matches!(read(bad.as_bytes()), Reading::Bad(_)), "{bad:?}");
    }
}
