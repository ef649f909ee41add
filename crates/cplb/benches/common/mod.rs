//! What the benchmarks share: the two speakers under test on the hosts of a lab, and who listens to them.

#![allow(dead_code, reason = "every benchmark uses a part")]

pub(crate) mod adverts;
pub(crate) mod error;
pub(crate) mod interrupt;
pub(crate) mod keepalived;
pub(crate) mod pace;
pub(crate) mod span;
pub(crate) mod speaker;
pub(crate) mod surroundings;

use std::net::Ipv4Addr;

/// The virtual IP. The nodes have .11, .12 and .13 beside it.
pub(crate) const VIRTUAL_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

/// The nodes of a cluster.
pub(crate) const NODES: usize = 3;

/// Asks for real-time priority, below cplb's own: other work on this machine is nothing that the
/// speakers did. An ordinary user measures with more noise.
pub(crate) fn run_in_time() {
    let _refused = kernel::process::realtime(1);
}
