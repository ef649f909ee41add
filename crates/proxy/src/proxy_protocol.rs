//! The PROXY protocol, to tell a backend who its client is
//! (`doc/proxy-protocol.txt` of HAProxy, by its section numbers).

use std::net::SocketAddr;

use rustix::fd::AsFd;

use crate::socket::{original_destination, source};

/// A version of the PROXY protocol: a header before the client's first byte that names the client
/// and the address it connected to, before any redirection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// A line of text (2.1).
    V1,
    /// Binary (2.2).
    V2,
}

/// What a binary header begins with (2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, command PROXY (2.2).
const VERSION_AND_COMMAND: u8 = 0x21;

/// Address family and transport protocol: TCP over IPv4 and over IPv6 (2.2).
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// What a binary header of unknown addresses has instead: no family, no protocol (2.2).
const UNSPECIFIED: u8 = 0x00;

impl ProxyProtocol {
    /// The header for this client. None once it has gone.
    pub(crate) fn header_of(self, client: impl AsFd) -> Option<Vec<u8>> {
        let client = client.as_fd();
        Some(self.header(source(client)?, original_destination(client)?))
    }

    /// The header for a client of `source` that connected to `destination`.
    pub(crate) fn header(self, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
        match self {
            Self::V1 => text(source, destination).into_bytes(),
            Self::V2 => binary(source, destination),
        }
    }
}

fn text(source: SocketAddr, destination: SocketAddr) -> String {
    let family = match (source, destination) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

fn binary(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut addresses = Vec::with_capacity(36);
    let family = match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            addresses.extend(source.ip().octets());
            addresses.extend(destination.ip().octets());
            TCP_OVER_IPV4
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            addresses.extend(source.ip().octets());
            addresses.extend(destination.ip().octets());
            TCP_OVER_IPV6
        }
        _ => UNSPECIFIED,
    };
    if family != UNSPECIFIED {
        addresses.extend(source.port().to_be_bytes());
        addresses.extend(destination.port().to_be_bytes());
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION_AND_COMMAND, family]);
    // 36 at most.
    header.extend((addresses.len() as u16).to_be_bytes());
    header.extend(addresses);
    header
}

#[cfg(test)]
mod tests;
