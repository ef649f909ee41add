use std::time::Duration;

use vrrp::{Reason, Settings, State, Version};

use crate::lan::{Lan, address, settings};
use crate::node::Clock;

const ALL: [usize; 3] = [0, 1, 2];

fn none(count: usize) -> bool {
    count == 0
}

fn several(count: usize) -> bool {
    count > 1
}

/// Three equal nodes that have settled: the last one holds the addresses.
fn settled() -> Lan {
    let mut lan = Lan::of_equals(3);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 2);
    lan.begin_history();
    lan
}

#[test]
fn three_equal_routers_started_together_elect_the_highest_address_without_a_duel() {
    let mut lan = Lan::of_equals(3);
    lan.run(Duration::from_secs(20));
    assert_eq!(lan.holder(), 2);
    assert_eq!(lan.longest(&ALL, several), Duration::ZERO);
}

#[test]
fn a_dead_holder_is_followed_by_one_heir_within_the_down_interval() {
    let mut lan = settled();
    lan.crash(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.longest(&ALL, several), Duration::ZERO);
    // 3 x 1 s + (256 - 200) / 256 s (RFC 3768 section 6.1).
    let silence = lan.longest(&ALL, none);
    assert!(silence <= Duration::from_micros(3_218_750), "{silence:?} without a holder");
}

#[test]
fn routers_that_know_of_nobody_take_over_one_by_one_without_a_duel() {
    let mut lan = Lan::of_equals(5);
    lan.acquainted = false;
    let all = [0, 1, 2, 3, 4];
    all.into_iter().for_each(|number| lan.restart(number));
    lan.begin_history();
    lan.run(Duration::from_secs(10));
    for _ in 0..4 {
        let holder = lan.holder();
        lan.crash(holder);
        lan.begin_history();
        lan.run(Duration::from_secs(10));
        assert_eq!(lan.longest(&all, several), Duration::ZERO, "{:?}", lan.history);
        // 3 x 1 s, the skew of (256 - 200) / 256 s, and as much again at most.
        let silence = lan.longest(&all, none);
        assert!(silence <= Duration::from_micros(3_437_500), "{silence:?} without a holder");
    }
}

#[test]
fn a_planned_hand_over_leaves_no_moment_without_a_holder() {
    let mut lan = settled();
    lan.with_router(2, |router, now| router.hand_over(now, Duration::from_secs(4)));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.nodes[2].router.state(), State::Initialize);
    // Both serve for as long as the heir's advertisement travels.
    assert_eq!(lan.longest(&ALL, several), Duration::from_micros(200));
    assert_eq!(lan.longest(&ALL, none), Duration::ZERO);
}

#[test]
fn a_holder_whose_process_is_replaced_goes_on_with_its_next_advertisement() {
    let mut lan = settled();
    for pause in [0, 1, 500, 999] {
        lan.freeze(2);
        lan.run(Duration::from_millis(pause));
        lan.succeed_frozen(2);
        lan.thaw(2);
        lan.run(Duration::from_millis(1_700));
    }
    assert_eq!(lan.holder(), 2);
    assert_eq!(lan.transitions, []);

    // 3 x 1 s + (256 - 200) / 256 s (RFC 3768 section 6.1), after which the others go on without it.
    lan.freeze(2);
    lan.run(Duration::from_millis(4_500));
    lan.succeed_frozen(2);
    lan.begin_history();
    lan.thaw(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.longest(&ALL, several), Duration::ZERO);
    assert!(
        matches!(lan.transitions[..], [(2, told)] if matches!(told.reason, Reason::Overslept(_)))
    );
}

#[test]
fn a_backup_whose_process_is_replaced_follows_the_holder_s_death_as_soon() {
    let mut lan = settled();
    lan.succeed(0);
    lan.succeed(1);
    lan.crash(2);
    lan.run(Duration::from_secs(2));
    lan.succeed(0);
    lan.succeed(1);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.longest(&ALL, several), Duration::ZERO);
    let silence = lan.longest(&ALL, none);
    assert!(silence <= Duration::from_micros(3_218_750), "{silence:?} without a holder");
}

#[test]
fn a_thawed_holder_takes_nothing_back() {
    let mut lan = settled();
    lan.freeze(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    lan.begin_history();
    lan.thaw(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1, "the thawed one has the higher address, but it overslept");
    assert_eq!(lan.longest(&ALL, none), Duration::ZERO);
    assert_eq!(lan.longest(&ALL, several), Duration::ZERO);
}

#[test]
fn a_holder_that_thaws_just_after_its_heir_claimed_takes_nothing_back_either() {
    let mut lan = settled();
    lan.freeze(2);
    // The heir claims between 3.2 and 4.2 s after the last advertisement, by the phase.
    while lan.holders().is_empty() {
        lan.run(Duration::from_millis(1));
    }
    assert_eq!(lan.holder(), 1);
    lan.begin_history();
    lan.thaw(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.history.len(), 1, "{:?}", lan.transitions);
}

#[test]
fn a_short_freeze_changes_nothing() {
    let mut lan = settled();
    lan.freeze(2);
    lan.run(Duration::from_secs(2));
    lan.thaw(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.transitions, []);
}

#[test]
fn a_partition_has_one_holder_on_each_side_and_one_after_healing() {
    let mut lan = settled();
    lan.partition(|number| number / 2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [1, 2]);
    lan.network.heal();
    lan.begin_history();
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 2);
    // One interval at most until the first of them advertises.
    let both = lan.longest(&ALL, several);
    assert!(both <= Duration::from_micros(1_000_400), "{both:?}");
}

