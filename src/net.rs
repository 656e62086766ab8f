//! Sockets: listeners that shards share by SO_REUSEPORT, and the options of a stream's socket.

mod exec;
pub mod proxy_protocol;
mod transport;

pub use exec::LocalExec;
pub use transport::{Tally, Transport};

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use http::HeaderValue;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Options that accepted sockets inherit from their listener, so that they cost no system call a
/// connection.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Connections the kernel queues before accept.
    pub backlog: u32,
    /// How long sent bytes may stay unacknowledged before the connection is given up.
    pub user_timeout: Duration,
    /// Idle time before keep-alive probes.
    pub keepalive: Duration,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The address without its port, as app servers are told of it.
    pub ip_text: HeaderValue,
    /// How it speaks to us.
    pub scheme: Scheme,
}

impl Peer {
    /// The peer of a connection from `address`.
    pub fn new(address: SocketAddr, scheme: Scheme) -> Self {
        let ip_text = address.ip().to_canonical().to_string();
        let ip_text = ip_text.try_into().expect("an address is visible ASCII");
        Self { address, ip_text, scheme }
    }
}

/// How a client speaks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

/// Unsent bytes in the kernel above which a socket is not writable. What is stale must wait in the
/// ring, where it can be dropped, and not in the kernel.
const NOTSENT_LOWAT_BYTES: u32 = 16 * 1024;

/// Time between keep-alive probes, of which the kernel's own is 75 s: it looks whether the user timeout
/// is over only when it sends one.
const KEEPALIVE_INTERVAL_MAX: Duration = Duration::from_secs(10);

/// Opens `count` listening sockets on one address: the kernel spreads connections over them. Fails
/// when another process listens there already, which SO_REUSEPORT alone would hide. Port 0 takes a
/// free port, the same for all.
pub fn listen(
    address: SocketAddr,
    count: usize,
    options: &SocketOptions,
) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        let probe = socket(address)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
    }
    let mut listeners = Vec::with_capacity(count);
    let mut address = address;
    for _ in 0..count {
        let listener = listen_one(address, options)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn listen_one(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    let interval = options.keepalive.min(KEEPALIVE_INTERVAL_MAX);
    let keepalive = TcpKeepalive::new().with_time(options.keepalive).with_interval(interval);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Accepts a connection that is there already. The runtime would first wait to be told of it.
pub fn accept_now(listener: &impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    let (socket, address) = SockRef::from(listener).accept()?;
    socket.set_nonblocking(true)?;
    let address = address.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok((socket.into(), address))
}

/// Bounds what the kernel holds for a stream.
pub fn bound_send_buffer(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    SockRef::from(stream).set_send_buffer_size(bytes)
}

#[cfg(test)]
mod tests {
    //! Sharing a port with oneself, and not with anybody else.

    use super::*;

    const OPTIONS: SocketOptions = SocketOptions {
        backlog: 16,
        user_timeout: Duration::from_secs(60),
        keepalive: Duration::from_secs(60),
    };

    #[test]
    fn listeners_share_one_port_and_refuse_a_second_owner() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = listen(any, 3, &OPTIONS).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap() == address));
        let error = listen(address, 1, &OPTIONS).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn accepted_sockets_inherit_the_options() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen(any, 1, &OPTIONS).unwrap().remove(0);
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let socket = SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(OPTIONS.user_timeout));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT_BYTES);
        bound_send_buffer(&accepted, 32 * 1024).unwrap();
        assert_eq!(socket.send_buffer_size().unwrap(), 64 * 1024, "the kernel doubles it");
    }
}
