//! Deadlines of one thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// A heap of deadlines. They are not cancelled: whoever is called late or for nothing sees at his
/// own state that nothing is due, which is cheaper than keeping the heap exact.
#[derive(Debug, Default)]
pub(crate) struct Timers<K: Ord>(BinaryHeap<Reverse<(Instant, K)>>);

impl<K: Ord> Timers<K> {
    /// No deadlines yet.
    pub(crate) fn new() -> Self {
        Self(BinaryHeap::new())
    }

    /// Calls `key` at `deadline`.
    pub(crate) fn push(&mut self, deadline: Instant, key: K) {
        self.0.push(Reverse((deadline, key)));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Takes the earliest deadline that has passed.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, key))| key)
    }
}
