use super::*;
use crate::{Difference, packet};

/// A running router of other settings.
fn running(settings: Settings) -> VirtualRouter {
    settings.check().unwrap();
    let mut router = VirtualRouter::new(settings, at(0));
    router.start(at(0));
    router
}

fn version_3() -> Settings {
    Settings { version: Version::V3, authentication: Authentication::None, ..settings() }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

/// A datagram to the group, byte for byte.
fn receive(router: &mut VirtualRouter, from: &str, hex: &str) -> Result<(), DropReason> {
    receive_at(router, from, GROUP, hex)
}

fn receive_at(
    router: &mut VirtualRouter,
    from: &str,
    to: &str,
    hex: &str,
) -> Result<(), DropReason> {
    let payload = bytes(hex);
    let datagram =
        Datagram { source: ip(from), destination: ip(to), hop_limit: 255, payload: &payload };
    router.handle_datagram(at(10), &datagram)
}

#[test]
fn packets_that_are_no_advertisement_are_dropped_by_name() {
    let mut router = started();
    // Captured from keepalived: VRID 51, PASS "secret12"; then changed.
    for (hex, reason) in [
        ("213364", DropReason::Length(3)),
        ("41336401010101e30a0500647365637265743132", DropReason::UnknownVersion(4)),
        ("22336401010101e30a0500647365637265743132", DropReason::Type(2)),
        ("21336501010101e30a0500647365637265743132", DropReason::Checksum),
        ("21336401020100e30a0500647365637265743132", DropReason::AuthenticationType(2)),
        ("21336401010001e40a0500647365637265743132", DropReason::NoInterval),
    ] {
        assert_eq!(receive(&mut router, "10.5.0.1", hex), Err(reason), "{hex}");
    }
    let labels: Vec<_> = router.counters().dropped.keys().copied().collect();
    assert_eq!(
        labels,
        ["authentication_type", "checksum", "length", "no_interval", "type", "unknown_version"]
    );
    assert_eq!(router.foreign().count(), 0);
}

#[test]
fn packets_for_others_or_from_afar_are_dropped_by_name() {
    let mut router = started();
    let mut drop = |from: &str, to: &str, hop_limit: u8, change: &dyn Fn(&mut Advertisement)| {
        let mut packet = advertisement(200);
        change(&mut packet);
        let payload = packet.emit(ip(from), ip(to), Checksum::default());
        let datagram =
            Datagram { source: ip(from), destination: ip(to), hop_limit, payload: &payload };
        router.handle_datagram(at(10), &datagram).unwrap_err()
    };
    assert_eq!(drop(SELF, GROUP, 255, &|_| ()), DropReason::Own);
    assert_eq!(drop(PEER, GROUP, 255, &|p| p.virtual_router_id = 52), DropReason::OtherRouter(52));
    assert_eq!(drop(PEER, GROUP, 254, &|_| ()), DropReason::HopLimit(254));
    let labels: Vec<_> = router.counters().dropped.keys().copied().collect();
    assert_eq!(labels, ["other_router", "own", "ttl"]);
    assert_eq!(router.foreign().count(), 0);
}

#[test]
fn routers_configured_otherwise_are_dropped_by_name_and_known_as_foreign() {
    let mut router = started();
    let mut drop = |last: u8, to: &str, change: &dyn Fn(&mut Advertisement)| {
        let mut packet = advertisement(200);
        change(&mut packet);
        let from = format!("10.0.0.{last}");
        let payload = packet.emit(ip(&from), ip(to), Checksum::default());
        let datagram =
            Datagram { source: ip(&from), destination: ip(to), hop_limit: 255, payload: &payload };
        router.handle_datagram(at(10 + u64::from(last)), &datagram).unwrap_err()
    };
    let version = DropReason::Version { theirs: 3, ours: 2 };
    assert_eq!(
        drop(21, GROUP, &|p| {
            p.version = Version::V3;
            p.authentication = Authentication::None;
        }),
        version
    );
    let authentication = DropReason::Authentication { theirs: 0, ours: 1 };
    assert_eq!(drop(22, GROUP, &|p| p.authentication = Authentication::None), authentication);
    let other = |p: &mut Advertisement| p.authentication = Authentication::password("other");
    assert_eq!(drop(23, GROUP, &other), DropReason::Password);
    assert_eq!(drop(23, GROUP, &other), DropReason::Password);
    let interval =
        DropReason::Interval { theirs: Duration::from_secs(2), ours: Duration::from_secs(1) };
    assert_eq!(drop(24, GROUP, &|p| p.interval = Duration::from_secs(2)), interval);
    let destination = DropReason::Destination(ip(SELF));
    assert_eq!(drop(25, SELF, &|_| ()), destination);
    let other_group = DropReason::Destination(ip("224.0.0.19"));
    assert_eq!(drop(26, "224.0.0.19", &|_| ()), other_group);

    let foreign: Vec<_> =
        router.foreign().map(|(source, f)| (source, f.difference, f.heard, f.count)).collect();
    let refused = Difference::Refused;
    assert_eq!(
        foreign,
        [
            (ip("10.0.0.21"), refused(version), at(31), 1),
            (ip("10.0.0.22"), refused(authentication), at(32), 1),
            (ip("10.0.0.23"), refused(DropReason::Password), at(33), 2),
            (ip("10.0.0.24"), refused(interval), at(34), 1),
            (ip("10.0.0.25"), refused(destination), at(35), 1),
            (ip("10.0.0.26"), refused(other_group), at(36), 1),
        ]
    );
    let labels: Vec<_> = router.counters().dropped.keys().copied().collect();
    assert_eq!(labels, ["authentication", "destination", "interval", "password", "version"]);
    assert!(!router.heard_anyone());
}

#[test]
fn who_does_not_run_hears_nothing() {
    let mut router = VirtualRouter::new(settings(), at(0));
    assert_eq!(hear(&mut router, at(10), PEER, advertisement(200)), Err(DropReason::NotRunning));
    assert_eq!(router.counters().dropped, BTreeMap::from([("not_running", 1)]));
}

#[test]
fn unicast_takes_packets_from_its_peers_only() {
    let mut router = running(Settings { unicast_peers: vec![ip(PEER)], ..settings() });
    let mut from = |source: &str, destination: &str, hop_limit| {
        let payload = advertisement(200).emit(ip(source), ip(destination), Checksum::default());
        let datagram = Datagram {
            source: ip(source),
            destination: ip(destination),
            hop_limit,
            payload: &payload,
        };
        router.handle_datagram(at(10), &datagram)
    };
    // keepalived does not look at the TTL of unicast packets: they may be routed.
    assert_eq!(from(PEER, SELF, 64), Ok(()));
    assert_eq!(from(LOWER_PEER, SELF, 255), Err(DropReason::NoPeer(ip(LOWER_PEER))));
    assert_eq!(from(PEER, GROUP, 255), Err(DropReason::Destination(ip(GROUP))));
    let dropped = BTreeMap::from([("destination", 1), ("no_peer", 1)]);
    assert_eq!(router.counters().dropped, dropped);
}

#[test]
fn other_addresses_are_told_of_and_take_part_as_with_keepalived() {
    let mut router = started();
    let with = |addresses: &[&str]| Advertisement {
        addresses: addresses.iter().map(|address| ip(address)).collect(),
        ..advertisement(200)
    };
    hear(&mut router, at(1_000), PEER, with(&["10.0.0.100", "10.0.0.101"])).unwrap();
    assert_eq!((router.counters().address_mismatch, router.foreign().count()), (1, 0));

    hear(&mut router, at(2_000), PEER, with(&["10.0.0.200"])).unwrap();
    assert_eq!(router.counters().address_mismatch, 2);
    assert_eq!(router.active_router().map(|(address, _)| address), Some(ip(PEER)));
    let foreign: Vec<_> = router.foreign().collect();
    assert_eq!(foreign.len(), 1);
    assert_eq!(foreign[0].0, ip(PEER));
    assert_eq!(foreign[0].1.difference, Difference::Addresses);
    assert_eq!(foreign[0].1.addresses, [ip("10.0.0.200")]);

    // keepalived may advertise none of the addresses it holds; and this one has come to reason.
    hear(&mut router, at(3_000), PEER, with(&[])).unwrap();
    assert_eq!(router.foreign().count(), 0);
}

#[test]
fn foreign_routers_are_bounded_and_the_longest_silent_one_makes_room() {
    let mut router = started();
    for number in 0..40_u64 {
        let from = format!("10.0.1.{number}");
        let foreign = Advertisement { authentication: Authentication::None, ..advertisement(200) };
        hear(&mut router, at(number), &from, foreign).unwrap_err();
    }
    let sources: Vec<_> = router.foreign().map(|(source, _)| source).collect();
    assert_eq!(sources.len(), 32);
    assert!(sources.contains(&ip("10.0.1.8")) && !sources.contains(&ip("10.0.1.7")));
}

#[test]
fn the_checksum_that_was_heard_is_sent() {
    let mut router = running(Settings { addresses: vec![ip("10.5.0.100")], ..version_3() });
    assert_eq!(router.checksum(), Checksum::PseudoHeader);
    // A message without a pseudo header (RFC 9568 section 5.2.8), then keepalived's, captured.
    receive(&mut router, "10.5.0.1", "3133640100645ffe0a050064").unwrap();
    assert_eq!(router.checksum(), Checksum::MessageOnly);
    receive(&mut router, "10.5.0.1", "31336401006475690a050064").unwrap();
    assert_eq!(router.checksum(), Checksum::PseudoHeader);
    // What is dropped teaches nothing.
    receive(&mut router, "10.5.0.1", "3134640100645ffd0a050064").unwrap_err();
    assert_eq!(router.checksum(), Checksum::PseudoHeader);
    assert_eq!(
        router.counters().checksums,
        BTreeMap::from([("message_only", 1), ("pseudo_header", 1)])
    );
}

#[test]
fn keepalived_before_1_3_7_is_answered_in_its_own_way() {
    let unicast = Settings {
        source: ip("10.5.0.2"),
        unicast_peers: vec![ip("10.5.0.1")],
        addresses: vec![ip("10.5.0.100")],
        ..version_3()
    };
    let mut router = running(unicast);
    // From 10.5.0.1 to 10.5.0.2, but the checksum of 10.5.0.1 to 224.0.0.18.
    receive_at(&mut router, "10.5.0.1", "10.5.0.2", "31336401006475690a050064").unwrap();
    assert_eq!(router.checksum(), Checksum::GroupPseudoHeader);
    assert_eq!(router.counters().checksums, BTreeMap::from([("group_pseudo_header", 1)]));

    let answer = Advertisement {
        version: Version::V3,
        priority: 100,
        authentication: Authentication::None,
        addresses: vec![ip("10.5.0.100")],
        ..advertisement(100)
    };
    let packet = answer.emit(ip("10.5.0.1"), ip("10.5.0.2"), router.checksum());
    assert_eq!(packet, bytes("31336401006475690a050064"));
}

#[test]
fn a_checksum_that_is_set_is_sent_whatever_is_heard() {
    let fixed = ChecksumChoice::Fixed(Checksum::MessageOnly);
    let mut router =
        running(Settings { checksum: fixed, addresses: vec![ip("10.5.0.100")], ..version_3() });
    receive(&mut router, "10.5.0.1", "31336401006475690a050064").unwrap();
    assert_eq!(router.checksum(), Checksum::MessageOnly);
}

#[test]
fn ipv6_has_one_checksum_only() {
    // Captured from keepalived, fe80::88a7:6aff:fe85:c04e to ff02::12.
    let mut router = running(Settings {
        source: ip("fe80::1"),
        addresses: vec![ip("fd05::100")],
        ..version_3()
    });
    let hex = "31335a010064c5c7fd050000000000000000000000000100";
    let from = "fe80::88a7:6aff:fe85:c04e";
    let group = packet::group(ip(from)).to_string();
    assert_eq!(receive_at(&mut router, from, &group, hex), Ok(()));
    assert_eq!(router.counters().checksums, BTreeMap::new());
    // The group's pseudo header does not count where the packet went to another address.
    assert_eq!(receive_at(&mut router, from, "fe80::1", hex), Err(DropReason::Checksum));
}
