use std::collections::BTreeMap;

use super::*;
use crate::{Advertisement, Authentication, Version};

mod checks;
mod delays;
mod estates;

const SELF: &str = "10.0.0.12";
const PEER: &str = "10.0.0.13";
const LOWER_PEER: &str = "10.0.0.11";
const GROUP: &str = "224.0.0.18";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(milliseconds: u64) -> Instant {
    Instant::new(Duration::from_millis(milliseconds))
}

fn settings() -> Settings {
    Settings {
        virtual_router_id: 51,
        version: Version::V2,
        priority: 200,
        interval: Duration::from_secs(1),
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        authentication: Authentication::password("BuyK0s"),
        checksum: ChecksumChoice::default(),
        source: ip(SELF),
        unicast_peers: vec![],
        addresses: vec![ip("10.0.0.100")],
    }
}

/// Of the others only those of lower addresses are known, so that it waits no longer than the RFC
/// says.
fn first_of_its_equals(settings: Settings) -> VirtualRouter {
    let mut router = VirtualRouter::new(settings, at(0));
    router.set_peers(vec![ip("10.0.0.1")]);
    router
}

fn started() -> VirtualRouter {
    let mut router = first_of_its_equals(settings());
    router.start(at(0));
    actions(&mut router);
    router
}

fn active() -> VirtualRouter {
    let mut router = started();
    router.handle_timeout(at(3_219));
    actions(&mut router);
    assert_eq!(router.state(), State::Active);
    router
}

fn advertisement(priority: u8) -> Advertisement {
    Advertisement {
        version: Version::V2,
        virtual_router_id: 51,
        priority,
        interval: Duration::from_secs(1),
        authentication: Authentication::password("BuyK0s"),
        addresses: vec![ip("10.0.0.100")],
    }
}

fn hear(
    router: &mut VirtualRouter,
    now: Instant,
    from: &str,
    what: Advertisement,
) -> Result<(), DropReason> {
    let payload = what.emit(ip(from), ip(GROUP), Checksum::default());
    let datagram =
        Datagram { source: ip(from), destination: ip(GROUP), hop_limit: 255, payload: &payload };
    router.handle_datagram(now, &datagram)
}

/// The actions waiting, in words.
fn actions(router: &mut VirtualRouter) -> Vec<String> {
    std::iter::from_fn(|| router.poll_action())
        .map(|action| match action {
            Action::Advertise(advertisement) => format!("advertise {}", advertisement.priority),
            Action::Hold => "hold".into(),
            Action::Announce => "announce".into(),
            Action::Release => "release".into(),
            Action::Transition(t) => format!("{} -> {}: {}", t.from.name(), t.to.name(), t.reason),
        })
        .collect()
}

#[test]
fn listens_for_three_intervals_and_the_skew_before_it_claims() {
    let mut router = first_of_its_equals(settings());
    router.start(at(0));
    assert_eq!(actions(&mut router), ["Initialize -> Backup: started, listening first"]);
    // 3 x 1 s + (256 - 200) / 256 s.
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(3_218_750))));

    router.handle_timeout(at(3_218));
    assert_eq!(router.state(), State::Backup);
    router.handle_timeout(at(3_219));
    assert_eq!(
        actions(&mut router),
        ["advertise 200", "hold", "Backup -> Active: no other router heard for 3.2s", "announce"]
    );
    assert_eq!(router.next_deadline(), Some(at(4_219)));
}

#[test]
fn an_equal_router_takes_nothing_away() {
    let mut router = started();
    for second in 1..60 {
        hear(&mut router, at(second * 1_000), LOWER_PEER, advertisement(200)).unwrap();
        router.handle_timeout(at(second * 1_000 + 999));
    }
    assert_eq!(router.state(), State::Backup);
    assert_eq!(actions(&mut router), [""; 0]);
}

#[test]
fn a_silent_active_router_is_followed_after_the_down_interval() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(200)).unwrap();
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(4_218_750))));
    router.handle_timeout(at(4_219));
    assert_eq!(
        actions(&mut router)[2],
        "Backup -> Active: no advertisement from 10.0.0.13 for 3.2s"
    );
}

