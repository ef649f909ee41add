use super::*;

fn running(settings: Settings) -> VirtualRouter {
    settings.check().unwrap();
    let mut router = first_of_its_equals(settings);
    router.start(at(0));
    actions(&mut router);
    router
}

fn version_3(interval: u64) -> Settings {
    Settings {
        version: Version::V3,
        authentication: Authentication::None,
        interval: Duration::from_millis(interval),
        ..settings()
    }
}

fn advertisement_3(priority: u8, interval: u64) -> Advertisement {
    Advertisement {
        version: Version::V3,
        authentication: Authentication::None,
        interval: Duration::from_millis(interval),
        ..advertisement(priority)
    }
}

fn due(router: &VirtualRouter) -> Duration {
    router.next_deadline().unwrap().since_origin()
}

#[test]
fn the_skew_of_centiseconds_is_not_rounded() {
    let mut router = running(version_3(10));
    hear(&mut router, at(1_000), PEER, advertisement_3(200, 10)).unwrap();
    // 3 x 10 ms + (256 - 200) / 256 of 10 ms.
    assert_eq!(due(&router), Duration::from_nanos(1_032_187_500));
}

#[test]
fn version_3_follows_the_active_routers_interval_and_sends_at_its_own() {
    let mut router = running(version_3(1_000));
    hear(&mut router, at(1_000), PEER, advertisement_3(200, 200)).unwrap();
    // 3 x 0.2 s + (256 - 200) / 256 of 0.2 s.
    assert_eq!(due(&router), Duration::from_nanos(1_643_750_000));
    router.handle_timeout(at(1_644));
    assert_eq!(router.state(), State::Active);
    assert_eq!(due(&router), Duration::from_millis(2_644));
    // Back to Backup: the other's interval again.
    hear(&mut router, at(2_000), PEER, advertisement_3(201, 40_950)).unwrap();
    // 3 x 40.95 s + (256 - 200) / 256 of 40.95 s.
    assert_eq!(due(&router), Duration::from_nanos(2_000_000_000 + 131_807_812_500));
}

#[test]
fn version_2_takes_intervals_up_to_255_seconds() {
    let slow = Settings { interval: Duration::from_secs(255), ..settings() };
    let mut router = running(slow);
    // 3 x 255 s + (256 - 200) / 256 s: in version 2 the skew does not grow with the interval.
    assert_eq!(due(&router), Duration::from_micros(765_218_750));
    let theirs = Advertisement { interval: Duration::from_secs(255), ..advertisement(200) };
    hear(&mut router, at(1_000), PEER, theirs).unwrap();
    assert_eq!(due(&router), Duration::from_micros(766_218_750));
}

#[test]
fn the_first_claim_comes_after_more_than_a_second_at_least() {
    let mut router = running(version_3(100));
    // 1.1 s + (256 - 200) / 256 of 0.1 s.
    assert_eq!(due(&router), Duration::from_micros(1_121_875));
    // Once somebody was heard his interval counts: 3 x 0.1 s and the skew.
    hear(&mut router, at(500), PEER, advertisement_3(200, 100)).unwrap();
    assert_eq!(due(&router), Duration::from_micros(821_875));
}

#[test]
fn the_start_up_delay_comes_before_the_listening() {
    let delayed = Settings { startup_delay: Duration::from_secs(10), ..settings() };
    let mut router = running(delayed);
    assert_eq!((router.state(), due(&router)), (State::Initialize, Duration::from_secs(10)));
    assert_eq!(hear(&mut router, at(9_999), PEER, advertisement(200)), Err(DropReason::NotRunning));
    // The interface may come and go meanwhile, it does not begin anew.
    router.set_link(at(9_999), false);
    router.handle_timeout(at(10_000));
    assert_eq!((router.state(), router.next_deadline()), (State::Initialize, None));
    router.set_link(at(11_000), true);
    assert_eq!(actions(&mut router), ["Initialize -> Backup: started, listening first"]);
    assert_eq!(due(&router), Duration::from_micros(14_218_750));
}

