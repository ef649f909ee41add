//! How many threads take clients: as few as do. One thread with much to do finds more of it at each
//! look, sleeps less often and hands nobody over: two cost a tenth more for the same work, and half as
//! much again where they go before everything else (`docs/benchmarks.md`). Clients stay with the
//! thread that took them. No clock.

use std::time::{Duration, Instant};

/// What one thread uses of its core, window by window.
#[derive(Debug)]
pub(crate) struct Usage {
    since: Instant,
    used: Duration,
}

/// The threads that take clients: the first ones.
#[derive(Debug)]
pub(crate) struct Crew {
    /// At least so many.
    least: usize,
    /// Looks in a row at which all were busy.
    busy: u32,
    /// How long the processors had been idle at the first of those.
    idle: Duration,
    /// Looks in a row at which fewer would have done.
    calm: u32,
}

/// How long a thread is watched before it is said how much it used.
const WINDOW: Duration = Duration::from_millis(100);

/// A thread that uses so many thousandths of a core has no time for more clients. Those it has wait
/// some hundred microseconds by then.
const BUSY: u32 = 970;

/// For so many looks in a row.
const BUSY_LOOKS: u32 = 3;

/// A further thread would find time: half a processor was idle between the first of these looks and
/// the last. Where all are in use, it would take from those it serves.
const IDLE: Duration = Duration::from_millis(100);

/// Fewer threads do, if each of them would use less than this.
const CALM: u32 = 500;

/// For so many looks in a row, which is five seconds at least.
const CALM_LOOKS: u32 = 50;

impl Usage {
    /// Of a thread that has used so much of its core until now.
    pub(crate) fn new(now: Instant, used: Duration) -> Self {
        Self { since: now, used }
    }

    /// The share of a core, in thousandths, once a window is over; `used` is all that the thread
    /// has used so far. If that is not known, it may be a whole core.
    pub(crate) fn share(
        &mut self,
        now: Instant,
        used: impl FnOnce() -> Option<Duration>,
    ) -> Option<u32> {
        let window = now.saturating_duration_since(self.since);
        if window < WINDOW {
            return None;
        }
        self.since = now;
        let Some(used) = used() else { return Some(1000) };
        let last = std::mem::replace(&mut self.used, used);
        let share = used.saturating_sub(last).as_nanos() * 1000 / window.as_nanos();
        Some(share as u32)
    }
}

impl Crew {
    /// Never fewer than this.
    pub(crate) fn new(least: usize) -> Self {
        Self { least, busy: 0, idle: Duration::ZERO, calm: 0 }
    }

    /// How many shall take clients from now on, where `working` do so far and each of all threads
    /// has used such a share of a core lately. `idle` is how long the machine's processors have been
    /// idle so far, if that is known.
    pub(crate) fn next(
        &mut self,
        working: usize,
        shares: &[u32],
        idle: impl FnOnce() -> Option<Duration>,
    ) -> usize {
        let fewer = working.saturating_sub(1);
        let is_calm = fewer >= self.least && shares.iter().sum::<u32>() < CALM * fewer as u32;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        if self.calm >= CALM_LOOKS {
            self.calm = 0;
            return fewer;
        }
        if working >= shares.len() || shares.iter().take(working).any(|share| *share < BUSY) {
            self.busy = 0;
            return working;
        }
        self.busy += 1;
        if self.busy == 1 {
            self.idle = idle().unwrap_or_default();
            return working;
        }
        if self.busy < BUSY_LOOKS {
            return working;
        }
        self.busy = 0;
        let has_time = idle().is_none_or(|idle| idle.saturating_sub(self.idle) >= IDLE);
        if has_time { working + 1 } else { working }
    }
}

#[cfg(test)]
mod tests;
