use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Instant;

/// The other routers, as far as they are known.
///
/// A Backup sends nothing (RFC 9568 section 6.4.2), so the network alone never names the heirs of
/// a dead Active router. Configuration and the cluster's list of control plane nodes do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Peers {
    /// The only routers listened to, where the settings name them.
    unicast: Vec<IpAddr>,
    told: Option<Vec<IpAddr>>,
    heard: BTreeMap<IpAddr, Peer>,
}

/// What a router last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// The priority in its last advertisement.
    pub priority: u8,
    /// When that came.
    pub heard: Instant,
}

/// More routers than any segment has; a forger must not make the list grow for ever.
const MOST_HEARD: usize = 255;

/// The skew time is shared among this many equal heirs at least, so that nobody's share depends
/// on how large a small cluster is.
const SHARES_AT_LEAST: u32 = 4;

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

    pub(crate) fn set_unicast(&mut self, addresses: &[IpAddr]) {
        self.unicast = addresses.to_vec();
    }

    pub(crate) fn tell(&mut self, addresses: Vec<IpAddr>) {
        self.told = Some(addresses);
    }

    pub(crate) fn hear(&mut self, address: IpAddr, peer: Peer) {
        if self.heard.len() < MOST_HEARD || self.heard.contains_key(&address) {
            self.heard.insert(address, peer);
        }
    }

    /// For which part of the skew time `own` lets others go first when `gone` has to be followed: the
    /// whole at most.
    ///
    /// Where the others are known their number and the rank of `own` tell: the higher address goes
    /// first, since it would win the tie anyway (RFC 9568 section 6.4.3). Where they are not, the
    /// others are those heard so far, and a hash of the address parts those who heard the same.
    pub(crate) fn share(&self, own: IpAddr, gone: Option<IpAddr>) -> Share {
        let before = |address: &IpAddr| *address > own && Some(*address) != gone;
        if let Some(others) = self.listed(own) {
            let rank = others.iter().filter(|address| before(address)).count() as u32;
            return Share::of(rank * HASHES, (others.len() as u32).max(SHARES_AT_LEAST));
        }
        let others: Vec<IpAddr> =
            self.known(own).filter(|address| Some(*address) != gone).collect();
        let rank = others.iter().filter(|address| before(address)).count() as u32;
        // The hash may put it behind two others.
        let of = (others.len() as u32 + 2).max(SHARES_AT_LEAST);
        Share::of(rank * HASHES + hash(own) * 2, of)
    }

    /// Those that are compared with `own`. Who was only heard may be long dead, so it counts only
    /// where nobody told us better.
    pub(crate) fn known(&self, own: IpAddr) -> impl Iterator<Item = IpAddr> + '_ {
        let listed = self.listed(own);
        let heard =
            self.heard.iter().filter(move |(_, peer)| listed.is_none() && peer.priority != 0);
        let listed = self.listed(own).unwrap_or_default().iter().copied();
        listed.chain(heard.map(|(address, _)| *address))
    }

    /// The list that we were told or configured with, if routers like `own` speak from its
    /// addresses. Those that speak from IPv6 link-local addresses are not found in the list of a
    /// cluster.
    fn listed(&self, own: IpAddr) -> Option<&[IpAddr]> {
        let names = |list: &&[IpAddr]| list.iter().any(|address| kind(*address) == kind(own));
        let nobody = |list: &&[IpAddr]| list.is_empty();
        let unicast = Some(self.unicast.as_slice()).filter(names);
        let told = self.told.as_deref();
        told.filter(names).or(unicast).or(told.filter(nobody))
    }
}

/// A part of the skew time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    numerator: u32,
    denominator: u32,
}

impl Share {
    const fn of(numerator: u32, shares: u32) -> Self {
        Self { numerator, denominator: shares * HASHES }
    }
}

impl std::ops::Mul<Share> for std::time::Duration {
    type Output = Self;

    fn mul(self, share: Share) -> Self {
        self * share.numerator / share.denominator
    }
}

/// How many values [`hash`] has.
const HASHES: u32 = 1 << 12;

/// Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): neighbouring
/// addresses, as those of a cluster often are, come to lie far apart.
fn hash(address: IpAddr) -> u32 {
    let number = match address {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let bits = address.to_bits();
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASHES.ilog2())) as u32
}

fn kind(address: IpAddr) -> (bool, bool) {
    match address {
        IpAddr::V4(_) => (true, false),
        IpAddr::V6(address) => (false, address.is_unicast_link_local()),
    }
}

#[cfg(test)]
mod tests;
