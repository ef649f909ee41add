//! What is to be balanced, and how.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use kernel::ipvs::Forwarding;

/// What is the same on every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The services, each on an address of its own.
    pub virtual_servers: Vec<VirtualServer>,
    /// Whether the services are made here. Else only what every node needs is: somebody else, such
    /// as a keepalived, makes them.
    pub services: bool,
    /// The interfaces that the virtual addresses come to by VRRP.
    pub interfaces: Vec<String>,
    /// How long a real server that failed or left keeps its connections; it gets no new ones.
    pub drain: Duration,
    /// Where it is kept what has to be undone, until it is: a file in a directory that need not
    /// outlive a reboot.
    pub state_file: PathBuf,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// The virtual address and the port of the apiservers.
    pub address: SocketAddr,
    /// How a real server is chosen.
    pub scheduler: Scheduler,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// How long a client stays with its real server after its last connection, in whole seconds;
    /// `None` for not at all.
    pub persistence: Option<Duration>,
}

/// How a real server is chosen, see ipvsadm(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduler {
    /// Round robin.
    #[default]
    RoundRobin,
    /// Weighted round robin.
    WeightedRoundRobin,
    /// Least connections.
    LeastConnection,
    /// Weighted least connections.
    WeightedLeastConnection,
    /// Locality-based least connections.
    LocalityBased,
    /// Destination hashing.
    DestinationHashing,
    /// Source hashing.
    SourceHashing,
    /// Shortest expected delay.
    ShortestExpectedDelay,
    /// Never queue.
    NeverQueue,
    /// Maglev hashing.
    MaglevHashing,
}

impl Settings {
    /// The virtual addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.virtual_servers.iter().map(|server| server.address.ip())
    }
}

impl Scheduler {
    /// Every scheduler.
    pub const ALL: [Self; 10] = [
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnection,
        Self::WeightedLeastConnection,
        Self::LocalityBased,
        Self::DestinationHashing,
        Self::SourceHashing,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::MaglevHashing,
    ];

    /// Its name in the kernel, in keepalived.conf(5) and in k0s.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnection => "lc",
            Self::WeightedLeastConnection => "wlc",
            Self::LocalityBased => "lblc",
            Self::DestinationHashing => "dh",
            Self::SourceHashing => "sh",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::MaglevHashing => "mh",
        }
    }

    /// Whether it chooses by the addresses of the connection alone, so that every director with
    /// the same real servers chooses alike.
    pub fn hashes(self) -> bool {
        matches!(self, Self::DestinationHashing | Self::SourceHashing | Self::MaglevHashing)
    }

    /// Whether it can pass over a real server of weight 0. Destination hashing refuses the
    /// connection instead, and has no option for it.
    pub(crate) fn passes_over(self) -> bool {
        self != Self::DestinationHashing
    }

    /// Whether passing over takes the option [`FALLBACK`](kernel::ipvs::FALLBACK).
    pub(crate) fn wants_fallback(self) -> bool {
        matches!(self, Self::SourceHashing | Self::MaglevHashing)
    }
}
