use super::super::finding::Severity;
use super::super::testing::{V2, bytes, router, speaker};
use super::*;

/// Captured from keepalived 2.2.7, from 10.5.0.1 to the group.
const PACKET: &str =
    "45c0002800010000ff70d08c0a050001e000001221336401010101e30a0500647365637265743132";
const OWN: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(10, 5, 0, 9))];

fn sender() -> IpAddr {
    "10.5.0.1".parse().unwrap()
}

#[test]
fn an_advertisement_tells_router_and_sender() {
    assert_eq!(read(&bytes(PACKET), &OWN), Some((51, sender())));
    // The same over IPv6: class 0xc0, 28 bytes of protocol 112, hop limit 255.
    let packet = bytes(
        "6c000000001c70fffe8000000000000088a76afffe85c04eff02000000000000000000000000001231335a010064c5c7fd050000000000000000000000000100",
    );
    assert_eq!(read(&packet, &OWN), Some((51, "fe80::88a7:6aff:fe85:c04e".parse().unwrap())));
}

#[test]
fn what_is_for_others_from_here_or_no_vrrp_is_left_out() {
    let packet = bytes(PACKET);
    let mut to_another = packet.clone();
    to_another[16..20].copy_from_slice(&[10, 5, 0, 7]);
    assert_eq!(read(&to_another, &OWN), None);
    let mut to_us = packet.clone();
    to_us[16..20].copy_from_slice(&[10, 5, 0, 9]);
    assert_eq!(read(&to_us, &OWN), Some((51, sender())));
    assert_eq!(read(&packet, &[sender()]), None, "our own packet");
    let mut udp = packet.clone();
    udp[9] = 17;
    assert_eq!(read(&udp, &OWN), None);
    for length in 0..22 {
        assert_eq!(read(&packet[..length], &OWN), None, "cut after {length} bytes");
    }
}

#[test]
fn what_arrives_and_is_not_heard_is_blocked() {
    let arrived = Arrived::from([((51, sender()), 4)]);
    let findings = check(&[router()], &arrived, &[]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(
        findings[0].seen,
        "advertisements of 10.5.0.1 for virtual router 51 arrive here and are dropped by this host"
    );
}

#[test]
fn what_is_heard_or_of_other_routers_is_not_blocked() {
    let arrived = Arrived::from([((51, sender()), 4)]);
    let heard = [speaker("10.5.0.1", V2, 4)];
    assert_eq!(check(&[router()], &arrived, &heard)[0].severity, Severity::Ok);
    let other = Arrived::from([((52, sender()), 4)]);
    assert_eq!(check(&[router()], &other, &[])[0].severity, Severity::Ok);
    let single = Arrived::from([((51, sender()), 1)]);
    assert_eq!(check(&[router()], &single, &[])[0].severity, Severity::Ok);
}
