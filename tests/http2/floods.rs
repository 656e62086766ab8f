//! Attacks that cost their sender little and a server much: each ends in GOAWAY, in bounded memory, and
//! without the other connections' noticing.

use std::time::Duration;

use super::frames::{
    ACK, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};
use super::raw::{
    CONTINUATION, ENHANCE_YOUR_CALM, PRIORITY, Raw, Verdict, data, fields, get, headers, post,
};
use super::support::{Gateway, pause};

/// What an attack may leave: buffers of one connection, and what the allocator keeps.
const MEMORY_MAX: u64 = 24 << 20;

/// Frames of a flood: many times what is allowed.
const FLOOD: usize = 50_000;

/// Lets `attack` loose on a gateway, and sees it end.
#[track_caller]
fn expect_calmed(attack: impl FnOnce(&mut Raw)) {
    let gateway = Gateway::start();
    let mut healthy = gateway.topic("t").subscribe();
    healthy.expect_hello();
    let before = gateway.rss();
    let mut attacker = Raw::open(gateway.public);
    attack(&mut attacker);
    assert_eq!(attacker.expect_goaway(), ENHANCE_YOUR_CALM);
    attacker.expect_closed();
    gateway.topic("t").publish("as before");
    healthy.expect_data("as before");
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "it grew by {grown} bytes");
}

/// Sends `make` of 1, 3, 5 and so on, in writes of a thousand.
fn flood(attacker: &mut Raw, count: usize, make: impl Fn(u32) -> Vec<u8>) {
    for part in 0..count.div_ceil(1000) {
        let ids = (part * 1000..(part + 1) * 1000).map(|number| 2 * number as u32 + 1);
        attacker.send(&ids.flat_map(&make).collect::<Vec<u8>>());
    }
}

fn reset(id: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id, &8u32.to_be_bytes())
}

#[test]
fn f31_rapid_reset_ends_in_goaway() {
    expect_calmed(|attacker| {
        flood(attacker, FLOOD, |id| [get(id, "/events?topic=t"), reset(id)].concat());
    });
}

#[test]
fn f31_resets_one_by_one_end_in_goaway_too() {
    expect_calmed(|attacker| {
        // Each request has been taken when it is taken back.
        for number in 0..1010 {
            let id = 2 * number + 1;
            attacker.send(&get(id, "/events?topic=t"));
            if attacker.verdict() != Verdict::Answer(id, 0x88) {
                return;
            }
            attacker.send(&reset(id));
        }
    });
}

#[test]
fn f32_resets_that_we_are_made_to_send_end_in_goaway() {
    expect_calmed(|attacker| {
        flood(attacker, FLOOD, |id| {
            let beyond = frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff]);
            [get(id, "/events?topic=t"), beyond].concat()
        });
    });
}

#[test]
fn f33_headers_that_go_on_and_on_end_in_goaway() {
    expect_calmed(|attacker| {
        attacker.send(&headers(1, END_STREAM, &fields("GET", "/")));
        let more = frame(CONTINUATION, 0, 1, &block(&[("x", "y")]));
        attacker.send(&more.repeat(FLOOD));
    });
}

#[test]
fn f34_frames_that_carry_nothing_end_in_goaway() {
    for nothing in [
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, ACK, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 0]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(0xfa, 0, 0, &[]),
    ] {
        expect_calmed(|attacker| attacker.send(&nothing.repeat(FLOOD)));
    }
}

#[test]
fn f34_pings_at_a_client_s_pace_are_answered_for_as_long_as_they_come() {
    let gateway =
        Gateway::builder().env("TIDEGATE__SERVER__HTTP2_CONTROL_FRAMES_MAX", "100").start();
    let mut client = Raw::open(gateway.public);
    client.send(&get(1, "/events?topic=t"));
    assert_eq!(client.verdict(), Verdict::Answer(1, 0x88));
    for _ in 0..50 {
        client.send(&frame(PING, 0, 0, &[0; 8]));
        pause(Duration::from_millis(10));
    }
    client.send(&get(3, "/nothing"));
    assert!(matches!(client.verdict(), Verdict::Answer(3, _)));
    assert_eq!(gateway.metric("tidegate_connections_cut_total", &[]), 0.0);
    client.send(&frame(PING, 0, 0, &[0; 8]).repeat(60));
    assert_eq!(client.expect_goaway(), ENHANCE_YOUR_CALM);
    gateway.expect_metric("tidegate_connections_cut_total", &[("reason", "flood")], 1.0);
}

#[test]
fn f35_data_without_data_ends_in_goaway() {
    expect_calmed(|attacker| {
        attacker.send(&post(1, "/nothing"));
        attacker.send(&data(1, 0, b"").repeat(FLOOD));
    });
    expect_calmed(|attacker| {
        attacker.send(&post(1, "/nothing"));
        attacker.send(&data(1, 0, b"x").repeat(FLOOD));
    });
}

/// A value that goes into the header table, and `references` to it of one byte each.
fn bomb(id: u32, references: usize) -> Vec<u8> {
    let mut bytes = block(&fields("GET", "/events?topic=t"));
    bytes.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]); // 4,000 bytes in a string: 127 + 3,873.
    bytes.extend([b'v'; 4000]);
    bytes.extend(vec![0xbe; references]); // RFC 7541, 6.1: the newest of the dynamic table, 62.
    frame(HEADERS, END_HEADERS | END_STREAM, id, &bytes)
}

#[test]
fn f36_a_head_that_unpacks_to_megabytes_ends_in_goaway() {
    expect_calmed(|attacker| attacker.send(&bomb(1, 12_000)));
}

#[test]
fn f36_heads_just_below_the_bound_take_bounded_memory() {
    let gateway = Gateway::start();
    let before = gateway.rss();
    let mut attacker = Raw::open(gateway.public);
    // No window, so that every stream stays.
    attacker.send(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    flood(&mut attacker, 1000, |id| if id < 500 { bomb(id, 14) } else { Vec::new() });
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], 250.0);
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "it grew by {grown} bytes");
}

#[test]
fn f36_a_head_of_too_many_fields_or_bytes_is_a_431() {
    let gateway = Gateway::start();
    let mut client = Raw::open(gateway.public);
    let many: Vec<_> = fields("GET", "/nothing").into_iter().chain([("x", ""); 101]).collect();
    client.send(&headers(1, END_HEADERS | END_STREAM, &many));
    let Verdict::Answer(1, many) = client.verdict() else { panic!("no answer") };
    client.send(&bomb(3, 17));
    let Verdict::Answer(3, large) = client.verdict() else { panic!("no answer") };
    // RFC 7541, 6.2.1: a status that is not in the static table, as 200, 400 and 404 are, and that goes
    // into the dynamic one.
    assert_eq!(many, 0x48);
    assert!(large > 0xbd, "the same again: {large:#x}");
    client.send(&get(5, "/nothing"));
    assert_eq!(client.verdict(), Verdict::Answer(5, 0x8d));
}
