use super::*;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Node 0 holds from 100 ms to 1000 ms, node 1 from 900 ms on, node 0 again from 3000 ms to 3200 ms.
fn history() -> Holdings {
    let mut holdings = Holdings::default();
    holdings.record(ms(0), 0, false);
    holdings.record(ms(100), 0, true);
    holdings.record(ms(500), 0, true);
    holdings.record(ms(900), 1, true);
    holdings.record(ms(1000), 0, false);
    holdings.record(ms(3000), 0, true);
    holdings.record(ms(3200), 0, false);
    holdings
}

#[test]
fn what_is_known_is_no_change() {
    assert_eq!(history().changes().len(), 5);
    assert_eq!(history().now(), [1]);
}

#[test]
fn time_with_two_holders() {
    let two = |holders| holders > 1;
    assert_eq!(history().time_with(&(ms(0)..ms(5000)), two), ms(300));
    assert_eq!(history().time_with(&(ms(950)..ms(3100)), two), ms(150));
    assert_eq!(history().time_with(&(ms(1000)..ms(3000)), two), ms(0));
}

#[test]
fn time_without_a_holder() {
    let none = |holders| holders == 0;
    assert_eq!(history().time_with(&(ms(0)..ms(5000)), none), ms(100));
    assert_eq!(history().time_with(&(ms(40)..ms(60)), none), ms(20));
}

#[test]
fn a_move_is_a_take_by_another() {
    assert_eq!(history().moves(&(ms(0)..ms(800))), 0);
    assert_eq!(history().moves(&(ms(800)..ms(2000))), 1);
    assert_eq!(history().moves(&(ms(0)..ms(5000))), 2);

    // Node 1 was left with it when node 0 let go again: node 0 takes it from node 1.
    let mut holdings = history();
    holdings.record(ms(6000), 1, false);
    holdings.record(ms(6500), 0, true);
    assert_eq!(holdings.moves(&(ms(5000)..ms(7000))), 1);
    // The same node again: it comes back to whom it was taken from.
    holdings.record(ms(8000), 0, false);
    holdings.record(ms(8500), 0, true);
    assert_eq!(holdings.moves(&(ms(7000)..ms(9000))), 0);
}

#[test]
fn release_is_counted_from_the_given_time() {
    assert_eq!(history().released_after(0, ms(600)), Some(ms(400)));
    assert_eq!(history().released_after(1, ms(600)), Some(ms(0)));
    assert_eq!(history().released_after(1, ms(1000)), None);
}
