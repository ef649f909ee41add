use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use crate::{DropReason, Instant};

/// A router that speaks for our virtual router identifier and yet seems to be none of ours:
/// another cluster on the segment, or a node configured differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What sets it apart, as of its last packet.
    pub difference: Difference,
    /// The virtual addresses that it advertises.
    pub addresses: Vec<IpAddr>,
    /// When it was last heard.
    pub heard: Instant,
    /// How many such packets came from it.
    pub count: u64,
}

/// What sets a foreign router apart. The text says what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Difference {
    /// Its packets are dropped.
    #[error("{0}")]
    Refused(DropReason),
    /// None of its virtual addresses is ours. It takes part in the election all the same.
    #[error(
        "it advertises other addresses: if it is of another cluster, give one of them another virtualRouterID, or one of the two goes without its addresses"
    )]
    Addresses,
}

/// The foreign routers heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForeignRouters(BTreeMap<IpAddr, Foreign>);

/// A forger must not make the list grow for ever.
const MOST_FOREIGN: usize = 32;

impl ForeignRouters {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Foreign)> {
        self.0.iter().map(|(source, foreign)| (*source, foreign))
    }

    /// Takes a packet to the records; the router silent for the longest time makes room.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        source: IpAddr,
        difference: Difference,
        addresses: &[IpAddr],
    ) {
        if self.0.len() == MOST_FOREIGN && !self.0.contains_key(&source) {
            let silent = self.0.iter().min_by_key(|(_, foreign)| foreign.heard);
            if let Some(silent) = silent.map(|(source, _)| *source) {
                self.0.remove(&silent);
            }
        }
        let count = self.0.get(&source).map_or(0, |known| known.count) + 1;
        let foreign = Foreign { difference, addresses: addresses.to_vec(), heard: now, count };
        self.0.insert(source, foreign);
    }

    /// Whether a router was heard within `time` whose packets are dropped. It may drop ours too.
    pub(crate) fn refused_since(&self, now: Instant, time: Duration) -> bool {
        self.0.values().any(|foreign| {
            matches!(foreign.difference, Difference::Refused(_))
                && now.saturating_since(foreign.heard) < time
        })
    }

    /// The router speaks as one of ours now.
    pub(crate) fn forget(&mut self, source: IpAddr) {
        self.0.remove(&source);
    }
}
