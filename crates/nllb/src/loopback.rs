//! Where a balancer can listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// The loopback addresses of this machine: `127.0.0.1`, `::1`, or both. A kernel may be without
/// either.
pub fn loopbacks() -> Vec<IpAddr> {
    let both = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    both.into_iter().filter(|ip| TcpListener::bind((*ip, 0)).is_ok()).collect()
}
