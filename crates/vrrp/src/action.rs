use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Advertisement, Instant};

/// Something the virtual router wants done, now and in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send this to the group, or to each unicast peer.
    Advertise(Advertisement),
    /// Put the virtual addresses on the interface.
    Hold,
    /// Tell the neighbours where the virtual addresses are now (gratuitous ARP, unsolicited NA).
    Announce,
    /// Take the virtual addresses off the interface; connections to them end.
    Release,
    /// The state changed: for the log, the status and whoever listens.
    Transition(Transition),
}

/// The state of a virtual router (RFC 9568 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Not taking part: not started, left, or without its interface.
    Initialize,
    /// Watching the Active router.
    Backup,
    /// Holding the addresses.
    Active,
}

impl State {
    /// The name of the RFC.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        }
    }
}

/// A change of state and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// When.
    pub at: Instant,
    /// The state left.
    pub from: State,
    /// The state entered.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// Why the state changed. The text is what log and status show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Reason {
    /// Started: listens for one down interval before it claims anything.
    #[error("started, listening first")]
    Started,
    /// Priority 255: the addresses are this node's own.
    #[error("started as the owner of the addresses")]
    Owner,
    /// Nobody was heard since the start.
    #[error("no other router heard for {0:.1?}")]
    NobodyHeard(Duration),
    /// The Active router went silent.
    #[error("no advertisement from {address} for {silence:.1?}")]
    ActiveSilent {
        /// Who was Active.
        address: IpAddr,
        /// Since when it is silent.
        silence: Duration,
    },
    /// The Active router said that it leaves.
    #[error("{0} left (priority 0)")]
    ActiveLeft(IpAddr),
    /// The Active router has a lower priority: it hands over, is not ready, or never was better.
    #[error("{address} has priority {theirs}, ours is {ours}")]
    LowerPriority {
        /// Who was Active.
        address: IpAddr,
        /// Its priority.
        theirs: u8,
        /// Ours at that time.
        ours: u8,
    },
    /// Another router advertises a higher priority.
    #[error("{address} took over with priority {theirs}, ours is {ours}")]
    HigherPriority {
        /// The other router.
        address: IpAddr,
        /// Its priority.
        theirs: u8,
        /// Ours at that time.
        ours: u8,
    },
    /// Another router of equal priority has the higher address, which decides (RFC 9568 6.4.3).
    #[error("{0} has the same priority and the higher address")]
    HigherAddress(IpAddr),
    /// Another router owns the addresses too, and has the higher address.
    #[error(
        "{0} is configured as the owner (priority 255) too: this node goes on with 254, leave 255 to one of them"
    )]
    TwoOwners(IpAddr),
    /// The process was not running for so long that somebody else must hold the addresses.
    #[error("was not running for {0:.1?}, another router may be Active")]
    Overslept(Duration),
    /// The planned hand-over ended: the heir was heard.
    #[error("handed over to {0}")]
    HandedOver(IpAddr),
    /// The planned hand-over ended without an heir.
    #[error("leaving, nobody took over in time")]
    NoHeir,
    /// Stopped at once.
    #[error("stopped")]
    Stopped,
    /// Bound to a router of another family, whose state it is.
    #[error("goes with its leader, which is {}", .0.name())]
    Follows(State),
    /// The interface went down or lost its address.
    #[error("interface down")]
    LinkDown,
}
