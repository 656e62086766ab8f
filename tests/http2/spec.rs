//! What RFC 9113 and RFC 7541 forbid a client to do, case by case after the list of h2spec, each with
//! the error that the gateway has to answer with. Where there are several, the first is the RFC's and
//! the others are what h2 says instead: the connection ends all the same.

use std::iter;
use std::time::Duration;

use super::frames::{
    ACK, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, frame,
};
use super::raw::{
    COMPRESSION_ERROR, CONTINUATION, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, Raw, STREAM_CLOSED, Verdict, data, fields, get, headers, post,
};
use super::support::Gateway;

/// Longest wait for an error: it comes at once.
const SOON: Duration = Duration::from_secs(3);

const PADDED: u8 = 8;
const PRIORITY_FLAG: u8 = 0x20;
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// What is sent behind the preface, and the errors that are right: of the connection, or of stream 1.
type Case = (&'static str, Vec<u8>, Expected);

#[derive(Clone, Copy, Debug)]
enum Expected {
    Connection(&'static [u32]),
    Stream(&'static [u32]),
    /// Of either: the RFC lets an error of a stream be one of the connection (5.4.2).
    Either(&'static [u32]),
}

use Expected::{Connection, Either, Stream};

#[track_caller]
fn check(cases: Vec<Case>) {
    let gateway = Gateway::start();
    let wrong: Vec<String> = cases
        .into_iter()
        .filter_map(|(name, bytes, expected)| {
            let found = judge(&gateway, &bytes, expected).err()?;
            Some(format!("{name}: {found:?}, expected {expected:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut healthy = gateway.topic("t").subscribe();
    healthy.expect_hello();
}

/// What came in place of what is expected.
fn judge(gateway: &Gateway, bytes: &[u8], expected: Expected) -> Result<(), Option<Verdict>> {
    let mut client = Raw::open(gateway.public);
    client.send(bytes);
    // What is right about it is answered before.
    let verdict = loop {
        match client.verdict_within(SOON) {
            Some(Verdict::Answer(..)) => {}
            verdict => break verdict,
        }
    };
    match (expected, verdict) {
        (Connection(codes) | Either(codes), Some(Verdict::GoAway(code)))
            if codes.contains(&code) =>
        {
            client.expect_closed();
        }
        (Stream(codes) | Either(codes), Some(Verdict::Reset(1, code))) if codes.contains(&code) => {
            // Only the stream is over.
            client.send(&get(3, "/nothing"));
            while !matches!(client.verdict(), Verdict::Answer(3, _)) {}
        }
        _ => return Err(verdict),
    }
    Ok(())
}

fn joined(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.concat()
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    let mut payload = id.to_be_bytes().to_vec();
    payload.extend(value.to_be_bytes());
    frame(SETTINGS, 0, 0, &payload)
}

fn window_update(id: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, id, &by.to_be_bytes())
}

/// A stream that stays, and whose client is done: half-closed (remote).
fn half_closed() -> Vec<u8> {
    get(1, "/events?topic=t")
}

fn request_with(field: (&str, &str)) -> Vec<u8> {
    let fields: Vec<_> = fields("GET", "/").into_iter().chain(iter::once(field)).collect();
    headers(1, WHOLE, &fields)
}

fn request_without(name: &str) -> Vec<u8> {
    let fields: Vec<_> = fields("GET", "/").into_iter().filter(|field| field.0 != name).collect();
    headers(1, WHOLE, &fields)
}

#[test]
#[rustfmt::skip] // A table.
fn frames_are_of_a_size_and_a_place() {
    let large = vec![0; 16_385];
    check(vec![
        ("4.2: DATA too large", joined(&[post(1, "/"), data(1, 0, &large)]), Either(&[FRAME_SIZE_ERROR])),
        ("4.2: HEADERS too large", frame(HEADERS, WHOLE, 1, &large), Connection(&[FRAME_SIZE_ERROR])),
        ("6.1: DATA on stream 0", data(0, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        ("6.1: DATA with more padding than payload", joined(&[post(1, "/"), data(1, PADDED, &[9, 0])]), Connection(&[PROTOCOL_ERROR])),
        ("6.2: HEADERS on stream 0", get(0, "/"), Connection(&[PROTOCOL_ERROR])),
        ("6.2: HEADERS with more padding than payload", frame(HEADERS, WHOLE | PADDED, 1, &[9, 0]), Connection(&[PROTOCOL_ERROR])),
        ("6.3: PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0; 5]), Connection(&[PROTOCOL_ERROR])),
        ("6.3: PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), Either(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("6.4: RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(&[PROTOCOL_ERROR])),
        ("6.4: RST_STREAM of 3 bytes", joined(&[half_closed(), frame(RST_STREAM, 0, 1, &[0; 3])]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("6.6: PUSH_PROMISE of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]), Connection(&[PROTOCOL_ERROR])),
        ("6.7: PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("6.7: PING of 6 bytes", frame(PING, 0, 0, &[0; 6]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("6.8: GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(&[PROTOCOL_ERROR])),
        ("6.9: WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn settings_have_a_size_a_place_and_values() {
    check(vec![
        ("6.5: an acknowledgement with a payload", frame(SETTINGS, ACK, 0, &[0; 6]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("6.5: SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Connection(&[PROTOCOL_ERROR])),
        ("6.5: SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), Connection(&[FRAME_SIZE_ERROR, PROTOCOL_ERROR])),
        ("6.5.2: ENABLE_PUSH of 2", setting(2, 2), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2: INITIAL_WINDOW_SIZE of 2^31", setting(INITIAL_WINDOW_SIZE, 1 << 31), Connection(&[FLOW_CONTROL_ERROR, PROTOCOL_ERROR])),
        ("6.5.2: MAX_FRAME_SIZE of 16383", setting(5, 16_383), Connection(&[PROTOCOL_ERROR])),
        ("6.5.2: MAX_FRAME_SIZE of 2^24", setting(5, 1 << 24), Connection(&[PROTOCOL_ERROR])),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn windows_grow_by_something_and_not_beyond_their_limit() {
    check(vec![
        ("6.9: the connection's by 0", window_update(0, 0), Connection(&[PROTOCOL_ERROR])),
        ("6.9: a stream's by 0", joined(&[half_closed(), window_update(1, 0)]), Either(&[PROTOCOL_ERROR])),
        ("6.9.1: the connection's to 2^31", joined(&[window_update(0, u32::MAX >> 1), window_update(0, 1)]), Connection(&[FLOW_CONTROL_ERROR])),
        ("6.9.1: a stream's to 2^31", joined(&[half_closed(), window_update(1, u32::MAX >> 1), window_update(1, 1)]), Stream(&[FLOW_CONTROL_ERROR])),
        ("6.9.2: a stream's to 2^31 by a setting", joined(&[half_closed(), window_update(1, u32::MAX >> 1), setting(INITIAL_WINDOW_SIZE, u32::MAX >> 1)]), Either(&[FLOW_CONTROL_ERROR])),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn streams_are_used_in_order_and_in_their_state() {
    let reset = || frame(RST_STREAM, 0, 1, &8u32.to_be_bytes());
    check(vec![
        ("5.1: DATA on an idle stream", data(1, 0, b"x"), Connection(&[PROTOCOL_ERROR])),
        ("5.1: RST_STREAM on an idle stream", reset(), Connection(&[PROTOCOL_ERROR])),
        ("5.1: WINDOW_UPDATE on an idle stream", window_update(1, 1), Connection(&[PROTOCOL_ERROR])),
        ("5.1: DATA when half-closed", joined(&[half_closed(), data(1, 0, b"x")]), Either(&[STREAM_CLOSED, PROTOCOL_ERROR])),
        ("5.1: HEADERS when half-closed", joined(&[half_closed(), half_closed()]), Either(&[STREAM_CLOSED, PROTOCOL_ERROR])),
        ("5.1: DATA after a reset", joined(&[half_closed(), reset(), data(1, 0, b"x")]), Either(&[STREAM_CLOSED, PROTOCOL_ERROR])),
        ("5.1: HEADERS after a reset", joined(&[half_closed(), reset(), half_closed()]), Either(&[STREAM_CLOSED, PROTOCOL_ERROR])),
        ("5.1.1: a stream of even number", get(2, "/"), Connection(&[PROTOCOL_ERROR])),
        ("5.1.1: a stream of lower number", joined(&[get(5, "/"), get(3, "/")]), Connection(&[PROTOCOL_ERROR])),
        ("5.3.1: HEADERS that depend on their stream", {
            let payload = [&[0, 0, 0, 1, 0][..], &super::frames::block(&fields("GET", "/"))].concat();
            frame(HEADERS, WHOLE | PRIORITY_FLAG, 1, &payload)
        }, Either(&[PROTOCOL_ERROR])),
        ("5.3.1: PRIORITY that depends on its stream", joined(&[half_closed(), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])]), Either(&[PROTOCOL_ERROR])),
        ("6.4: a stream that never was is reset", frame(RST_STREAM, 0, 3, &[0; 4]), Connection(&[PROTOCOL_ERROR])),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn a_header_block_is_not_interrupted() {
    let begun = || headers(1, END_STREAM, &fields("GET", "/"));
    check(vec![
        ("6.2: by PRIORITY", joined(&[begun(), frame(PRIORITY, 0, 1, &[0; 5])]), Connection(&[PROTOCOL_ERROR])),
        ("6.2: by HEADERS of another stream", joined(&[begun(), get(3, "/")]), Connection(&[PROTOCOL_ERROR])),
        ("5.5: by a frame of unknown type", joined(&[begun(), frame(0xfa, 0, 0, &[])]), Connection(&[PROTOCOL_ERROR])),
        ("6.10: by CONTINUATION of another stream", joined(&[begun(), frame(CONTINUATION, END_HEADERS, 3, &[])]), Connection(&[PROTOCOL_ERROR])),
        ("6.10: by CONTINUATION on stream 0", joined(&[begun(), frame(CONTINUATION, END_HEADERS, 0, &[])]), Connection(&[PROTOCOL_ERROR])),
        ("6.10: CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &[]), Connection(&[PROTOCOL_ERROR])),
        ("6.10: CONTINUATION behind the end", joined(&[half_closed(), frame(CONTINUATION, END_HEADERS, 1, &[])]), Connection(&[PROTOCOL_ERROR])),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn a_header_block_is_what_hpack_has() {
    let block = |bytes: &[u8]| frame(HEADERS, WHOLE, 1, bytes);
    let errors = &[COMPRESSION_ERROR, PROTOCOL_ERROR];
    check(vec![
        ("RFC 7541, 6.1: index 0", block(&[0x80]), Connection(errors)),
        ("RFC 7541, 2.3.3: an index beyond both tables", block(&[0xff, 0x7f]), Connection(errors)),
        ("RFC 7541, 5.1: an integer that does not end", block(&[0xff; 12]), Connection(errors)),
        ("RFC 7541, 5.2: a string longer than the block", block(&[0, 0x7e, b'a']), Connection(errors)),
        ("RFC 7541, 5.2: padding of zeros", block(&[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84, 0x00, 0x01, b'x']), Connection(errors)),
        ("RFC 7541, 5.2: EOS in a string", block(&[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'x']), Connection(errors)),
        ("RFC 7541, 6.3: a table larger than was allowed", block(&[0x3f, 0xff, 0xff, 0x03]), Connection(errors)),
        ("RFC 7541, 4.2: a table's size behind a field", block(&[0x82, 0x20]), Connection(errors)),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn f38_a_request_that_would_be_another_one_over_http1_is_reset() {
    let sized = |length: &str, frames: Vec<u8>| {
        let fields: Vec<_> =
            fields("POST", "/nothing").into_iter().chain([("content-length", length)]).collect();
        joined(&[headers(1, END_HEADERS, &fields), frames])
    };
    let malformed = Either(&[PROTOCOL_ERROR]);
    check(vec![
        ("8.2.1: a name in upper case", request_with(("X-Upper", "1")), malformed),
        ("8.2.1: a name with a space", request_with(("x y", "1")), malformed),
        ("8.2.1: a name with a line end", request_with(("x\r\ny", "1")), malformed),
        ("8.2.1: a value with CR LF", request_with(("x", "1\r\ntransfer-encoding: chunked")), malformed),
        ("8.2.1: a value with LF", request_with(("x", "1\n2")), malformed),
        ("8.2.1: a value with NUL", request_with(("x", "1\0")), malformed),
        ("8.2.2: connection", request_with(("connection", "keep-alive")), malformed),
        ("8.2.2: transfer-encoding", request_with(("transfer-encoding", "chunked")), malformed),
        ("8.2.2: te other than trailers", request_with(("te", "gzip")), malformed),
        ("8.3: an unknown pseudo-header", request_with((":extra", "1")), malformed),
        ("8.3: a response's pseudo-header", request_with((":status", "200")), malformed),
        ("8.3: a pseudo-header behind a field", {
            let fields = [&[("x", "1")][..], &fields("GET", "/")].concat();
            headers(1, WHOLE, &fields)
        }, malformed),
        ("8.3.1: no method", request_without(":method"), malformed),
        ("8.3.1: no scheme", request_without(":scheme"), malformed),
        ("8.3.1: no path", request_without(":path"), malformed),
        ("8.3.1: an empty path", headers(1, WHOLE, &fields("GET", "")), malformed),
        ("8.3.1: two methods", request_with((":method", "POST")), malformed),
        ("8.3.1: two paths", request_with((":path", "/two")), malformed),
        ("8.3.1: a path with a line end", headers(1, WHOLE, &fields("GET", "/ HTTP/1.1\r\nx: y")), malformed),
        ("8.1: a second HEADERS that ends nothing", joined(&[post(1, "/nothing"), headers(1, END_HEADERS, &[("x", "1")])]), malformed),
        ("8.1.1: more than content-length", sized("1", data(1, END_STREAM, b"two")), malformed),
        ("8.1.1: less than content-length", sized("9", data(1, END_STREAM, b"two")), malformed),
        ("8.1.1: more than content-length, in pieces", sized("4", joined(&[data(1, 0, b"two"), data(1, END_STREAM, b"two")])), malformed),
        ("8.1.1: a content-length without a body", request_with(("content-length", "5")), malformed),
        ("8.1.1: a content-length that is none", request_with(("content-length", "+5")), malformed),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn what_does_no_harm_is_ignored() {
    let gateway = Gateway::start();
    for (name, bytes) in [
        ("4.1: a frame of unknown type", frame(0xfa, 0xff, 0, b"whatever")),
        ("4.1: unknown flags", frame(PING, 0xfe, 0, &[0; 8])),
        ("6.5.2: an unknown setting", setting(0xfafa, 1)),
        ("6.3: PRIORITY of an idle stream", frame(PRIORITY, 0, 7, &[0; 5])),
        ("7: an unknown error code", joined(&[half_closed(), frame(RST_STREAM, 0, 1, &[0xff; 4])])),
        ("6.9: WINDOW_UPDATE after a reset", joined(&[half_closed(), frame(RST_STREAM, 0, 1, &[0; 4]), window_update(1, 1)])),
        // The RFC has it reset; h2 drops the field, and nobody behind sees it.
        ("8.3: a pseudo-header in trailers", joined(&[post(1, "/nothing"), headers(1, WHOLE, &[(":method", "GET")])])),
        ("6.1: DATA with padding", joined(&[post(1, "/nothing"), data(1, PADDED | END_STREAM, &[2, b'x', 0, 0])])),
    ] {
        let mut client = Raw::open(gateway.public);
        client.send(&bytes);
        client.send(&get(3, "/nothing"));
        loop {
            match client.verdict() {
                Verdict::Answer(3, _) => break,
                Verdict::Answer(1, _) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
