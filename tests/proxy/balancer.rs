//! Behind a load balancer that passes bytes on: who its client is, by the PROXY protocol.

use std::time::Duration;

use crate::OK;
use crate::support::{Connection, Deadline, Gateway, Origin, Received};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Version 2 with a command, a family, and what follows its length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, rest].concat()
}

fn behind_a_balancer(origin: &Origin, trusted: &str) -> Gateway {
    Gateway::builder()
        .config(&format!(
            "[server]\nproxy_protocol = true\nheader_timeout = '1s'\n\
             [proxy]\nupstream = '{}'\ntrusted = ['{trusted}']\n",
            origin.url()
        ))
        .start()
}

#[test]
fn the_balancers_client_is_whom_servers_are_told_of() {
    let origin = Origin::listen();
    let gateway = behind_a_balancer(&origin, "127.0.0.1");
    let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x30, 0x39, 0, 80];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    let with_extras = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
    for (header, client) in [
        (b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 80\r\n".to_vec(), "203.0.113.9"),
        (b"PROXY TCP6 2001:db8::7 ::1 12345 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(1, 0x11, &v4), "203.0.113.9"),
        (binary(1, 0x21, &v6), "2001:db8::7"),
        (binary(1, 0x11, &with_extras), "203.0.113.9"),
        (binary(0, 0, &[]), "127.0.0.1"),
    ] {
        let whole = [&header, REQUEST].concat();
        for parts in [vec![&whole[..]], whole.chunks(1).collect(), whole.chunks(17).collect()] {
            let mut balancer = gateway.connect_public();
            parts.into_iter().for_each(|part| balancer.send(part));
            let (request, _server) = origin.answer(OK);
            assert_eq!(request.header("x-forwarded-for"), Some(client));
            balancer.read_response("GET").expect_status(200);
        }
    }
}

#[test]
fn who_says_nothing_or_nonsense_about_its_client_is_closed() {
    let origin = Origin::listen();
    let gateway = behind_a_balancer(&origin, "127.0.0.1");
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
    for header in [
        &b""[..],
        b"PROXY TCP4 203.0.113.9\r\n",
        b"PROXY TCP9 a b 1 2\r\n",
        long.as_bytes(),
        &binary(1, 0x11, &[1, 2, 3]),
        &binary(1, 0x11, &vec![0; 5000]),
    ] {
        let mut client = gateway.connect_public();
        client.send(&[header, REQUEST].concat());
        expect_nothing_but_a_close(&mut client);
    }
    let mut silent = gateway.connect_public();
    silent.send(b"PROXY TCP4 203.0.113.9");
    expect_nothing_but_a_close(&mut silent);
    assert!(origin.accept_within(Deadline::after(Duration::from_millis(100))).is_none());
}

#[test]
fn f28_only_a_trusted_balancer_is_believed() {
    let origin = Origin::listen();
    let gateway = behind_a_balancer(&origin, "10.0.0.0/8");
    let mut stranger = gateway.connect_public();
    stranger.send(&[&b"PROXY TCP4 203.0.113.9 10.0.0.1 12345 80\r\n"[..], REQUEST].concat());
    expect_nothing_but_a_close(&mut stranger);
}

#[track_caller]
fn expect_nothing_but_a_close(client: &mut Connection) {
    let received = client.receive(Deadline::patient());
    assert!(matches!(received, Received::Closed | Received::Reset), "{received:?}");
}
