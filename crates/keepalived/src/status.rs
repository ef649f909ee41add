use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use kernel::address::VirtualAddress;
use kernel::link::{self, Selector};
use kernel::netlink::{Protocol, Socket};
use vrrp::State;

use crate::outline::Outline;

/// What keepalived does at this moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// One entry per VRRP instance of keepalived.
    pub instances: Vec<InstanceStatus>,
    /// keepalived's process, while it runs.
    pub process: Option<u32>,
    /// keepalived's version, "2.2.7".
    pub version: String,
    /// How often it had to be started again.
    pub restarts: u32,
}

/// What one VRRP instance does.
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
    /// The address it speaks from, as far as it is known.
    pub source: Option<IpAddr>,
    /// Its state; a fault is [`State::Initialize`].
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The priority advertised at this moment, and the configured one.
    pub priority: (u8, u8),
    /// Whether this node is ready to serve.
    pub ready: bool,
    /// Whether a hand-over is under way.
    pub leaving: bool,
    /// The virtual addresses.
    pub addresses: Vec<VirtualAddress>,
    /// How often it changed its state.
    pub transition_count: u64,
    /// How often it became Active.
    pub became_active: u64,
    /// The last transitions, oldest first.
    pub transitions: Vec<PastTransition>,
}

/// A transition with the wall clock's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastTransition {
    /// When, for people.
    pub time: SystemTime,
    /// From, to and why.
    pub transition: Transition,
}

/// A change of state and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state left.
    pub from: State,
    /// The state entered.
    pub to: State,
    /// Why, as far as keepalived's log tells.
    pub reason: String,
}

/// Kept of each instance.
const TRANSITIONS: usize = 16;

impl Status {
    /// Whether any of the addresses is here.
    pub fn holds(&self) -> bool {
        self.instances.iter().any(|instance| instance.state == State::Active)
    }

    /// Whether this address is here.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let active = self.instances.iter().filter(|instance| instance.state == State::Active);
        active.flat_map(|instance| &instance.addresses).any(|it| it.address == address)
    }

    /// Looks for the addresses that keepalived speaks from, where it was given none: the first on
    /// the interface that is not virtual, over IPv6 the link-local one (RFC 9568 section 5.1.2.1).
    pub(crate) fn find_sources(&mut self) {
        for instance in self.instances.iter_mut().filter(|it| it.source.is_none()) {
            // Only for people: an interface that is gone has none.
            instance.source = source(&instance.interface, &instance.addresses).unwrap_or(None);
        }
    }

    /// The instances of another configuration; of those that stay, the state does too.
    pub(crate) fn follow(&mut self, outlines: &[Outline]) {
        let before = std::mem::take(&mut self.instances);
        self.instances = outlines.iter().map(InstanceStatus::new).collect();
        for instance in &mut self.instances {
            if let Some(old) = before.iter().find(|old| old.name == instance.name) {
                instance.state = old.state;
                instance.since = old.since;
                instance.transition_count = old.transition_count;
                instance.became_active = old.became_active;
                instance.transitions.clone_from(&old.transitions);
            }
        }
    }
}

fn source(
    interface: &str,
    virtual_addresses: &[VirtualAddress],
) -> Result<Option<IpAddr>, kernel::Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let link = link::find(&mut socket, &Selector::Name(interface.to_owned()))?;
    let over_ipv6 = virtual_addresses.first().is_some_and(|it| it.address.is_ipv6());
    let speaks = |address: &IpAddr| match address {
        IpAddr::V4(_) => !over_ipv6,
        IpAddr::V6(address) => over_ipv6 && address.is_unicast_link_local(),
    };
    let found = link::addresses(&mut socket, link.index)?;
    let own = found.iter().filter(|found| !found.secondary).map(|found| found.address);
    let is_virtual = |address| virtual_addresses.iter().any(|it| it.address == address);
    Ok(own.filter(speaks).find(|address| !is_virtual(*address)))
}

impl InstanceStatus {
    pub(crate) fn new(outline: &Outline) -> Self {
        Self {
            name: outline.name.clone(),
            interface: outline.interface.clone(),
            virtual_router_id: outline.virtual_router_id,
            version: outline.version,
            source: outline.source,
            state: State::Initialize,
            since: Instant::now(),
            priority: (outline.priority, outline.priority),
            ready: false,
            leaving: false,
            addresses: outline.addresses.clone(),
            transition_count: 0,
            became_active: 0,
            transitions: Vec::new(),
        }
    }

    /// Enters another state; `None` when it is in that state already.
    pub(crate) fn enter(&mut self, to: State, reason: String) -> Option<Transition> {
        if self.state == to {
            return None;
        }
        let transition = Transition { from: self.state, to, reason };
        self.state = to;
        self.since = Instant::now();
        self.transition_count += 1;
        self.became_active += u64::from(to == State::Active);
        if self.transitions.len() == TRANSITIONS {
            self.transitions.remove(0);
        }
        let time = SystemTime::now();
        self.transitions.push(PastTransition { time, transition: transition.clone() });
        Some(transition)
    }
}

#[cfg(test)]
mod tests;
