use std::time::{Duration, Instant};

use super::*;

const CHECKS: HealthSettings = HealthSettings {
    interval: Duration::from_millis(1000),
    timeout: Duration::from_millis(900),
    fall: 2,
    rise: 2,
};
const READY: Outcome = Outcome::Ready(Duration::from_millis(3));

/// A monitor and the instant it was made.
fn unknown() -> (Monitor, Instant) {
    let begin = Instant::now();
    (Monitor::new(CHECKS, begin, Duration::from_millis(300)), begin)
}

/// A healthy one, checked at the very beginning and at 300 ms.
fn healthy() -> (Monitor, Instant) {
    let (mut monitor, begin) = unknown();
    assert!(monitor.due(begin));
    assert_eq!(
        monitor.handle_check(begin + ms(3), READY),
        Some(Transition { from: Health::Unknown, to: Health::Healthy })
    );
    assert!(monitor.due(begin + ms(300)));
    assert_eq!(monitor.handle_check(begin + ms(303), READY), None);
    (monitor, begin)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn out() -> Option<Transition> {
    Some(Transition { from: Health::Healthy, to: Health::Unhealthy })
}

fn hung() -> Outcome {
    Outcome::NotReady("hung".into())
}

#[test]
fn first_check_is_at_once_the_second_after_the_phase_then_each_interval() {
    let (mut monitor, begin) = unknown();
    assert_eq!(monitor.health(), Health::Unknown);
    assert_eq!(monitor.next_check(), Some(begin));
    assert!(monitor.due(begin));
    assert_eq!(monitor.next_check(), None, "one check at a time");
    assert!(!monitor.due(begin + ms(5000)));
    monitor.handle_check(begin + ms(5), READY);
    assert_eq!(monitor.next_check(), Some(begin + ms(300)));
    assert!(!monitor.due(begin + ms(299)));
    assert!(monitor.due(begin + ms(300)));
    monitor.handle_check(begin + ms(305), READY);
    assert_eq!(monitor.next_check(), Some(begin + ms(1300)));
}

#[test]
fn first_good_check_suffices() {
    let (monitor, _) = healthy();
    assert_eq!(monitor.health(), Health::Healthy);
    assert_eq!(monitor.reason(), "200 ok");
    assert_eq!(monitor.latency(), Some(ms(3)));
}

#[test]
fn hung_one_is_out_after_two_checks_without_a_pause() {
    let (mut monitor, begin) = healthy();
    // Hung since just after the last check: 1000 ms until the next, and 900 ms for each.
    assert!(monitor.due(begin + ms(1300)));
    assert_eq!(monitor.handle_check(begin + ms(2200), hung()), None);
    assert_eq!(monitor.health(), Health::Healthy);
    assert_eq!(monitor.reason(), "hung");
    assert!(monitor.due(begin + ms(2200)));
    assert_eq!(monitor.handle_check(begin + ms(3100), hung()), out());
    assert!(!monitor.is_absent());
    assert_eq!(monitor.next_check(), Some(begin + ms(3200)));
}

#[test]
fn quick_failure_is_checked_again_after_half_an_interval() {
    let (mut monitor, begin) = healthy();
    assert!(monitor.due(begin + ms(1300)));
    assert_eq!(monitor.handle_check(begin + ms(1302), Outcome::NotReady("500".into())), None);
    assert_eq!(monitor.next_check(), Some(begin + ms(1800)));
    assert!(monitor.due(begin + ms(1800)));
    assert_eq!(monitor.handle_check(begin + ms(1802), Outcome::NotReady("500".into())), out());
}

#[test]
fn good_check_in_between_forgives() {
    let (mut monitor, begin) = healthy();
    assert!(monitor.due(begin + ms(1300)));
    assert_eq!(monitor.handle_check(begin + ms(1302), hung()), None);
    assert!(monitor.due(begin + ms(1800)));
    assert_eq!(monitor.handle_check(begin + ms(1802), READY), None);
    assert!(monitor.due(begin + ms(2800)));
    assert_eq!(monitor.handle_check(begin + ms(2802), hung()), None);
    assert_eq!(monitor.health(), Health::Healthy);
}

#[test]
fn refusal_takes_out_at_once() {
    let (mut monitor, begin) = healthy();
    assert!(monitor.due(begin + ms(1300)));
    let refused = Outcome::Absent("connection refused".into());
    assert_eq!(monitor.handle_check(begin + ms(1301), refused), out());
    assert!(monitor.is_absent());
    assert_eq!(monitor.reason(), "connection refused");
    assert_eq!(monitor.next_check(), Some(begin + ms(2300)), "no hurry: it is out already");
}

#[test]
fn two_good_checks_in_a_row_bring_back() {
    let (mut monitor, begin) = healthy();
    assert!(monitor.due(begin + ms(1300)));
    assert_eq!(monitor.handle_check(begin + ms(1301), Outcome::Absent("gone".into())), out());
    assert!(monitor.due(begin + ms(2300)));
    assert_eq!(monitor.handle_check(begin + ms(2301), READY), None);
    assert!(monitor.due(begin + ms(3300)));
    assert_eq!(monitor.handle_check(begin + ms(3301), hung()), None, "starts over");
    assert!(monitor.due(begin + ms(4300)));
    assert_eq!(monitor.handle_check(begin + ms(4301), READY), None);
    assert!(monitor.due(begin + ms(5300)));
    assert_eq!(
        monitor.handle_check(begin + ms(5301), READY),
        Some(Transition { from: Health::Unhealthy, to: Health::Healthy })
    );
    assert!(!monitor.is_absent());
    assert_eq!(monitor.reason(), "200 ok");
}

#[test]
fn unknown_one_needs_as_many_failures_as_a_healthy_one() {
    let (mut monitor, begin) = unknown();
    assert!(monitor.due(begin));
    assert_eq!(monitor.handle_check(begin + ms(900), hung()), None);
    assert_eq!(monitor.health(), Health::Unknown);
    assert!(monitor.due(begin + ms(900)));
    assert_eq!(
        monitor.handle_check(begin + ms(1800), hung()),
        Some(Transition { from: Health::Unknown, to: Health::Unhealthy })
    );
}

#[test]
fn proxy_meeting_a_refusal_takes_out_and_has_it_checked_at_once() {
    for evidence in [Evidence::Refused, Evidence::Unreachable] {
        let (mut monitor, begin) = healthy();
        assert_eq!(monitor.handle_evidence(begin + ms(700), evidence), out());
        assert!(monitor.is_absent());
        assert!(monitor.due(begin + ms(700)));
    }
}

#[test]
fn silence_counts_as_one_failed_check() {
    let (mut monitor, begin) = healthy();
    assert_eq!(monitor.handle_evidence(begin + ms(700), Evidence::Silent), None);
    assert!(monitor.due(begin + ms(700)));
    assert_eq!(monitor.handle_check(begin + ms(1600), hung()), out());
}

#[test]
fn doubt_only_brings_the_next_check_forward() {
    for evidence in [Evidence::ConnectTimeout, Evidence::ResetBeforeFirstByte] {
        let (mut monitor, begin) = healthy();
        assert_eq!(monitor.handle_evidence(begin + ms(700), evidence), None);
        assert!(monitor.due(begin + ms(700)));
        assert_eq!(monitor.handle_check(begin + ms(701), hung()), None);
        assert_eq!(monitor.health(), Health::Healthy);
    }
}

#[test]
fn answer_says_nothing_new_of_a_healthy_one_and_has_an_unhealthy_one_checked() {
    let (mut monitor, begin) = healthy();
    assert_eq!(monitor.handle_evidence(begin + ms(700), Evidence::Answered), None);
    assert_eq!(monitor.next_check(), Some(begin + ms(1300)));
    assert_eq!(monitor.handle_evidence(begin + ms(700), Evidence::Refused), out());
    assert!(monitor.due(begin + ms(700)));
    assert_eq!(monitor.handle_check(begin + ms(701), hung()), None);
    assert_eq!(monitor.handle_evidence(begin + ms(900), Evidence::Answered), None);
    assert_eq!(monitor.next_check(), Some(begin + ms(900)));
}

#[test]
fn flood_of_evidence_makes_ten_checks_a_second_at_most() {
    let (mut monitor, begin) = healthy();
    let mut checks = 0;
    for at in 1000..2000 {
        monitor.handle_evidence(begin + ms(at), Evidence::Refused);
        if monitor.due(begin + ms(at)) {
            checks += 1;
            monitor.handle_check(begin + ms(at), Outcome::Absent("gone".into()));
        }
    }
    assert_eq!(checks, 10);
}