#[test]
fn priority_zero_shortens_the_wait_to_the_skew() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(200)).unwrap();
    hear(&mut router, at(1_500), PEER, advertisement(0)).unwrap();
    // 218.75 ms of skew.
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(1_718_750))));
    router.handle_timeout(at(1_719));
    assert_eq!(actions(&mut router)[2], "Backup -> Active: 10.0.0.13 left (priority 0)");
}

#[test]
fn equal_heirs_wait_by_rank_and_the_dead_one_does_not_count() {
    let mut router = started();
    router.set_peers(vec![ip(LOWER_PEER), ip(SELF), ip(PEER), ip("10.0.0.14")]);
    // As long as nobody is Active two come before us: half of the skew.
    assert_eq!(
        router.next_deadline(),
        Some(Instant::new(Duration::from_nanos(3_218_750_000 + 109_375_000)))
    );
    // The Active router is 10.0.0.14: only 10.0.0.13 comes before us, a quarter of the skew.
    hear(&mut router, at(0), "10.0.0.14", advertisement(200)).unwrap();
    assert_eq!(
        router.next_deadline(),
        Some(Instant::new(Duration::from_nanos(3_218_750_000 + 54_687_500)))
    );
    // The Active router is 10.0.0.11: two come before us.
    hear(&mut router, at(0), LOWER_PEER, advertisement(200)).unwrap();
    assert_eq!(
        router.next_deadline(),
        Some(Instant::new(Duration::from_nanos(3_218_750_000 + 109_375_000)))
    );
}

#[test]
fn a_lower_priority_is_discarded_and_does_not_touch_the_timer() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(150)).unwrap();
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(3_218_750))));
}

#[test]
fn without_preemption_a_lower_priority_is_followed() {
    let mut router = first_of_its_equals(Settings { preempt: false, ..settings() });
    router.start(at(0));
    hear(&mut router, at(1_000), PEER, advertisement(150)).unwrap();
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(4_218_750))));
}

#[test]
fn an_active_router_that_lowers_its_priority_is_relieved_after_the_skew() {
    let mut router = started();
    hear(&mut router, at(1_000), PEER, advertisement(200)).unwrap();
    hear(&mut router, at(1_200), PEER, advertisement(1)).unwrap();
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(1_418_750))));
    // Saying it again does not put the take-over off.
    hear(&mut router, at(1_400), PEER, advertisement(1)).unwrap();
    router.handle_timeout(at(1_419));
    assert_eq!(actions(&mut router)[2], "Backup -> Active: 10.0.0.13 has priority 1, ours is 200");
}

#[test]
fn as_active_it_advertises_each_interval_and_only_sending_rearms_the_timer() {
    let mut router = active();
    let foreign = Advertisement { authentication: Authentication::None, ..advertisement(250) };
    for step in 0..100 {
        hear(&mut router, at(3_300 + step), PEER, foreign.clone()).unwrap_err();
    }
    assert_eq!(router.next_deadline(), Some(at(4_219)));
    router.handle_timeout(at(4_220));
    assert_eq!(actions(&mut router), ["advertise 200"]);
    // A second, and a sixth of the skew of (256 - 200) / 256 s beside a foreign router.
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_nanos(5_256_458_333))));
    assert_eq!(router.counters().dropped, BTreeMap::from([("authentication", 100)]));
}

#[test]
fn an_active_router_yields_to_a_higher_priority_and_to_an_equal_one_with_a_higher_address() {
    let mut router = active();
    hear(&mut router, at(4_000), LOWER_PEER, advertisement(201)).unwrap();
    assert_eq!(
        actions(&mut router),
        ["release", "Active -> Backup: 10.0.0.11 took over with priority 201, ours is 200"]
    );

    let mut router = active();
    hear(&mut router, at(4_000), PEER, advertisement(200)).unwrap();
    assert_eq!(
        actions(&mut router),
        ["release", "Active -> Backup: 10.0.0.13 has the same priority and the higher address"]
    );
}

