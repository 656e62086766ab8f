//! The guard's verdicts, case by case, and that they depend neither on how the bytes are cut into
//! pieces nor on what came before. End to end they are in `tests/smuggling.rs`.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Fault, Guard, Limits, Place, Refusal};

/// How many bytes pass, and why no more do.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    passed: usize,
    refusal: Option<Refusal>,
}

/// Gives a guard these bytes piece by piece, as a socket would.
fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    let mut guard = Guard::new(Limits::default());
    let (mut held, mut passed) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let count = guard.inspect(&held);
        held.drain(..count);
        passed += count;
    }
    Verdict { passed, refusal: guard.refusal().cloned() }
}

#[track_caller]
fn passes(bytes: &[u8]) {
    let verdict = judge([bytes]);
    let text = String::from_utf8_lossy(bytes);
    assert_eq!(verdict, Verdict { passed: bytes.len(), refusal: None }, "{text:?}");
}

#[track_caller]
fn fault(bytes: &[u8]) -> Fault {
    let verdict = judge([bytes]);
    let text = String::from_utf8_lossy(bytes);
    verdict.refusal.unwrap_or_else(|| panic!("{text:?} passed to byte {}", verdict.passed)).fault
}

/// A request with these lines behind its `host`.
fn with(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n").into_bytes()
}

