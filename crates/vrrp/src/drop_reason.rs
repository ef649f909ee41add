use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// Why a received packet was not taken.
///
/// The text is the log line and says what to change; [`DropReason::label`] is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum DropReason {
    /// The length does not fit the count of addresses.
    #[error(
        "{0} bytes do not fit the packet's count of addresses: no VRRP router sends that, find out who does"
    )]
    Length(usize),
    /// Neither version 2 nor 3.
    #[error("VRRP version {0} is unknown: set version 2 or 3 on that router")]
    UnknownVersion(u8),
    /// Not an advertisement.
    #[error(
        "VRRP packet type {0} is unknown, only advertisements (1) exist: no VRRP router sends that, find out who does"
    )]
    Type(u8),
    /// The checksum is wrong in every known form.
    #[error(
        "wrong checksum: damaged on the way, which a capture on both ends would show, or of a router with yet another dialect: set it to the checksum of RFC 9568"
    )]
    Checksum,
    /// The interval is 0, so that no time of silence could be told from life.
    #[error("advertisement interval 0: give that router an interval")]
    NoInterval,
    /// An authentication type that is not in use.
    #[error("authentication type {0} is not supported: use PASS or none on that router")]
    AuthenticationType(u8),
    /// Passed a router, or was forged from afar (RFC 9568 section 7.1).
    #[error(
        "TTL {0} instead of 255: the packet did not come from this network segment: put all nodes on one, or use unicastPeers"
    )]
    HopLimit(u8),
    /// Another virtual router's packet.
    #[error(
        "virtual router {0} is another one: set the same virtualRouterID if it is of this cluster"
    )]
    OtherRouter(u8),
    /// Our own packet came back.
    #[error(
        "our own packet came back: find the loop in the network, or the host that uses our address too"
    )]
    Own,
    /// The other version of the protocol.
    #[error("VRRP version {theirs} where version {ours} is configured: set the same on every node")]
    Version {
        /// The version in the packet.
        theirs: u8,
        /// The version configured here.
        ours: u8,
    },
    /// Another kind of authentication.
    #[error("authentication type {theirs} where {ours} is configured: set the same on every node")]
    Authentication {
        /// The type in the packet.
        theirs: u8,
        /// The type configured here.
        ours: u8,
    },
    /// Another password.
    #[error(
        "wrong password: give another cluster another virtualRouterID, a node of this cluster the same authPass"
    )]
    Password,
    /// Version 2 requires the same interval everywhere (RFC 3768 section 7.1).
    #[error(
        "advertisement interval {theirs:?} where {ours:?} is configured: set the same on every node, two would hold the address"
    )]
    Interval {
        /// The interval in the packet.
        theirs: Duration,
        /// The interval configured here.
        ours: Duration,
    },
    /// Sent to the group where unicast peers are configured, or the other way round.
    #[error(
        "sent to {0}, but this node is configured otherwise: use unicastPeers on all nodes or on none"
    )]
    Destination(IpAddr),
    /// A unicast packet from an address that is no peer.
    #[error("{0} is not among unicastPeers: add it, or find out who it is")]
    NoPeer(IpAddr),
    /// The router is not running.
    #[error(
        "this virtual router is not running: wait until it has started and its interface is up"
    )]
    NotRunning,
}

impl DropReason {
    /// A short name for the reason, without its values.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Length(_) => "length",
            Self::UnknownVersion(_) => "unknown_version",
            Self::Type(_) => "type",
            Self::Checksum => "checksum",
            Self::NoInterval => "no_interval",
            Self::AuthenticationType(_) => "authentication_type",
            Self::HopLimit(_) => "ttl",
            Self::OtherRouter(_) => "other_router",
            Self::Own => "own",
            Self::Version { .. } => "version",
            Self::Authentication { .. } => "authentication",
            Self::Password => "password",
            Self::Interval { .. } => "interval",
            Self::Destination(_) => "destination",
            Self::NoPeer(_) => "no_peer",
            Self::NotRunning => "not_running",
        }
    }
}
