//! IPVS services.

use std::net::IpAddr;
use std::time::Duration;

/// One entry of `virtualServers`: an IPVS service on a virtual IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// One of the virtual IPs.
    pub ip_address: IpAddr,
    /// Time between health checks, whole microseconds, above zero; 1 minute unless given.
    pub delay_loop: Duration,
    /// How a backend is chosen.
    pub lb_algo: LbAlgo,
    /// How packets reach the backend.
    pub lb_kind: LbKind,
    /// How long a client stays with its backend, whole seconds, 1 s to 31 days; 360 s unless given.
    pub persistence_timeout: Duration,
}

/// IPVS schedulers, named as in ipvsadm(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LbAlgo {
    /// Round robin.
    #[default]
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Locality-based least connections.
    Lblc,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// Maglev hashing; k0s does not know it.
    Mh,
}

impl LbAlgo {
    /// The scheduler's name in the document, in keepalived and in the kernel.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
        }
    }
}

/// IPVS forwarding methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LbKind {
    /// Masquerading.
    Nat,
    /// Direct routing.
    #[default]
    Dr,
    /// IP-in-IP tunnel.
    Tun,
}

impl LbKind {
    /// The method's name in the document and in keepalived.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nat => "NAT",
            Self::Dr => "DR",
            Self::Tun => "TUN",
        }
    }
}