#[track_caller]
fn refuses(bytes: impl AsRef<[u8]>, expected: &Fault) {
    let bytes = bytes.as_ref();
    assert_eq!(&fault(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn what_the_rfc_allows_passes() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost:a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nhost: \t a \t\r\n\r\n",
        "GET /a?b=c|{}^'%2f HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
        "GET http://a HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET HTTP://A.test:80/x?y HTTP/1.1\r\nhost: a.TEST\r\n\r\n",
        "GET https://a?y HTTP/1.1\r\nhost: a:443\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a:\r\n\r\n",
        "M-SEARCH! / HTTP/1.1\r\nhost: a_b.c\r\nx_y: \u{e4}\t z\r\nempty:\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 03\r\n\r\nabc",
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 1\r\n\r\nx",
        "POST / HTTP/1.0\r\nexpect: anything\r\ncontent-length: 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-encoding: \t Chunked \r\n\r\n0\r\n\r\n",
    ] {
        passes(request.as_bytes());
    }
    for body in [
        "0\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n",
        "000000000000000a;x=\"y;z\" ; w\r\n0123456789\r\n00\r\n\r\n",
        "1 ;x\r\na\r\n0\r\nchecksum: 5\r\nx-y: z\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "1\r\n\n\r\n0\r\n\r\n",
    ] {
        passes(format!("{CHUNKED}{body}").as_bytes());
    }
}

#[test]
fn a_bad_request_line_is_refused() {
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.10",
        "GET / HTTP/1.1\r",
        "\u{16}\u{3}\u{1}",
    ] {
        refuses(format!("{line}\r\nhost: a\r\n\r\n"), &Fault::RequestLine);
    }
    for target in [
        "*",
        "a",
        "a:443",
        "?x",
        "/#f",
        "/\u{7f}",
        "/\u{e4}",
        "/a\0",
        "/\u{1}",
        "/a\rb",
        "/<x>",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://u@a/",
        "http://a:x/",
        "http:/a",
        "//a\\\"",
    ] {
        refuses(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"), &Fault::Target);
    }
    for version in ["0.9", "1.2", "2.0", "3.0"] {
        refuses(format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n"), &Fault::Version);
    }
    refuses("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", &Fault::Connect);
    refuses("\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", &Fault::EmptyLines(2));
}

#[test]
fn a_bad_line_end_or_field_line_is_refused() {
    for request in [
        "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: y\nz: 1\r\n\r\n",
    ] {
        refuses(request, &Fault::BareLineFeed);
    }
    for control in ['\0', '\r', '\u{1}', '\u{b}', '\u{1b}', '\u{7f}'] {
        refuses(with(&format!("X-y: 1{control}2\r\n")), &Fault::FieldValue("x-y".into()));
        refuses(with(&format!("x{control}y: 1\r\n")), &Fault::FieldName);
    }
    for folded in [" folded", "\tfolded: x", " : x"] {
        refuses(with(&format!("x: y\r\n{folded}\r\n")), &Fault::FoldedLine);
    }
    refuses("GET / HTTP/1.1\r\n host: a\r\n\r\n", &Fault::FoldedLine);
    for name in ["content-length ", "x\t"] {
        refuses(with(&format!("{name}: 1\r\n")), &Fault::SpaceBeforeColon);
    }
    for line in ["x", ": 1", "x y: 1", "x(): 1", "\u{e4}: 1", "[x]: 1"] {
        refuses(with(&format!("{line}\r\n")), &Fault::FieldName);
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    for both in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\nContent-Length: 0",
    ] {
        refuses(with(&format!("{both}\r\n")), &Fault::LengthAndEncoding);
    }
    for length in [
        "",
        "+5",
        "-1",
        "0x10",
        "1_0",
        "5, 5",
        "5;",
        "1 0",
        "\u{b2}",
        "9223372036854775808",
        "99999999999999999999",
    ] {
        refuses(with(&format!("content-length: {length}\r\n")), &Fault::ContentLength);
    }
    passes(&with("content-length: 9223372036854775807\r\n"));
    for second in ["5", "6"] {
        let lines = format!("content-length: 5\r\ncontent-length: {second}\r\n");
        refuses(with(&lines), &Fault::ContentLengthRepeated);
    }
    for coding in [
        "",
        "identity",
        "gzip",
        "xchunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "chunked,",
        ",chunked",
        "chun ked",
    ] {
        refuses(with(&format!("transfer-encoding: {coding}\r\n")), &Fault::TransferEncoding);
    }
    refuses(
        with("transfer-encoding: GZIP , x, chunked\r\n"),
        &Fault::TransferCoding("gzip, x".into()),
    );
    for second in ["chunked", "identity"] {
        let lines = format!("transfer-encoding: chunked\r\ntransfer-encoding: {second}\r\n");
        refuses(with(&lines), &Fault::TransferEncoding);
    }
    let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
    refuses(old, &Fault::TransferEncodingInHttp10);
    for body in ["content-length: 1", "transfer-encoding: chunked"] {
        refuses(with(&format!("Upgrade: websocket\r\n{body}\r\n")), &Fault::UpgradeWithBody);
    }
    for expectation in ["", "100-continue, x", "200-ok", "100-continue;x"] {
        refuses(with(&format!("Expect: {expectation}\r\n")), &Fault::Expectation);
    }
}

#[test]
fn a_host_that_is_missing_repeated_or_none_is_refused() {
    refuses("GET / HTTP/1.1\r\n\r\n", &Fault::HostMissing);
    refuses("GET http://a/ HTTP/1.1\r\n\r\n", &Fault::HostMissing);
    refuses(with("Host: a\r\n"), &Fault::HostRepeated);
    for host in [
        "",
        "u@a",
        "a b",
        "a:b",
        "a:-1",
        "a:65536",
        "a:1:2",
        ":80",
        "a/b",
        "a?b",
        "a%2eb",
        "[::1",
        "[::1]x",
        "[fe80::1%25eth0]",
        "[a]",
        "::1",
        "\u{e4}",
        "a\\b",
    ] {
        refuses(format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n"), &Fault::HostInvalid);
    }
    for (target, host) in [("http://a/", "b"), ("http://a:81/", "a"), ("https://a/", "a:80")] {
        refuses(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"), &Fault::HostDiffers);
    }
    refuses("GET http://a/ HTTP/1.0\r\nhost: b\r\n\r\n", &Fault::HostDiffers);
}

#[test]
fn a_bad_chunk_is_refused_and_nothing_behind_it_passes() {
    for size in [
        "",
        " 1",
        "+1",
        "0x1",
        "g",
        "1 ",
        "1\t",
        "1,",
        "1 x",
        "1;\u{1}",
        "1\r",
        "00000000000000001",
    ] {
        let verdict = judge([format!("{CHUNKED}{size}\r\na\r\n0\r\n\r\n").as_bytes()]);
        let expected = Refusal { fault: Fault::ChunkSize, place: Place::Body, request: 1 };
        assert_eq!(verdict, Verdict { passed: CHUNKED.len(), refusal: Some(expected) }, "{size:?}");
    }
    refuses(format!("{CHUNKED}1\na\r\n0\r\n\r\n"), &Fault::BareLineFeed);
    refuses(format!("{CHUNKED}1;x\na\r\n0\r\n\r\n"), &Fault::BareLineFeed);
    for end in ["ab\r\n", "a\n", "a\rx", "a0\r\n"] {
        let verdict = judge([format!("{CHUNKED}1\r\n{end}0\r\n\r\n").as_bytes()]);
        assert_eq!(verdict.passed, CHUNKED.len() + "1\r\na".len(), "{end:?}");
        assert_eq!(verdict.refusal.expect("a refusal").fault, Fault::ChunkEnd, "{end:?}");
    }
    let (longest, longer) = ("x".repeat(255), "x".repeat(256));
    passes(format!("{CHUNKED}1;{longest}\r\na\r\n0\r\n\r\n").as_bytes());
    refuses(format!("{CHUNKED}1;{longer}\r\na\r\n0\r\n\r\n"), &Fault::ChunkLineTooLong);
    refuses(format!("{CHUNKED}1;{}", "x".repeat(300)), &Fault::ChunkLineTooLong);
    let chunk = format!("1;{longest}\r\na\r\n");
    passes(format!("{CHUNKED}{}0\r\n\r\n", chunk.repeat(32)).as_bytes());
    refuses(format!("{CHUNKED}{}", chunk.repeat(33)), &Fault::ChunkLineTooLong);
}

#[test]
fn a_bad_trailer_is_refused_before_any_of_it_passes() {
    let begin = format!("{CHUNKED}0\r\n");
    for (trailers, fault) in [
        ("Content-Length: 5\r\n", Fault::Trailer("content-length".into())),
        ("x: y\r\nhost: a\r\n", Fault::Trailer("host".into())),
        ("transfer-encoding: chunked\r\n", Fault::Trailer("transfer-encoding".into())),
        ("x: y\n", Fault::BareLineFeed),
        ("x : y\r\n", Fault::SpaceBeforeColon),
        (" x: y\r\n", Fault::FoldedLine),
        ("x: \0\r\n", Fault::FieldValue("x".into())),
        ("GET / HTTP/1.1\r\n", Fault::FieldName),
    ] {
        let verdict = judge([format!("{begin}{trailers}\r\n").as_bytes()]);
        let refusal = Refusal { fault, place: Place::Body, request: 1 };
        assert_eq!(verdict, Verdict { passed: begin.len(), refusal: Some(refusal) });
    }
    let line = |length: usize| format!("x: {}\r\n\r\n", "y".repeat(length - "x: \r\n\r\n".len()));
    passes(format!("{begin}{}", line(8192)).as_bytes());
    refuses(format!("{begin}{}", line(8193)), &Fault::TrailersTooLarge(8192));
    passes(format!("{begin}{}\r\n", "x: y\r\n".repeat(100)).as_bytes());
    refuses(format!("{begin}{}\r\n", "x: y\r\n".repeat(101)), &Fault::TooManyFields(100));
}

#[test]
fn a_head_has_its_bounds_to_the_byte() {
    let limits = Limits { request_line_bytes_max: 1000, ..Limits::default() };
    let Limits { head_bytes_max, request_line_bytes_max, fields_max } = limits;
    let judge_line = |line: &str| {
        let mut guard = Guard::new(limits);
        guard.inspect(line.as_bytes());
        guard.refusal().map(|refusal| refusal.fault.clone())
    };
    let target = |length: usize| {
        let path = "x".repeat(length - "GET / HTTP/1.1".len());
        format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n")
    };
    assert_eq!(judge_line(&target(request_line_bytes_max)), None);
    let (longer, too_long) =
        (target(request_line_bytes_max + 1), Fault::RequestLineTooLong(request_line_bytes_max));
    assert_eq!(judge_line(&longer), Some(too_long.clone()));
    assert_eq!(judge_line(&longer[..request_line_bytes_max + 2]), Some(too_long));
    refuses(target(head_bytes_max), &Fault::RequestLineTooLong(head_bytes_max));

    let empty = with("x: \r\n").len();
    let head = |length: usize| with(&format!("x: {}\r\n", "y".repeat(length - empty)));
    passes(&head(head_bytes_max));
    let larger = head(head_bytes_max + 1);
    refuses(&larger, &Fault::HeadTooLarge(head_bytes_max));
    assert_eq!(judge([&larger[..head_bytes_max - 1]]).refusal, None);
    refuses(head(head_bytes_max + 999), &Fault::HeadTooLarge(head_bytes_max));

    passes(&with(&"x: y\r\n".repeat(fields_max - 1)));
    refuses(with(&"x: y\r\n".repeat(fields_max)), &Fault::TooManyFields(fields_max));
}

#[test]
fn a_refused_head_is_numbered_and_says_whether_its_answer_has_a_body() {
    let fine = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let verdict = judge([format!("{fine}{fine}HEAD / HTTP/1.1\r\n\r\n{fine}").as_bytes()]);
    let place = Place::Head { is_head: true };
    let refusal = Refusal { fault: Fault::HostMissing, place, request: 3 };
    assert_eq!(verdict, Verdict { passed: 2 * fine.len(), refusal: Some(refusal) });
}

// --- Properties

/// A valid request.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let target = prop_oneof!["/[a-z?=&%/]{0,20}", "http://h\\.test(:80)?/[a-z]{0,9}"];
    let fields = vec(("[a-zA-Z_!-]{1,12}z", "[ -~\t\u{e4}]{0,30}"), 0..6);
    let body =
        prop_oneof![Just(Body::None), vec(any::<u8>(), 0..80).prop_map(Body::Sized), chunks()];
    (0..3_usize, target, fields, body).prop_map(|(empty_lines, target, fields, body)| {
        let mut request = "\r\n".repeat(empty_lines);
        request += &format!("POST {target} HTTP/1.1\r\nhost: h.test\r\n");
        for (name, value) in fields {
            request += &format!("{name}: {value}\r\n");
        }
        body.append_to(request)
    })
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Sized(Vec<u8>),
    /// Data with extensions, and trailers.
    Chunked(Vec<(Vec<u8>, String)>, Vec<String>),
}

fn chunks() -> impl Strategy<Value = Body> {
    let chunk = (vec(any::<u8>(), 1..40), "( ?;[a-z]{1,5}(=\"[ -!#-~]{0,6}\")?){0,2}");
    let trailers = vec("x-[a-z]{1,5}: ?[ -~]{0,9}", 0..3);
    (vec(chunk, 0..5), trailers).prop_map(|(chunks, trailers)| Body::Chunked(chunks, trailers))
}

impl Body {
    fn append_to(self, head: String) -> Vec<u8> {
        match self {
            Self::None => (head + "\r\n").into_bytes(),
            Self::Sized(body) => {
                [format!("{head}content-length: {}\r\n\r\n", body.len()).into_bytes(), body]
                    .concat()
            }
            Self::Chunked(chunks, trailers) => {
                let mut request = (head + "transfer-encoding: chunked\r\n\r\n").into_bytes();
                for (data, extension) in chunks {
                    request.extend(format!("{:x}{extension}\r\n", data.len()).into_bytes());
                    request.extend(data);
                    request.extend(b"\r\n");
                }
                request.extend(b"0\r\n");
                request.extend(trailers.into_iter().flat_map(|line| (line + "\r\n").into_bytes()));
                request.extend(b"\r\n");
                request
            }
        }
    }
}

/// Bytes that are put in at places, and cuts.
type Damage = (Vec<(prop::sample::Index, u8)>, Vec<prop::sample::Index>);

fn damage() -> impl Strategy<Value = Damage> {
    let byte = prop::sample::select(b"\r\n\0 :;0fx\t,\xff".to_vec());
    (vec((any::<prop::sample::Index>(), byte), 0..3), vec(any::<prop::sample::Index>(), 0..8))
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

proptest! {
    /// The generator is the reference: it knows where a request ends. What begins there is no
    /// request line, so the guard tells where it saw one begin.
    #[test]
    fn f19_f23_valid_requests_end_where_they_were_made_to(
        requests in vec(request(), 1..5),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (number, request) in (2..).zip(&requests) {
            bytes.extend_from_slice(request);
            let end = bytes.len();
            let marked = [&bytes[..], b"!\r\n"].concat();
            let place = Place::Head { is_head: false };
            let refusal = Refusal { fault: Fault::RequestLine, place, request: number };
            let expected = Verdict { passed: end, refusal: Some(refusal) };
            prop_assert_eq!(judge(cut(&marked, &cuts)), expected);
        }
    }

    #[test]
    fn a_verdict_does_not_depend_on_the_pieces(
        requests in vec(request(), 1..4),
        (insertions, cuts) in damage(),
    ) {
        let mut bytes = requests.concat();
        for (place, byte) in insertions {
            bytes.insert(place.index(bytes.len() + 1), byte);
        }
        let whole = judge([&bytes[..]]);
        prop_assert_eq!(&judge(cut(&bytes, &cuts)), &whole);
        prop_assert_eq!(&judge(bytes.chunks(1)), &whole);
    }
}
