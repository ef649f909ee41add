//! Which backend a client tries next.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::{Contest, Step, Verdict};
use crate::attempt::Attempt;
use crate::pick::{Among, Standing, pick, pick_least};
use crate::settings::Choice;
use crate::shared::{Shared, Totals, count};

/// Why a further backend is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    First,
    Failure,
    SlowConnect,
    Silence,
}

/// Attempts for one client: what fits a [`Side`](crate::connection::Side) with room to spare.
const MOST_ATTEMPTS: usize = 200;

impl<L> Contest<L> {
    /// The next backend for this client. None when there is none.
    pub(super) fn attempt_next(
        &mut self,
        among: Among,
        reason: Reason,
        shared: &Shared,
        now: Instant,
    ) -> Option<Step<L>> {
        let since_start = shared.since_start(now);
        let standing = |index: usize| {
            let tried = |it: &Attempt<L>| it.backend == index && !it.overtaken;
            match () {
                () if self.attempts.iter().any(tried) => Standing::Tried,
                () if self.usable[index].is_suspect(since_start) => Standing::Suspect,
                () => Standing::Good,
            }
        };
        let all = self.usable.len();
        let picked = match shared.choice() {
            _ if self.attempts.len() >= MOST_ATTEMPTS => None,
            Choice::RoundRobin => pick(self.turn, all, among, standing),
            Choice::LeastConnections => {
                let load = |index: usize| self.usable[index].load();
                pick_least(self.turn, all, among, standing, load)
            }
        };
        let Some(index) = picked else {
            if !self.attempts.iter().any(Attempt::is_alive) {
                self.end(Verdict::Unserved);
            }
            return None;
        };
        if let Some(counter) = reason.counter(&shared.totals) {
            count(counter);
        }
        let backend = &self.usable[index];
        if reason == Reason::Failure {
            count(&backend.retries);
        }
        backend.chosen(since_start);
        let (attempt, address) = (self.attempts.len(), backend.address);
        self.attempts.push(Attempt::new(index, reason == Reason::Silence, now));
        Some(Step::Connect { attempt, address })
    }
}

impl Reason {
    fn counter(self, totals: &Totals) -> Option<&AtomicU64> {
        match self {
            Self::First => None,
            Self::Failure => Some(&totals.retries),
            Self::SlowConnect => Some(&totals.raced),
            Self::Silence => Some(&totals.hedges),
        }
    }
}
