//! Machines with a router of either family: the IPv6 one follows the IPv4 one.
//!
//! What must hold: both families are on one machine, but for the time that an advertisement travels.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use vrrp::{Reason, State, VirtualRouter};

use crate::lan::{Lan, settings};
use crate::node::Clock;

const FLIGHT: Duration = Duration::from_micros(200);

/// Routers 0 to `machines` lead, those after them follow. A family does not hear the other.
fn started(machines: usize) -> Lan {
    let routers = (0..machines * 2).map(|number| (settings(number), Clock::default()));
    let mut lan = Lan::new(routers, 0);
    lan.pairs = machines;
    lan.partition(|number| number / machines);
    for number in 0..machines * 2 {
        lan.restart(number);
    }
    lan.begin_history();
    lan
}

/// The last of three machines holds both families.
fn settled() -> Lan {
    let mut lan = started(3);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [2, 5]);
    lan.begin_history();
    lan
}

/// The longest time that the families were on different machines.
fn longest_apart(lan: &Lan) -> Duration {
    let machines = lan.pairs;
    let ends = lan.history.iter().skip(1).map(|(at, _)| *at).chain([lan.now]);
    let (mut longest, mut since) = (Duration::ZERO, None);
    for ((begin, holders), end) in lan.history.iter().zip(ends) {
        let (leaders, followers): (Vec<_>, Vec<_>) =
            holders.iter().copied().partition(|number| *number < machines);
        let same = leaders.iter().map(|leader| leader + machines).eq(followers);
        since = if same { None } else { since.or(Some(*begin)) };
        longest = longest.max(since.map_or(Duration::ZERO, |since| end.saturating_since(since)));
    }
    longest
}

fn of(machine: usize) -> [usize; 2] {
    [machine, machine + 3]
}

fn partition(lan: &mut Lan, part_of: impl Fn(usize) -> usize) {
    let machines = lan.pairs;
    lan.partition(|number| number / machines * 10 + part_of(number % machines));
}

fn none(count: usize) -> bool {
    count == 0
}

#[test]
fn they_claim_together() {
    let mut lan = started(3);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [2, 5]);
    assert_eq!(longest_apart(&lan), Duration::ZERO);
    let reason = lan.transitions.iter().rfind(|(number, _)| *number == 5).unwrap().1.reason;
    assert_eq!(reason, Reason::Follows(State::Active));
}

#[test]
fn the_heir_of_a_dead_machine_gets_both() {
    let mut lan = settled();
    lan.crash(2);
    lan.crash(5);
    lan.begin_history();
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    assert_eq!(longest_apart(&lan), Duration::ZERO);
}

#[test]
fn a_planned_hand_over_moves_both_and_neither_is_ever_without_a_holder() {
    let mut lan = settled();
    for number in of(2) {
        lan.with_router(number, |router, now| router.hand_over(now, Duration::from_secs(4)));
    }
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    assert!(longest_apart(&lan) <= FLIGHT, "{:?}", lan.history);
    for family in [[0, 1, 2], [3, 4, 5]] {
        assert_eq!(lan.longest(&family, none), Duration::ZERO);
        assert_eq!(lan.longest(&family, |count| count > 1), FLIGHT);
    }
    assert!(of(2).iter().all(|number| lan.nodes[*number].router.state() == State::Initialize));
}

#[test]
fn a_hand_over_goes_on_until_the_heir_of_either_family_was_heard() {
    let mut lan = settled();
    // IPv6 packets of the others do not reach the holder.
    lan.network.cut(3, 5);
    lan.network.cut(4, 5);
    for number in of(2) {
        lan.with_router(number, |router, now| router.hand_over(now, Duration::from_secs(4)));
    }
    lan.run(Duration::from_secs(3));
    assert_eq!(lan.nodes[2].router.state(), State::Initialize);
    assert_eq!(lan.nodes[5].router.state(), State::Active);
    lan.run(Duration::from_secs(2));
    assert_eq!(lan.holders(), of(1));
}

#[test]
fn a_stop_at_once_moves_both() {
    let mut lan = settled();
    for number in of(2) {
        lan.with_router(number, VirtualRouter::stop);
    }
    lan.begin_history();
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    assert_eq!(longest_apart(&lan), Duration::ZERO);
    // (256 - 200) / 256 s, and the flight.
    assert!(lan.longest(&[3, 4, 5], none) < Duration::from_millis(220));
}

#[test]
fn a_machine_that_is_not_ready_loses_both_without_a_gap() {
    let mut lan = settled();
    for number in of(2) {
        lan.with_router(number, |router, now| router.set_ready(now, false));
    }
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    assert!(longest_apart(&lan) <= FLIGHT, "{:?}", lan.history);
    assert_eq!(lan.longest(&[3, 4, 5], none), Duration::ZERO);
}

#[test]
fn a_frozen_machine_loses_both_and_takes_neither_back() {
    let mut lan = settled();
    of(2).into_iter().for_each(|number| lan.freeze(number));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    lan.begin_history();
    of(2).into_iter().for_each(|number| lan.thaw(number));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    assert!(longest_apart(&lan) <= FLIGHT, "{:?}", lan.history);
}

#[test]
fn each_part_of_a_partition_has_both_and_after_healing_one_machine_has() {
    let mut lan = settled();
    partition(&mut lan, |machine| machine / 2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [1, 2, 4, 5]);
    partition(&mut lan, |_| 0);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(2));
    // The one that gives way asks whether its heir is there: there and back.
    assert!(longest_apart(&lan) <= FLIGHT * 2, "{:?}", lan.history);
}

