use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
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

/// The foreign routers heard. To another process only the time goes on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ForeignRouters {
    #[serde(skip)]
    heard: BTreeMap<IpAddr, Foreign>,
    /// When the process before this one last refused a packet of one.
    refused_before: Option<Instant>,
}

/// A forger must not make the list grow for ever.
const MOST_FOREIGN: usize = 32;

impl ForeignRouters {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (IpAddr, &Foreign)> {
        self.heard.iter().map(|(source, foreign)| (*source, foreign))
    }

    /// Takes a packet to the records; the router silent for the longest time makes room.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        source: IpAddr,
        difference: Difference,
        addresses: &[IpAddr],
    ) {
        if self.heard.len() == MOST_FOREIGN && !self.heard.contains_key(&source) {
            let silent = self.heard.iter().min_by_key(|(_, foreign)| foreign.heard);
            if let Some(silent) = silent.map(|(source, _)| *source) {
                self.heard.remove(&silent);
            }
        }
        let count = self.heard.get(&source).map_or(0, |known| known.count) + 1;
        let foreign = Foreign { difference, addresses: addresses.to_vec(), heard: now, count };
        self.heard.insert(source, foreign);
    }

    /// Whether a router was heard within `time` whose packets are dropped. It may drop ours too.
    pub(crate) fn refused_since(&self, now: Instant, time: Duration) -> bool {
        self.last_refused().is_some_and(|heard| now.saturating_since(heard) < time)
    }

    /// When a packet was last refused.
    pub(crate) fn last_refused(&self) -> Option<Instant> {
        let refused = |it: &&Foreign| matches!(it.difference, Difference::Refused(_));
        let heard = self.heard.values().filter(refused).map(|foreign| foreign.heard).max();
        heard.max(self.refused_before)
    }

    /// All that is known of those heard by the process before this one.
    pub(crate) fn refused_before(last_refused: Option<Instant>) -> Self {
        Self { heard: BTreeMap::new(), refused_before: last_refused }
    }

    /// The router speaks as one of ours now.
    pub(crate) fn forget(&mut self, source: IpAddr) {
        self.heard.remove(&source);
    }
}
