use std::net::IpAddr;
use std::time::SystemTime;

use kernel::address::VirtualAddress;
use vrrp::{Checksum, Counters, Foreign, Instant, Peer, State, Transition};

/// What the speaker does at this moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// One entry per virtual router.
    pub instances: Vec<InstanceStatus>,
    /// Whether the thread has real-time priority.
    pub realtime: bool,
    /// Whether the service behind the addresses proves alive.
    pub service_alive: bool,
}

/// What one virtual router does.
#[derive(Clone, Debug)]
pub struct InstanceStatus {
    /// The instance's name.
    pub name: String,
    /// The interface's name.
    pub interface: String,
    /// The virtual router identifier.
    pub virtual_router_id: u8,
    /// The protocol version, 2 or 3.
    pub version: u8,
    /// The address it speaks from.
    pub source: IpAddr,
    /// Its state.
    pub state: State,
    /// Since when, on [`crate::now`]'s clock.
    pub since: Instant,
    /// The priority advertised at this moment, and the configured one.
    pub priority: (u8, u8),
    /// Whether this node is ready to serve.
    pub ready: bool,
    /// Whether a hand-over is under way.
    pub leaving: bool,
    /// The virtual addresses.
    pub addresses: Vec<VirtualAddress>,
    /// The router of this node that it is bound to and moves with, by the address that speaks.
    pub follows: Option<IpAddr>,
    /// The Active router it watches as a Backup.
    pub active_router: Option<(IpAddr, Peer)>,
    /// Every router heard.
    pub peers: Vec<(IpAddr, Peer)>,
    /// Routers heard on this virtual router identifier that seem to be none of ours.
    pub foreign: Vec<(IpAddr, Foreign)>,
    /// The checksum it sends at this moment, which matters to version 3 over IPv4 alone.
    pub checksum: Checksum,
    /// The protocol's counters.
    pub counters: Counters,
    /// The last transitions, oldest first.
    pub transitions: Vec<PastTransition>,
}

/// A transition with the wall clock's time.
#[derive(Clone, Copy, Debug)]
pub struct PastTransition {
    /// When, for people.
    pub time: SystemTime,
    /// From, to and why.
    pub transition: Transition,
}
