//! Ports for servers that cannot be asked where they listen, as nginx. Who can listen on port 0 and say
//! which it was needs none of this.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what the kernel takes for connections and for port 0. A port of its own range could be taken
/// before the server has it, and a connection to it, made before the server listens, can even meet itself.
const FIRST: u16 = 20_000;
const PORTS: u16 = 12_000;

/// An address that nobody listens on now, another one at each call.
#[track_caller]
pub fn free_address() -> SocketAddr {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    // Processes of tests that run beside each other begin at different places.
    let begin = (std::process::id() % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (begin + call) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS} is free");
}
