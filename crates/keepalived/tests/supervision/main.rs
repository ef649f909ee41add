//! A supervised keepalived in network namespaces, seen by `ip`, by its peers and by a client.
//! Needs root, keepalived and iproute2.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod client;
mod deaths;
mod heirs;
mod moves;
mod node;
mod reloads;
mod segment;

use std::time::{Duration, Instant};

use keepalived::Event;
use vrrp::{State, Version};

use node::{Node, settings};
use segment::Segment;

const SECOND: Duration = Duration::from_secs(1);

/// What keepalived needs at 1 s and priority 200: 3.22 s; and a machine that has other work.
const TAKE_OVER: Duration = Duration::from_secs(8);

#[test]
fn it_becomes_active_and_the_status_says_why() {
    let segment = Segment::new(1);
    let node = Node::start(&segment, 1, &settings(1));
    node.wait_for(State::Active, TAKE_OVER);
    assert!(segment.holds(1, "10.5.0.100/24"));

    let status = node.keepalived.status();
    let instance = &status.instances[0];
    assert_eq!(
        (instance.name.as_str(), instance.interface.as_str(), instance.virtual_router_id),
        ("cplb-vip-0", "eth0", 51)
    );
    assert_eq!((instance.version, instance.priority), (2, (200, 200)));
    assert_eq!(instance.addresses, ["10.5.0.100/24".parse().unwrap()]);
    let reasons: Vec<_> = instance
        .transitions
        .iter()
        .map(|past| (past.transition.to, past.transition.reason.as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            (State::Backup, "started, listening first"),
            (State::Active, "no advertisement heard for the down interval")
        ]
    );
    assert_eq!(status.process, Some(node.pid("keepalived.pid")));
    // Where keepalived of the distribution has them, which may run beside.
    for file in
        ["/run/keepalived.pid", "/run/keepalived_vrrp.pid", "/run/keepalived/keepalived.pid"]
    {
        let of_another = std::fs::read_to_string(file).unwrap_or_default();
        for ours in ["keepalived.pid", "keepalived-vrrp.pid"] {
            assert_ne!(of_another.trim(), node.pid(ours).to_string());
        }
    }

    let run_dir = node.stop();
    assert!(!segment.holds(1, "10.5.0.100/24"));
    assert_eq!(std::fs::read_dir(run_dir.path()).unwrap().count(), 0, "no file is left");
}

/// The second node hears the first one, or it would become Active too.
fn two_agree(change: impl Fn(usize, &mut keepalived::Settings), addresses: &[&str]) {
    let segment = Segment::new(2);
    let start = |host| {
        let mut settings = settings(host);
        change(host, &mut settings);
        settings.instances[0].addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        Node::start(&segment, host, &settings)
    };
    let first = start(1);
    first.wait_for(State::Active, TAKE_OVER);
    let second = start(2);
    second.wait_for(State::Backup, SECOND);
    std::thread::sleep(4 * SECOND);
    for address in addresses {
        assert!(segment.holds(1, address), "{address}");
        assert!(!segment.holds(2, address), "{address}");
    }
    second.assert_all(State::Backup);
    drop(first.stop());
    second.wait_for(State::Active, TAKE_OVER);
    for address in addresses {
        assert!(segment.holds(2, address), "{address}");
    }
}

#[test]
fn peers_accept_one_anothers_odd_password() {
    for password in ["a b#c!", "'it{s}'", "\\n~@$x"] {
        two_agree(|_, it| it.instances[0].auth_pass = password.into(), &["10.5.0.100/24"]);
    }
}

/// The Authentication Data are the last 8 bytes (RFC 2338 section 5.3.10).
#[test]
fn an_odd_password_is_on_the_wire_as_it_was_given() {
    let segment = Segment::new(2);
    for (password, bytes) in [
        ("a b#c!", "6120 6223 6321 0000"),
        ("'{$x}~@'", "277b 2478 7d7e 4027"),
        ("\\n\u{e9}!", "5c6e c3a9 2100 0000"),
    ] {
        let mut settings = settings(1);
        settings.instances[0].auth_pass = password.into();
        let node = Node::start(&segment, 1, &settings);
        let line = ["timeout", "8", "tcpdump", "-c1", "-x", "-n", "-i", "eth0", "ip proto 112"];
        let captured = segment.output(2, &line);
        assert!(captured.replace("\n", "").contains("0x0020:  "), "{captured}");
        assert!(captured.trim_end().ends_with(&format!("0x0020:  {bytes}")), "{captured}");
        drop(node.stop());
    }
}

#[test]
fn peers_agree_in_version_3_with_ten_advertisements_a_second() {
    let change = |_, it: &mut keepalived::Settings| {
        it.instances[0].version = Version::V3;
        it.instances[0].advert_interval = SECOND / 10;
    };
    two_agree(change, &["10.5.0.100/24"]);
}

#[test]
fn peers_agree_over_ipv6() {
    two_agree(|_, _| {}, &["fd05::100/64"]);
}

#[test]
fn both_families_move_together() {
    two_agree(|_, _| {}, &["10.5.0.100/24", "fd05::100/64"]);
}

#[test]
fn peers_agree_by_unicast() {
    let change = |host: usize, it: &mut keepalived::Settings| {
        let address = |host: usize| [10, 5, 0, host as u8].into();
        it.instances[0].unicast_source = Some(address(host));
        it.instances[0].unicast_peers = vec![address(3 - host)];
    };
    two_agree(change, &["10.5.0.100/24"]);
}

/// In the order told, without keepalived's process numbers.
fn describe(event: &Event) -> String {
    match event {
        Event::Transition { transition, .. } => {
            format!("{} to {}", transition.from.name(), transition.to.name())
        }
        Event::Started { .. } => "started".into(),
        Event::Died { again_in, .. } => format!("died, again in {again_in:?}"),
        Event::Removed { what } => format!("removed {what}"),
        Event::Trouble { error } => format!("trouble: {error}"),
        Event::Ended(outcome) => format!("ended: {outcome:?}"),
    }
}

/// How long the condition took to come true; it must within `limit`.
fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "in vain for {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}
