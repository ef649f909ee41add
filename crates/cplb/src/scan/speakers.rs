//! Who was heard, made of packets one by one. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use vrrp::{Advertisement, Authentication, Checksum, Version};

#[cfg(test)]
mod tests;

/// Somebody who speaks for a virtual router.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Speaker {
    pub(crate) interface: String,
    pub(crate) source: IpAddr,
    pub(crate) virtual_router_id: u8,
    /// The group, or an address of this host.
    pub(crate) destination: IpAddr,
    /// 255 unless a router was in between.
    pub(crate) hop_limit: u8,
    pub(crate) packets: u64,
    /// The mean time between two packets; none after one packet.
    #[serde(rename = "interval_measured_ms", serialize_with = "milliseconds")]
    pub(crate) interval: Option<Duration>,
    /// What it said last, or why that cannot be read.
    #[serde(flatten)]
    pub(crate) said: Said,
    #[serde(skip)]
    first: Duration,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    /// An advertisement.
    Advertisement(#[serde(serialize_with = "advertisement")] Advertisement, Form),
    /// Something that no router can take.
    Unreadable(String),
}

/// How the checksum was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// There is only one for this version and family.
    Only,
    /// VRRPv3 over IPv4 as keepalived does it.
    PseudoHeader,
    /// VRRPv3 over IPv4 as RFC 9568 has it.
    MessageOnly,
}

/// A packet with its surroundings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) interface: &'a str,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    pub(crate) payload: &'a [u8],
}
