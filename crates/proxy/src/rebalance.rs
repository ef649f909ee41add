//! When a backend comes back: how many connections the others give up for it, and how fast. No clock
//! and no sockets.
//!
//! A proxy cannot move a TLS connection. It can end some, and their clients connect anew.

use std::num::NonZeroU32;
use std::time::Duration;

/// From one pass to the next.
pub(crate) const PASS: Duration = Duration::from_millis(100);

/// One rebalancing, from a backend's return until all have their share.
#[derive(Debug)]
pub(crate) struct Rebalance {
    rate: NonZeroU32,
    /// Connections that may still be ended: those that were too many when it began. Where clients
    /// do not come back, it ends no more of them.
    left: usize,
    /// Connections that may be ended now, in billionths.
    allowance: u128,
    /// When the allowance was last reckoned up.
    reckoned: Duration,
    deadline: Duration,
}

/// A backend that has this part more than its share, in percent, makes it worth the trouble.
const SKEWED: usize = 20;

/// Where connections never come to rest, it is given up.
const LONGEST: Duration = Duration::from_secs(600);

/// One connection.
const WHOLE: u128 = 1_000_000_000;

impl Rebalance {
    /// Begins where it is worth it: some backend has more than a fifth above its share of the `open`
    /// connections of each.
    pub(crate) fn begin(rate: NonZeroU32, now: Duration, open: &[usize]) -> Option<Self> {
        let total: usize = open.iter().sum();
        let is_over = |of: &usize| *of * open.len() * 100 > total * (100 + SKEWED);
        let left = surplus(open).iter().sum();
        (left > 0 && open.iter().any(is_over)).then_some(Self {
            rate,
            left,
            allowance: 0,
            reckoned: now,
            deadline: now + LONGEST,
        })
    }

    /// How many of its `open` connections each backend may give up until the next pass, `spent`
    /// having been given up since the last. None once it is over.
    pub(crate) fn pass(
        &mut self,
        now: Duration,
        spent: usize,
        open: &[usize],
    ) -> Option<Vec<usize>> {
        self.left = self.left.saturating_sub(spent);
        let passed = now.saturating_sub(self.reckoned);
        self.reckoned = now;
        self.allowance = self.allowance.saturating_sub(spent as u128 * WHOLE);
        let rate = u128::from(self.rate.get());
        // What was not used is no reason to end many at once later.
        let most = (rate * PASS.as_nanos()).max(WHOLE);
        self.allowance = (self.allowance + rate * passed.as_nanos()).min(most);

        let mut surplus = surplus(open);
        if self.left == 0 || now >= self.deadline || surplus.iter().all(|it| *it == 0) {
            return None;
        }
        let mut grants = vec![0; open.len()];
        // Below `left`, so that it fits.
        for _ in 0..(self.allowance / WHOLE).min(self.left as u128) {
            let most = (0..surplus.len()).max_by_key(|&index| surplus[index])?;
            if surplus[most] == 0 {
                break;
            }
            surplus[most] -= 1;
            grants[most] += 1;
        }
        Some(grants)
    }
}

/// How many connections each has above an even share, rounded up.
fn surplus(open: &[usize]) -> Vec<usize> {
    let share = open.iter().sum::<usize>().div_ceil(open.len().max(1));
    open.iter().map(|of| of.saturating_sub(share)).collect()
}

#[cfg(test)]
mod tests;