#[test]
fn an_active_router_answers_a_lower_one_with_an_advertisement() {
    let mut router = active();
    hear(&mut router, at(4_000), LOWER_PEER, advertisement(200)).unwrap();
    assert_eq!(actions(&mut router), ["advertise 200", "announce"]);
    hear(&mut router, at(4_001), PEER, advertisement(0)).unwrap();
    assert_eq!(actions(&mut router), ["advertise 200"]);
    assert_eq!(router.state(), State::Active);
}

#[test]
fn handing_over_serves_on_until_the_heir_is_heard() {
    let mut router = active();
    router.set_peers(vec![ip(LOWER_PEER)]);
    router.hand_over(at(4_000), Duration::from_secs(4));
    assert_eq!(actions(&mut router), ["advertise 1"]);
    assert_eq!(router.state(), State::Active);

    hear(&mut router, at(4_230), LOWER_PEER, advertisement(200)).unwrap();
    assert_eq!(actions(&mut router), ["release", "Active -> Initialize: handed over to 10.0.0.11"]);
    assert_eq!(router.next_deadline(), None);
}

#[test]
fn without_an_heir_it_leaves_with_priority_zero_at_the_deadline() {
    let mut router = active();
    router.set_peers(vec![ip(LOWER_PEER)]);
    router.hand_over(at(4_000), Duration::from_secs(2));
    router.handle_timeout(at(5_000));
    router.handle_timeout(at(6_000));
    assert_eq!(
        actions(&mut router),
        [
            "advertise 1",
            "advertise 1",
            "advertise 0",
            "release",
            "Active -> Initialize: leaving, nobody took over in time"
        ]
    );
}

#[test]
fn alone_it_does_not_wait_for_an_heir() {
    let mut router = active();
    router.set_peers(vec![ip(SELF)]);
    router.hand_over(at(4_000), Duration::from_secs(2));
    assert_eq!(actions(&mut router), ["advertise 0", "release", "Active -> Initialize: stopped"]);
}

#[test]
fn unready_it_advertises_half_its_priority() {
    let mut router = active();
    router.set_ready(at(4_000), false);
    assert_eq!(actions(&mut router), ["advertise 100"]);
    router.set_ready(at(4_500), true);
    assert_eq!(actions(&mut router), ["advertise 200"]);
}

#[test]
fn an_unready_backup_gives_ready_ones_time_to_go_first() {
    let mut router = started();
    router.set_ready(at(100), false);
    // 3 x 1 s + (256 - 100) / 256 s.
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(3_609_375))));
}

#[test]
fn who_overslept_steps_back_without_a_word() {
    let mut router = active();
    // Frozen from 3.2 s to 10 s; the next advertisement was due at 4.219 s.
    hear(&mut router, at(10_000), LOWER_PEER, advertisement(200)).unwrap();
    assert_eq!(
        actions(&mut router),
        ["release", "Active -> Backup: was not running for 5.8s, another router may be Active"]
    );
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_micros(13_218_750))));
}

#[test]
fn link_down_releases_and_link_up_listens_again() {
    let mut router = active();
    router.set_link(at(4_000), false);
    assert_eq!(actions(&mut router), ["release", "Active -> Initialize: interface down"]);
    router.set_link(at(5_000), true);
    assert_eq!(actions(&mut router), ["Initialize -> Backup: started, listening first"]);
}

#[test]
fn other_settings_do_not_change_the_state() {
    let mut router = active();
    let lowered = Settings { priority: 150, addresses: vec![ip("10.0.0.101")], ..settings() };
    router.reconfigure(at(3_500), lowered.clone());
    assert_eq!(actions(&mut router), ["advertise 150"]);
    assert_eq!((router.state(), router.next_deadline()), (State::Active, Some(at(4_500))));

    let mut router = started();
    router.reconfigure(at(1_000), lowered);
    assert_eq!(actions(&mut router), [""; 0]);
    // 3 x 1 s + (256 - 150) / 256 s, from now on.
    assert_eq!(router.next_deadline(), Some(Instant::new(Duration::from_nanos(4_414_062_500))));
}
