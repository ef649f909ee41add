//! Every order of events that two or three routers can meet with, and two pairs that move together.
//!
//! Stateright walks through the real state machine: all interleavings of deliveries, losses, timers,
//! crashes, freezes, lost readiness and hand-overs, with a bounded number of faults. The intervals and
//! priorities are such that all times are multiples of a few milliseconds, so that the states are
//! finitely many and the walk comes to an end by itself.

mod moment;
mod segment;

use segment::{Kinds, Segment};
use stateright::{Checker, Model};

/// Walks through everything; what must never happen has no example, what must be possible has one.
fn explore(segment: Segment) {
    let (machines, families) = (segment.priorities.len(), segment.families);
    let (faults, kinds) = (segment.faults, segment.kinds);
    let checker = segment.checker().threads(2).spawn_bfs().join();
    println!(
        "{machines} machines, {families} families, at most {faults} faults of {kinds:?}: {} states, {} steps deep",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

#[test]
fn two_equal_routers() {
    explore(Segment { priorities: vec![192, 192], families: 1, faults: 3, kinds: Kinds::All });
}

#[test]
fn two_routers_of_which_one_is_better() {
    explore(Segment { priorities: vec![192, 128], families: 1, faults: 2, kinds: Kinds::All });
}

#[test]
fn three_equal_routers() {
    explore(Segment { priorities: vec![192; 3], families: 1, faults: 1, kinds: Kinds::All });
}

#[test]
fn three_equal_routers_in_a_worse_world() {
    explore(Segment {
        priorities: vec![192; 3],
        families: 1,
        faults: 2,
        kinds: Kinds::LossAndCrash,
    });
}

#[test]
fn two_machines_with_routers_of_both_families() {
    explore(Segment { priorities: vec![192; 2], families: 2, faults: 1, kinds: Kinds::All });
}