#[test]
fn a_holder_that_hears_nobody_but_is_heard_stays() {
    let mut lan = settled();
    lan.network.cut(0, 2);
    lan.network.cut(1, 2);
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.transitions, []);
}

#[test]
fn the_addresses_leave_a_node_that_is_not_ready_and_do_not_come_back() {
    let mut lan = settled();
    lan.with_router(2, |router, now| router.set_ready(now, false));
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.holder(), 1);
    lan.with_router(2, |router, now| router.set_ready(now, true));
    lan.run(Duration::from_secs(30));
    assert_eq!(lan.holder(), 1);
}

#[test]
fn if_nobody_is_ready_nothing_moves() {
    let mut lan = settled();
    for number in ALL {
        lan.with_router(number, |router, now| router.set_ready(now, false));
    }
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.transitions, []);
}

#[test]
fn a_lower_router_takes_over_while_the_start_up_delay_of_a_higher_one_runs() {
    let delayed = Settings { priority: 250, startup_delay: Duration::from_secs(30), ..settings(0) };
    let mut lan = Lan::new([(delayed, Clock::default()), (settings(1), Clock::default())], 0);
    lan.run(Duration::from_millis(29_999));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.nodes[0].router.state(), State::Initialize);
    // It listens for 3 x 1 s + (256 - 250) / 256 s when the delay is over.
    lan.run(Duration::from_secs(3));
    assert_eq!(lan.holder(), 1);
    lan.run(Duration::from_millis(100));
    assert_eq!(lan.holder(), 0);
}

#[test]
fn a_preempt_delay_is_kept_while_the_lower_router_lives_and_not_longer() {
    let higher = Settings { priority: 250, preempt_delay: Duration::from_secs(60), ..settings(0) };
    let nodes = || [(higher.clone(), Clock::default()), (settings(1), Clock::default())];
    let returned = || {
        let mut lan = Lan::new(nodes(), 0);
        lan.crash(0);
        lan.run(Duration::from_secs(10));
        lan.restart(0);
        lan.run(Duration::from_secs(10));
        assert_eq!(lan.holder(), 1);
        lan
    };

    let mut lan = returned();
    lan.run(Duration::from_secs(49));
    assert_eq!(lan.holder(), 1);
    lan.run(Duration::from_secs(6));
    assert_eq!(lan.holder(), 0);

    let mut lan = returned();
    lan.crash(1);
    lan.run(Duration::from_secs(4));
    assert_eq!(lan.holder(), 0);

    // Not to be ready is a wish to be relieved: after (256 - 250) / 256 s.
    let mut lan = returned();
    lan.with_router(1, |router, now| router.set_ready(now, false));
    lan.run(Duration::from_millis(30));
    assert_eq!(lan.holder(), 0);
}

#[test]
fn of_two_owners_the_lower_address_gives_way_after_three_intervals() {
    let owner = |number| (Settings { priority: 255, ..settings(number) }, Clock::default());
    let mut lan = Lan::new([owner(0), owner(1)], 0);
    assert_eq!(lan.holders(), [0, 1]);
    lan.run(Duration::from_millis(2_900));
    assert_eq!(lan.holders(), [0, 1]);
    lan.run(Duration::from_millis(300));
    assert_eq!(lan.holder(), 1);
    let last = lan.transitions.last().map(|(number, transition)| (*number, transition.reason));
    assert_eq!(last, Some((0, Reason::TwoOwners(address(1)))));
    assert_eq!(lan.nodes[0].router.priority(), 254);

    // It follows the other as an ordinary router does.
    lan.crash(1);
    lan.run(Duration::from_millis(3_100));
    assert_eq!(lan.holder(), 0);
    lan.restart(1);
    lan.run(Duration::from_millis(1));
    assert_eq!(lan.holder(), 1);
}

#[test]
fn a_fast_router_listens_long_enough_to_hear_a_slow_one() {
    let fast = |number| {
        let settings = Settings {
            version: Version::V3,
            interval: Duration::from_millis(100),
            authentication: vrrp::Authentication::None,
            ..settings(number)
        };
        (settings, Clock::default())
    };
    let mut slow = fast(1);
    slow.0.interval = Duration::from_secs(1);
    let mut lan = Lan::new([fast(0), slow], 0);
    lan.crash(0);
    lan.run(Duration::from_secs(10));
    lan.begin_history();
    for phase in 1..20 {
        lan.restart(0);
        lan.run(Duration::from_millis(5_000 + 50 * phase));
        assert_eq!(lan.holder(), 1);
    }
    assert_eq!(lan.history.len(), 1);
    // In version 3 the Active router's interval decides: 3 x 1 s + (256 - 200) / 256 of 1 s.
    lan.crash(1);
    lan.run(Duration::from_secs(10));
    let silence = lan.longest(&ALL, none);
    assert!(silence > Duration::from_millis(2_218), "{silence:?}");
    assert!(silence < Duration::from_millis(3_220), "{silence:?}");
    assert_eq!(lan.holder(), 0);
}
