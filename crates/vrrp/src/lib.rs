//! The Virtual Router Redundancy Protocol: wire format and state machine, in virtual time.
//!
//! This crate knows no sockets, no clock and no threads. [`VirtualRouter`] is driven from outside:
//! the time is a parameter of every call, what it wants done is pulled with
//! [`VirtualRouter::poll_action`], and [`VirtualRouter::next_deadline`] says when to call
//! [`VirtualRouter::handle_timeout`].
//!
//! ```text
//!   datagram, timeout, readiness,             Advertise, Hold, Release,
//!   tracking, link, hand-over,  ──▶ VirtualRouter ──▶ Announce, Transition
//!   peers                           │      ▲
//!                                   ▼      │ parse / emit
//!                                  packet::Advertisement
//! ```
//!
//! Versions 2 (RFC 3768, with keepalived's PASS authentication) and 3 (RFC 9568) are spoken, the
//! latter over IPv4 and IPv6.

mod action;
mod counters;
mod drop_reason;
mod foreign;
pub mod packet;
mod peers;
mod router;
mod settings;
mod time;

pub use action::{Action, Reason, State, Transition};
pub use counters::Counters;
pub use drop_reason::DropReason;
pub use foreign::{Difference, Foreign};
pub use packet::{Advertisement, Authentication, Checksum, Version};
pub use peers::{Peer, Peers};
pub use router::{Datagram, Estate, Lead, Outlook, VirtualRouter};
pub use settings::{ChecksumChoice, Settings, SettingsError};
pub use time::Instant;

/// The IP protocol number of VRRP (RFC 9568 section 5.1.1.4).
pub const PROTOCOL: u8 = 112;

/// The TTL or hop limit every advertisement must carry (RFC 9568 section 5.1.1.3).
pub const HOP_LIMIT: u8 = 255;
