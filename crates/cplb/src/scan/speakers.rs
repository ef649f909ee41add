//! Who was heard, made of packets one by one. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vrrp::{Advertisement, Checksum, DropReason};

#[cfg(test)]
mod tests;

/// More speakers than any segment has; a forger must not make the list grow for ever.
const MOST_SPEAKERS: usize = 1_024;

/// Everybody heard so far.
#[derive(Debug, Default)]
pub(crate) struct Speakers(BTreeMap<(String, u8, IpAddr), Speaker>);

/// Somebody who speaks for a virtual router.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Speaker {
    pub(crate) interface: String,
    pub(crate) virtual_router_id: u8,
    pub(crate) source: IpAddr,
    /// The group, or an address of this host.
    pub(crate) destination: IpAddr,
    /// 255 unless a router was in between.
    pub(crate) hop_limit: u8,
    /// What it said last, or why nobody can read it.
    pub(crate) said: Result<(Advertisement, Checksum), DropReason>,
    pub(crate) packets: u64,
    /// When the first and the last packet came, since listening began.
    first: Duration,
    last: Duration,
}

/// A packet and where it was met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) interface: &'a str,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) hop_limit: u8,
    /// The VRRP message.
    pub(crate) message: &'a [u8],
}

impl Speakers {
    /// Takes a packet that came `at` this time since listening began.
    pub(crate) fn hear(&mut self, at: Duration, packet: Packet<'_>) {
        // Both versions have it there, whatever else is wrong.
        let Some(&virtual_router_id) = packet.message.get(1) else { return };
        let key = (packet.interface.to_owned(), virtual_router_id, packet.source);
        if self.0.len() >= MOST_SPEAKERS && !self.0.contains_key(&key) {
            return;
        }
        let said = Advertisement::parse(packet.message, packet.source, packet.destination);
        let speaker = self.0.entry(key).or_insert_with(|| Speaker {
            interface: packet.interface.to_owned(),
            virtual_router_id,
            source: packet.source,
            destination: packet.destination,
            hop_limit: packet.hop_limit,
            said: said.clone(),
            packets: 0,
            first: at,
            last: at,
        });
        speaker.destination = packet.destination;
        speaker.hop_limit = packet.hop_limit;
        speaker.said = said;
        speaker.packets += 1;
        speaker.last = at;
    }

    /// Everybody, by interface, virtual router and address.
    pub(crate) fn into_list(self) -> Vec<Speaker> {
        self.0.into_values().collect()
    }
}

impl Speaker {
    /// The mean time between two packets; `None` after a single one.
    pub(crate) fn interval(&self) -> Option<Duration> {
        let gaps = u32::try_from(self.packets - 1).ok().filter(|gaps| *gaps > 0)?;
        Some((self.last - self.first) / gaps)
    }

    /// What it said last, if that was an advertisement.
    pub(crate) fn advertisement(&self) -> Option<&Advertisement> {
        self.said.as_ref().ok().map(|(advertisement, _)| advertisement)
    }
}