#[test]
fn a_family_that_hears_nobody_follows_all_the_same() {
    let mut lan = settled();
    // IPv6 multicast gets lost; each machine would have it.
    for (from, to) in [(3, 4), (3, 5), (4, 3), (4, 5), (5, 3), (5, 4)] {
        lan.network.cut(from, to);
    }
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.transitions, []);
    for number in of(2) {
        lan.with_router(number, |router, now| router.set_ready(now, false));
    }
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), of(1));
    // It gives way when a down interval is over: 3 s, and (256 - 1) / 256 s.
    assert_eq!(lan.longest(&[3, 4, 5], none), Duration::ZERO);
    assert!(longest_apart(&lan) < Duration::from_secs(4), "{:?}", lan.history);
}

#[test]
fn where_the_leaders_do_not_hear_one_another_each_machine_has_both() {
    let mut lan = settled();
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        lan.network.cut(from, to);
    }
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.holders(), [0, 1, 2, 3, 4, 5]);
    let moves = lan.transitions.len();
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.transitions.len(), moves, "no fight");
}

/// As keepalived without vrrp_sync_group: its routers follow nobody.
#[test]
fn equal_routers_that_follow_nobody_give_way_to_one_that_does() {
    let routers = (0..3).map(|number| (settings(number), Clock::default()));
    let mut lan = Lan::new(routers, 0);
    // Machine 0 has routers 0 and 1; router 2 is alone, and of the higher address.
    lan.pairs = 1;
    lan.partition(|number| number.min(1));
    lan.nodes[2].router.set_peers(vec![]);
    lan.run(Duration::from_secs(2));
    lan.crash(0);
    lan.crash(1);
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.holders(), [2]);
    lan.restart(0);
    lan.restart(1);
    lan.begin_history();
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [0, 1]);
    assert_eq!(lan.longest(&[1, 2], none), Duration::ZERO);
}

#[test]
fn a_follower_whose_leader_is_taken_away_goes_on_alone() {
    let mut lan = settled();
    for number in 0..3 {
        lan.with_router(number, |router, now| router.hand_over(now, Duration::ZERO));
    }
    lan.run(Duration::from_secs(1));
    assert_eq!(lan.holders(), [5]);
    lan.crash(5);
    lan.begin_history();
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.holders(), [4]);
}

#[test]
fn a_leader_that_comes_later_does_not_move_its_follower() {
    let mut lan = settled();
    let holder = lan.nodes[5].router.clone();
    for number in 0..3 {
        lan.restart(number);
    }
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.nodes[5].router.since(), holder.since());
    assert_eq!(lan.holders(), of(2));
}

#[derive(Clone, Debug)]
enum Fault {
    Crash,
    Restart,
    Freeze,
    Thaw,
    Ready(bool),
    HandOver,
    Link(bool),
    Split(usize),
}

fn fault() -> impl Strategy<Value = (Fault, usize, u64)> {
    let fault = prop_oneof![
        Just(Fault::Crash),
        Just(Fault::Restart),
        Just(Fault::Freeze),
        Just(Fault::Thaw),
        any::<bool>().prop_map(Fault::Ready),
        Just(Fault::HandOver),
        any::<bool>().prop_map(Fault::Link),
        (0..8_usize).prop_map(Fault::Split),
    ];
    (fault, 0..3_usize, 0..6_000_u64)
}

fn strike(lan: &mut Lan, fault: &Fault, machine: usize) {
    for number in of(machine) {
        match fault {
            Fault::Crash => lan.crash(number),
            Fault::Restart => lan.restart(number),
            Fault::Freeze => lan.freeze(number),
            Fault::Thaw => lan.thaw(number),
            Fault::Ready(ready) => {
                lan.with_router(number, |router, now| router.set_ready(now, *ready));
            }
            Fault::HandOver => {
                let patience = Duration::from_secs(4);
                lan.with_router(number, |router, now| router.hand_over(now, patience));
            }
            Fault::Link(up) => lan.set_link(number, *up),
            Fault::Split(_) => {}
        }
    }
    if let Fault::Split(pattern) = fault {
        partition(lan, |machine| pattern >> machine & 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    /// While nothing gets lost; where both thaw, restart or get a link, one does so first.
    #[test]
    fn both_families_are_on_one_machine_whatever_happens(
        faults in vec(fault(), 1..12),
        jitter in 0..2_000_u64,
        loss in prop_oneof![Just(0_u64), 0..40_u64],
        seed in any::<u64>(),
    ) {
        let mut lan = started(3);
        lan.network = crate::network::Network::new(seed);
        partition(&mut lan, |_| 0);
        lan.network.jitter = Duration::from_micros(jitter);
        for (fault, machine, pause) in &faults {
            lan.network.loss = loss;
            strike(&mut lan, fault, *machine);
            lan.run(Duration::from_millis(*pause));
            lan.network.loss = 0;
        }
        // What was lost is made good: an interval, or a down interval for who gives way.
        lan.run(Duration::from_secs(10));
        lan.begin_history();
        lan.run(Duration::from_secs(10));
        prop_assert_eq!(longest_apart(&lan), Duration::ZERO, "{:?} {:?}", lan.history, lan.transitions);
        prop_assert!(lan.transitions.is_empty(), "without a cause: {:?}", lan.transitions);
    }
}
