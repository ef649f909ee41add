//! Giving a backend that came back its share: the first thread says how many connections go, each
//! thread closes those of its own that are at rest.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Worker;
use crate::backend::Backend;
use crate::connection::Timer;
use crate::rebalance::{PASS, Rebalance};
use crate::shared::{Command, count};

/// A rebalancing under way.
#[derive(Debug)]
pub(super) struct Rebalancing {
    rebalance: Rebalance,
    /// What backends may give up until the next pass.
    granted: Vec<(Arc<Backend>, usize)>,
}

impl Worker {
    /// A backend has come back.
    pub(super) fn begin_to_rebalance(&mut self) {
        let shared = Arc::clone(&self.context.shared);
        let Some(rate) = shared.terms.load().rebalance else { return };
        let is_under_way = self.end_rebalancing();
        let usable = shared.backends.usable();
        let now = shared.since_start(self.context.now);
        let Some(begun) = Rebalancing::begin(rate, now, &usable) else { return };
        shared.rebalancing.store(true, Relaxed);
        self.rebalancing = Some(begun);
        // One that was under way has its timer still.
        if !is_under_way {
            self.context.timers.push(self.context.now + PASS, Timer::Rebalance);
        }
    }

    /// It is time for another pass.
    pub(super) fn rebalance(&mut self) {
        let shared = Arc::clone(&self.context.shared);
        let Some(rebalancing) = &mut self.rebalancing else { return };
        let now = shared.since_start(self.context.now);
        let is_wanted = shared.terms.load().rebalance.is_some();
        if !is_wanted || !rebalancing.pass(now, &shared.backends.usable()) {
            self.end_rebalancing();
            let ended = shared.totals.rebalanced.load(Relaxed);
            tracing::info!(ended, "rebalancing is over");
            return;
        }
        self.context.timers.push(self.context.now + PASS, Timer::Rebalance);
        self.give_up();
        let others = shared.threads.iter().enumerate().filter(|(it, _)| *it != self.context.thread);
        others.for_each(|(_, other)| other.send(Command::GiveUp));
    }

    /// Closes what the backends have to give up and what is at rest here.
    pub(super) fn give_up(&mut self) {
        let given_up: Vec<usize> = self
            .connections
            .iter_mut()
            .filter_map(|(slot, connection)| connection.is_given_up().then_some(slot))
            .collect();
        for slot in given_up {
            count(&self.context.shared.totals.rebalanced);
            // Both sockets are closed with it: an end for both sides.
            self.remove(slot);
        }
    }

    /// Says whether one was under way.
    fn end_rebalancing(&mut self) -> bool {
        self.context.shared.rebalancing.store(false, Relaxed);
        let Some(ended) = self.rebalancing.take() else { return false };
        ended.revoke();
        true
    }
}

impl Rebalancing {
    /// None where it is not worth it.
    fn begin(rate: NonZeroU32, now: Duration, usable: &[Arc<Backend>]) -> Option<Self> {
        let loads = loads(usable);
        let rebalance = Rebalance::begin(rate, now, &loads)?;
        tracing::info!(?loads, connections_per_second = rate, "rebalancing begins");
        Some(Self { rebalance, granted: Vec::new() })
    }

    /// Lets the backends give up what they may now. False once it is over.
    fn pass(&mut self, now: Duration, usable: &[Arc<Backend>]) -> bool {
        let spent = self.revoke();
        let Some(grants) = self.rebalance.pass(now, spent, &loads(usable)) else {
            self.granted.clear();
            return false;
        };
        self.granted = usable.iter().map(Arc::clone).zip(grants).collect();
        for (backend, grant) in &self.granted {
            backend.spare(*grant);
        }
        true
    }

    /// Takes back what was not given up; how much was.
    fn revoke(&self) -> usize {
        let spent = self.granted.iter().map(|(backend, grant)| grant - backend.spare(0));
        spent.sum()
    }
}

fn loads(usable: &[Arc<Backend>]) -> Vec<usize> {
    usable.iter().map(|backend| backend.load()).collect()
}
