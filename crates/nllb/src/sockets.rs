//! Who listens at an address and who is connected to it, by the kernel's tables.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A TCP socket of this network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) local: SocketAddr,
    state: u8,
    /// As whom it was made.
    pub(crate) user: u32,
    pub(crate) inode: u64,
}

/// `TCP_ESTABLISHED`, `TCP_FIN_WAIT1`, `TCP_FIN_WAIT2` and `TCP_CLOSE_WAIT` of the kernel's `tcp_states.h`:
/// bytes may still come, or go.
const CONNECTED: [u8; 4] = [1, 4, 5, 8];
/// `TCP_LISTEN`.
const LISTEN: u8 = 10;

impl Socket {
    pub(crate) fn listens(&self) -> bool {
        self.state == LISTEN
    }

    pub(crate) fn is_connected(&self) -> bool {
        CONNECTED.contains(&self.state)
    }
}

/// The sockets whose own address is one of these.
pub(crate) fn at(addresses: &BTreeSet<SocketAddr>) -> Vec<Socket> {
    // Of the calling thread's namespace. A kernel may be without either.
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let tables = tables.map(|it| fs::read_to_string(it).unwrap_or_default());
    let sockets = tables.iter().flat_map(|it| it.lines()).filter_map(parse);
    sockets.filter(|it| addresses.contains(&it.local)).collect()
}

/// A line of proc(5)'s `/proc/net/tcp`: number, own address, the other's, state, queues, timer,
/// retransmissions, user, probes, inode.
fn parse(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, user, _, inode, ..] = words[..] else { return None };
    Some(Socket {
        local: address(local)?,
        state: u8::from_str_radix(state, 16).ok()?,
        user: user.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// Each four bytes of the address are one number in the machine's own order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok();
    let bytes = |at: usize| word(at).map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(bytes(0)?).into(),
        32 => {
            let mut all = [0; 16];
            for (at, four) in all.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&bytes(at)?);
            }
            Ipv6Addr::from(all).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// From a kernel 6.1 on x86-64.
    #[cfg(target_endian = "little")]
    #[test]
    fn lines_of_the_kernel() {
        let line = "   0: 0100007F:1D13 00000000:0000 0A 00000000:00000000 00:00000000 00000000 65534        0 21482 1 00000000b7d6f1c5 100 0 0 10 0";
        let local = "127.0.0.1:7443".parse().unwrap();
        assert_eq!(parse(line), Some(Socket { local, state: 10, user: 65534, inode: 21482 }));
        let line = "   1: 00000000000000000000000001000000:1BDC 00000000000000000000000001000000:8F2A 01 00000000:00000000 02:000A7B1E 00000000     0        0 99 2 0000000000000000 20 4 30 10 -1";
        let local = "[::1]:7132".parse().unwrap();
        assert_eq!(parse(line), Some(Socket { local, state: 1, user: 0, inode: 99 }));
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(parse(head), None);
    }

    #[test]
    fn a_listener_and_its_connections_are_found() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((ip, 0)) else { continue };
            let address = listener.local_addr().unwrap();
            let seen = || at(&BTreeSet::from([address]));
            let count = |of: fn(&Socket) -> bool| seen().iter().filter(|it| of(it)).count();
            assert_eq!((count(Socket::listens), count(Socket::is_connected)), (1, 0));
            let client = TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            assert_eq!((count(Socket::listens), count(Socket::is_connected)), (1, 1));
            let own = rustix::process::geteuid().as_raw();
            assert!(seen().iter().all(|it| it.user == own && it.inode > 0), "{:?}", seen());
            drop((client, server, listener));
            assert_eq!((count(Socket::listens), count(Socket::is_connected)), (0, 0));
        }
    }
}
