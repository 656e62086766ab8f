//! The PROXY protocol: a load balancer that passes bytes on says first who its client is.

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// What both versions have at least.
const LEAST_BYTES: usize = 15;

/// The longest text of version 1, line end included.
const TEXT_BYTES_MAX: usize = 107;

/// The most that version 2 may have behind its first 16 bytes: addresses, and what balancers add.
const BINARY_BYTES_MAX: usize = 4096;

/// Beginning of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header that a connection begins with, and nothing behind it. The client's address, or
/// `None` where the balancer speaks for itself, to see whether we are there.
///
/// # Errors
/// The connection begins with something else, or breaks off.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut bytes = vec![0; LEAST_BYTES];
    stream.read_exact(&mut bytes).await?;
    if bytes.starts_with(SIGNATURE) {
        read_binary(stream, &mut bytes).await?;
    } else if bytes.starts_with(b"PROXY ") {
        read_text(stream, &mut bytes).await?;
    }
    match HeaderResult::parse(&bytes) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
        HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
            v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
        }),
        HeaderResult::V1(Err(error)) => Err(invalid(error)),
        HeaderResult::V2(Err(error)) => Err(invalid(error)),
    }
}

/// The rest of version 2, whose length is in its first 16 bytes.
async fn read_binary(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.push(stream.read_u8().await?);
    let rest = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if rest > BINARY_BYTES_MAX {
        return Err(invalid("it is too long"));
    }
    let begin = bytes.len();
    bytes.resize(begin + rest, 0);
    stream.read_exact(&mut bytes[begin..]).await?;
    Ok(())
}

/// The rest of version 1, up to its line end. It is looked at before it is taken, since what is behind
/// it is not ours.
async fn read_text(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut seen = [0; TEXT_BYTES_MAX];
    while !bytes.ends_with(b"\n") {
        if bytes.len() >= TEXT_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let room = TEXT_BYTES_MAX - bytes.len();
        let count = stream.peek(&mut seen[..room]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = seen[..count].iter().position(|byte| *byte == b'\n');
        let begin = bytes.len();
        bytes.resize(begin + line.map_or(count, |end| end + 1), 0);
        stream.read_exact(&mut bytes[begin..]).await?;
    }
    Ok(())
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