#[test]
fn who_leaves_during_the_start_up_delay_is_gone() {
    let delayed = Settings { startup_delay: Duration::from_secs(10), ..settings() };
    let mut router = running(delayed);
    router.hand_over(at(1_000), Duration::from_secs(4));
    assert_eq!((router.state(), router.next_deadline()), (State::Initialize, None));
    assert_eq!(actions(&mut router), [""; 0]);
}

#[test]
fn a_lower_active_router_is_followed_for_the_preempt_delay() {
    let patient = Settings { preempt_delay: Duration::from_secs(60), ..settings() };
    let mut router = running(patient);
    for second in 1..=60 {
        hear(&mut router, at(second * 1_000), PEER, advertisement(150)).unwrap();
        assert_eq!(due(&router), Duration::from_micros(second * 1_000_000 + 3_218_750));
    }
    // The first came at 1 s: from 61 s on they are discarded.
    for second in 61..=63 {
        hear(&mut router, at(second * 1_000), PEER, advertisement(150)).unwrap();
        assert_eq!(due(&router), Duration::from_micros(63_218_750));
    }
    router.handle_timeout(at(63_219));
    assert_eq!(
        actions(&mut router)[2],
        "Backup -> Active: 10.0.0.13 has priority 150, ours is 200"
    );
}

#[test]
fn the_preempt_delay_begins_anew_after_a_router_that_is_as_good() {
    let patient = Settings { preempt_delay: Duration::from_secs(2), ..settings() };
    let mut router = running(patient);
    hear(&mut router, at(1_000), LOWER_PEER, advertisement(150)).unwrap();
    hear(&mut router, at(2_000), "10.0.0.10", advertisement(200)).unwrap();
    hear(&mut router, at(4_000), LOWER_PEER, advertisement(150)).unwrap();
    assert_eq!(due(&router), Duration::from_micros(7_218_750));
}

#[test]
fn what_is_tracked_changes_the_priority_within_its_bounds() {
    let mut router = active();
    router.set_tracking(at(3_300), -60);
    assert_eq!(actions(&mut router), ["advertise 140"]);
    router.set_ready(at(3_300), false);
    assert_eq!(actions(&mut router), ["advertise 70"]);
    router.set_tracking(at(3_300), -60);
    assert_eq!(actions(&mut router), [""; 0]);
    router.set_ready(at(3_300), true);
    router.set_tracking(at(3_300), i16::MIN);
    router.set_tracking(at(3_300), i16::MAX);
    assert_eq!(actions(&mut router), ["advertise 140", "advertise 1", "advertise 254"]);
}

#[test]
fn a_penalty_lets_a_backup_wait_longer() {
    let mut router = started();
    router.set_tracking(at(100), -100);
    // 3 x 1 s + (256 - 100) / 256 s.
    assert_eq!(due(&router), Duration::from_micros(3_609_375));
}

#[test]
fn unready_is_never_better_than_ready() {
    for (priority, unready) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (6, 3), (254, 127)] {
        let mut router = VirtualRouter::new(Settings { priority, ..settings() }, at(0));
        router.set_ready(at(0), false);
        assert_eq!(router.priority(), unready);
    }
}

#[test]
fn an_owner_is_active_at_once_with_a_fixed_priority() {
    let mut router = VirtualRouter::new(Settings { priority: 255, ..settings() }, at(0));
    router.start(at(0));
    assert_eq!(
        actions(&mut router),
        [
            "advertise 255",
            "hold",
            "Initialize -> Active: started as the owner of the addresses",
            "announce"
        ]
    );
    router.set_ready(at(0), false);
    router.set_tracking(at(0), -100);
    assert_eq!(actions(&mut router), [""; 0]);
    hear(&mut router, at(100), PEER, advertisement(254)).unwrap();
    assert_eq!(actions(&mut router), ["advertise 255", "announce"]);
}

