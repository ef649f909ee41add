//! Speakers on a real segment, witnessed by iproute2. Needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use common::{Cluster, Segment, Speaker, wait_for};
use vip::Event;
use vrrp::State;

#[test]
fn one_of_two_holds_the_address_and_hands_it_over() {
    let segment = Segment::new(2);
    let (first, second) = (speaker(&segment, 1, "secret"), speaker(&segment, 2, "secret"));
    wait_for("a holder", Duration::from_secs(6), || {
        [&first, &second].iter().any(|s| s.state() == State::Active)
    });
    std::thread::sleep(Duration::from_millis(200));
    assert_ne!(segment.holds(1, &Cluster::v2()), segment.holds(2, &Cluster::v2()), "exactly one");
    let (holder, heir) =
        if segment.holds(1, &Cluster::v2()) { (first, second) } else { (second, first) };

    holder.vip.hand_over(Duration::from_secs(5));
    let ended = std::iter::from_fn(|| holder.events.recv_timeout(Duration::from_secs(5)).ok())
        .any(|event| matches!(event, Event::Ended(Ok(()))));
    assert!(ended);
    assert_eq!(heir.state(), State::Active);
    let reason = holder.vip.status().instances[0].transitions.last().unwrap().transition.reason;
    assert!(matches!(reason, vrrp::Reason::HandedOver(_)), "{reason}");
}

#[test]
fn an_address_taken_away_by_somebody_is_back_within_100_milliseconds() {
    let segment = Segment::new(2);
    let speaker = speaker(&segment, 1, "secret");
    wait_for("the address", Duration::from_secs(6), || segment.holds(1, &Cluster::v2()));
    // Others' tests hold the lock of the kernel's network configuration now and then.
    let mut took: Vec<_> = (0..5)
        .map(|_| {
            segment.output(1, &["ip", "address", "delete", "10.5.0.100/24", "dev", "eth0"]);
            wait_for("the address to be back", Duration::from_secs(2), || {
                segment.holds(1, &Cluster::v2())
            })
        })
        .collect();
    took.sort_unstable();
    assert!(took[2] < Duration::from_millis(100), "{took:?}");
    assert_eq!(speaker.state(), State::Active);
    assert_eq!(speaker.vip.status().instances[0].counters.became_active, 1);
}

#[test]
fn a_silent_service_loses_the_address_and_gets_it_back() {
    let segment = Segment::new(2);
    let speaker = speaker(&segment, 1, "secret");
    wait_for("the address", Duration::from_secs(6), || segment.holds(1, &Cluster::v2()));
    speaker.service.dead.store(true, Relaxed);
    wait_for("the address to be gone", Duration::from_secs(4), || {
        !segment.holds(1, &Cluster::v2())
    });
    assert_eq!(speaker.vip.status().instances[0].priority, (50, 100));
    speaker.service.dead.store(false, Relaxed);
    wait_for("the address to be back", Duration::from_secs(2), || segment.holds(1, &Cluster::v2()));
}

#[test]
fn another_mtu_moves_nothing() {
    let segment = Segment::new(2);
    let holder = speaker(&segment, 1, "secret");
    wait_for("the address", Duration::from_secs(6), || segment.holds(1, &Cluster::v2()));
    let heir = speaker(&segment, 2, "secret");
    wait_for("an heir", Duration::from_secs(6), || heir.state() == State::Backup);
    // 576 is the least that every host takes (RFC 791 section 3.1), 1500 is what it was.
    for mtu in ["576", "1500"] {
        for host in [1, 2] {
            segment.output(host, &["ip", "link", "set", "eth0", "mtu", mtu]);
        }
        // Longer than the down interval, which is 3.6 s at this priority.
        std::thread::sleep(Duration::from_secs(4));
        assert!(segment.holds(1, &Cluster::v2()) && !segment.holds(2, &Cluster::v2()), "{mtu}");
        let status = heir.vip.status();
        assert_eq!((heir.state(), status.instances[0].counters.became_active), (State::Backup, 0));
        let counters = holder.vip.status().instances[0].counters.clone();
        assert_eq!((counters.became_active, counters.transitions), (1, 2), "{mtu}");
    }
}

#[test]
fn a_stranger_with_the_address_is_respected() {
    let segment = Segment::new(2);
    segment.output(2, &["ip", "address", "add", "10.5.0.100/24", "dev", "eth0"]);
    let speaker = speaker(&segment, 1, "secret");
    let refusal = std::iter::from_fn(|| speaker.events.recv_timeout(Duration::from_secs(6)).ok())
        .find_map(|event| match event {
            Event::Ended(Err(error)) => Some(error.to_string()),
            _ => None,
        });
    let expected = "10.5.0.100 is already answered by 02:00:00:00:00:02 on eth0";
    assert!(refusal.as_deref().unwrap_or_default().starts_with(expected), "{refusal:?}");
    assert!(!segment.holds(1, &Cluster::v2()));
}

#[test]
fn another_password_is_told_about_once() {
    let segment = Segment::new(2);
    let one = speaker(&segment, 1, "secret");
    wait_for("the address", Duration::from_secs(6), || segment.holds(1, &Cluster::v2()));
    // The second hears packets it drops, so nobody is heard, yet the address is answered.
    let other = speaker(&segment, 2, "public");
    std::thread::sleep(Duration::from_secs(3));
    let told: Vec<String> = other
        .events
        .try_iter()
        .filter_map(|event| match event {
            Event::Dropped { source, reason, .. } => Some(format!("{source} {}", reason.label())),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["10.5.0.1 password"]);
    drop((one, other));
}

fn speaker(segment: &Segment, host: usize, password: &'static str) -> Speaker {
    segment.speaker(host, &Cluster { password: Some(password), ..Cluster::v2() }, 100)
}
