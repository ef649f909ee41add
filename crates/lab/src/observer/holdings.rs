//! The history of an address on many nodes, and questions to it. Pure: times are given.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// A node has got or lost the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Since the origin.
    pub at: Duration,
    /// The node's number, from 0.
    pub node: usize,
    /// Whether it holds the address from now on.
    pub held: bool,
}

/// All changes, in the order of their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holdings {
    changes: Vec<Change>,
    holders: BTreeSet<usize>,
}

impl Holdings {
    /// Notes that `node` holds the address or not. What was known already is no change.
    pub fn record(&mut self, at: Duration, node: usize, held: bool) {
        let changed = if held { self.holders.insert(node) } else { self.holders.remove(&node) };
        if changed {
            self.changes.push(Change { at, node, held });
        }
    }

    /// The nodes that hold the address now.
    #[must_use]
    pub fn now(&self) -> Vec<usize> {
        self.holders.iter().copied().collect()
    }

    /// All changes.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The nodes that held the address at that time.
    #[must_use]
    pub fn at(&self, time: Duration) -> BTreeSet<usize> {
        let mut holders = BTreeSet::new();
        for change in self.changes.iter().take_while(|change| change.at <= time) {
            if change.held {
                holders.insert(change.node);
            } else {
                holders.remove(&change.node);
            }
        }
        holders
    }

    /// How long, within the window, the number of holders was as `wanted` says.
    #[must_use]
    pub fn time_with(&self, window: &Range<Duration>, wanted: impl Fn(usize) -> bool) -> Duration {
        let mut total = Duration::ZERO;
        let mut since = window.start;
        let mut holders = self.at(window.start);
        let inside =
            self.changes.iter().filter(|change| change.at > window.start && change.at < window.end);
        for change in inside {
            if wanted(holders.len()) {
                total += change.at - since;
            }
            since = change.at;
            if change.held {
                holders.insert(change.node);
            } else {
                holders.remove(&change.node);
            }
        }
        if wanted(holders.len()) {
            total += window.end.saturating_sub(since);
        }
        total
    }

    /// How often, within the window, the address came to another node than had it last. While several have it, it is
    /// the latest of them; when that one lets go, it is who remains.
    #[must_use]
    pub fn moves(&self, window: &Range<Duration>) -> u64 {
        let mut holders = BTreeSet::new();
        let mut last = None;
        let mut moves = 0;
        for change in &self.changes {
            if change.held {
                holders.insert(change.node);
                let moved = last.is_some_and(|last| last != change.node);
                moves += u64::from(moved && window.contains(&change.at));
                last = Some(change.node);
                continue;
            }
            holders.remove(&change.node);
            if last == Some(change.node) {
                last = holders.first().copied().or(last);
            }
        }
        moves
    }

    /// How long `node` went on holding the address after `time`; `None` when it never let go.
    #[must_use]
    pub fn released_after(&self, node: usize, time: Duration) -> Option<Duration> {
        if !self.at(time).contains(&node) {
            return Some(Duration::ZERO);
        }
        let lost = self
            .changes
            .iter()
            .find(|change| change.at > time && change.node == node && !change.held)?;
        Some(lost.at - time)
    }
}