#[test]
fn of_two_owners_the_one_with_the_lower_address_becomes_an_ordinary_router() {
    let mut router = running(Settings { priority: 255, ..settings() });
    for now in [1_000, 2_000, 3_000] {
        hear(&mut router, at(now), PEER, advertisement(255)).unwrap();
        assert_eq!(actions(&mut router), [""; 0]);
    }
    hear(&mut router, at(4_000), PEER, advertisement(255)).unwrap();
    assert_eq!(
        actions(&mut router),
        [
            "release",
            "Active -> Backup: 10.0.0.13 is configured as the owner (priority 255) too: this node goes on with 254, leave 255 to one of them"
        ]
    );
    assert_eq!(router.priority(), 254);
    // 3 x 1 s + (256 - 254) / 256 s.
    assert_eq!(due(&router), Duration::from_nanos(7_007_812_500));

    // Other settings end it.
    router.reconfigure(at(5_000), settings());
    assert_eq!(router.priority(), 200);
    router.reconfigure(at(6_000), Settings { priority: 255, ..settings() });
    assert_eq!((router.state(), router.priority()), (State::Active, 255));
}

#[test]
fn another_owner_that_ends_soon_is_outwaited() {
    let mut router = running(Settings { priority: 255, ..settings() });
    for now in [1_000, 2_000, 3_000, 10_000, 11_000, 12_000] {
        hear(&mut router, at(now), PEER, advertisement(255)).unwrap();
    }
    assert_eq!((router.state(), router.priority()), (State::Active, 255));
}

#[test]
fn the_end_of_a_router_that_is_not_followed_moves_nothing() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(200)).unwrap();
    hear(&mut router, at(1_100), LOWER_PEER, advertisement(0)).unwrap();
    assert_eq!(due(&router), Duration::from_micros(4_218_750));
}

#[test]
fn priority_zero_that_comes_twice_does_not_put_the_claim_off() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(200)).unwrap();
    hear(&mut router, at(1_500), PEER, advertisement(0)).unwrap();
    hear(&mut router, at(1_600), PEER, advertisement(0)).unwrap();
    assert_eq!(due(&router), Duration::from_micros(1_718_750));
}

#[test]
fn whatever_happens_to_one_that_overslept_it_steps_back_first() {
    type Input = fn(&mut VirtualRouter);
    let inputs: [(Input, u8); 4] = [
        (|router| router.set_ready(at(10_000), false), 100),
        (|router| router.set_tracking(at(10_000), -10), 190),
        (|router| router.reconfigure(at(10_000), Settings { priority: 190, ..settings() }), 190),
        (|router| router.handle_timeout(at(10_000)), 200),
    ];
    for (input, priority) in inputs {
        let mut router = active();
        input(&mut router);
        assert_eq!(
            actions(&mut router),
            ["release", "Active -> Backup: was not running for 5.8s, another router may be Active"]
        );
        assert_eq!(router.priority(), priority);
    }
    let mut router = active();
    router.hand_over(at(10_000), Duration::from_secs(4));
    assert_eq!(router.state(), State::Initialize);
    assert!(!actions(&mut router).contains(&"advertise 1".to_owned()));
}

#[test]
fn another_version_learns_nothing_from_the_routers_of_the_last() {
    let mut router = running(Settings { interval: Duration::from_secs(255), ..settings() });
    let theirs = Advertisement { interval: Duration::from_secs(255), ..advertisement(200) };
    hear(&mut router, at(1_000), PEER, theirs).unwrap();
    router.reconfigure(at(2_000), version_3(1_000));
    assert_eq!(router.active_router(), None);
    // 3 x 1 s + (256 - 200) / 256 of 1 s.
    assert_eq!(due(&router), Duration::from_micros(5_218_750));
}
