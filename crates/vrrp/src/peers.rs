use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Instant;

/// The other routers, as far as they are known.
///
/// A Backup sends nothing (RFC 9568 section 6.4.2), so the network alone never names the heirs of
/// a dead Active router. Configuration and the cluster's list of control plane nodes do.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    told: Option<Vec<IpAddr>>,
    heard: BTreeMap<IpAddr, Peer>,
}

/// What a router last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The priority in its last advertisement.
    pub priority: u8,
    /// When that came.
    pub heard: Instant,
}

/// More routers than any segment has; a forger must not make the list grow for ever.
const MOST_HEARD: usize = 255;

impl Peers {
    /// The routers heard, with what they last said.
    pub fn heard(&self) -> impl Iterator<Item = (IpAddr, Peer)> + '_ {
        self.heard.iter().map(|(address, peer)| (*address, *peer))
    }

    /// Whether there is certainly no other router: none was heard, and we were told of none. Not
    /// to have been told anything is no certainty.
    pub fn are_none(&self) -> bool {
        self.heard.is_empty() && self.told.as_ref().is_some_and(Vec::is_empty)
    }

    pub(crate) fn tell(&mut self, addresses: Vec<IpAddr>) {
        self.told = Some(addresses);
    }

    pub(crate) fn hear(&mut self, address: IpAddr, peer: Peer) {
        if self.heard.len() < MOST_HEARD || self.heard.contains_key(&address) {
            self.heard.insert(address, peer);
        }
    }

    /// How many others come before `own` when `gone` has to be followed, and how many others there
    /// are: the higher address goes first, since it would win the tie anyway (RFC 9568 section
    /// 6.4.3).
    pub(crate) fn rank(&self, own: IpAddr, gone: Option<IpAddr>) -> (u32, u32) {
        let (mut before, mut all) = (0, 0);
        for address in self.known() {
            all += 1;
            before += u32::from(address > own && Some(address) != gone);
        }
        (before, all)
    }

    /// Who was only heard may be long dead, so it counts only where nobody told us better.
    pub(crate) fn known(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let told = self.told.as_deref().filter(|told| !told.is_empty());
        let heard = self.heard.iter().filter(move |(_, peer)| told.is_none() && peer.priority != 0);
        told.unwrap_or_default().iter().copied().chain(heard.map(|(address, _)| *address))
    }
}
