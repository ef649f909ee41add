use std::net::Ipv4Addr;

use vrrp::{Authentication, Version};

use super::*;

/// Captured from keepalived 2.2.7: PASS secret12, router 51, priority 100, 1 s, 10.5.0.100.
const V2: [u8; 20] = [
    0x21, 0x33, 0x64, 0x01, 0x01, 0x01, 0x01, 0xe3, 0x0a, 0x05, 0x00, 0x64, 0x73, 0x65, 0x63, 0x72,
    0x65, 0x74, 0x31, 0x32,
];
/// The same without password in version 3, from 10.5.0.1 to the group, with pseudo header.
const V3: [u8; 12] = [0x31, 0x33, 0x64, 0x01, 0x00, 0x64, 0x75, 0x69, 0x0a, 0x05, 0x00, 0x64];

fn packet(message: &[u8]) -> Packet<'_> {
    Packet {
        interface: "eth0",
        source: "10.5.0.1".parse().unwrap(),
        destination: "224.0.0.18".parse().unwrap(),
        hop_limit: 255,
        message,
    }
}

fn heard(packets: &[(u64, Packet<'_>)]) -> Vec<Speaker> {
    let mut speakers = Speakers::default();
    for (milliseconds, packet) in packets {
        speakers.hear(Duration::from_millis(*milliseconds), *packet);
    }
    speakers.into_list()
}

#[test]
fn a_speaker_is_known_by_what_it_said_and_how_often() {
    let list = heard(&[(40, packet(&V2)), (1_040, packet(&V2)), (2_060, packet(&V2))]);
    let [speaker] = list.as_slice() else { panic!("one speaker: {list:?}") };
    assert_eq!(speaker.virtual_router_id, 51);
    assert_eq!(speaker.packets, 3);
    assert_eq!(speaker.interval(), Some(Duration::from_millis(1_010)));
    let said = speaker.advertisement().unwrap();
    assert_eq!((said.version, said.priority), (Version::V2, 100));
    assert_eq!(said.interval, Duration::from_secs(1));
    assert_eq!(said.authentication, Authentication::password("secret12"));
    assert_eq!(said.addresses, [Ipv4Addr::new(10, 5, 0, 100)]);
}

#[test]
fn one_packet_has_no_interval() {
    assert_eq!(heard(&[(5, packet(&V2))])[0].interval(), None);
}

#[test]
fn both_checksums_of_version_3_are_told_apart() {
    let mut message_only = V3;
    message_only[6..8].copy_from_slice(&[0x5f, 0xfe]);
    let form = |message: &[u8]| heard(&[(0, packet(message))])[0].said.clone().unwrap().1;
    assert_eq!(form(&V3), Checksum::PseudoHeader);
    assert_eq!(form(&message_only), Checksum::MessageOnly);
}

#[test]
fn who_cannot_be_read_is_listed_with_the_reason() {
    let mut damaged = V2;
    damaged[2] = 101;
    let list = heard(&[(0, packet(&damaged))]);
    assert_eq!(list[0].virtual_router_id, 51);
    assert_eq!(list[0].said, Err(DropReason::Checksum));
}

#[test]
fn routers_hosts_and_interfaces_are_kept_apart() {
    let mut other_router = V2;
    other_router[1] = 52;
    let other_host = Packet { source: "10.5.0.2".parse().unwrap(), ..packet(&V2) };
    let other_interface = Packet { interface: "eth1", ..packet(&V2) };
    let packets = [packet(&V2), packet(&other_router), other_host, other_interface];
    assert_eq!(heard(&packets.map(|packet| (0, packet))).len(), 4);
}

#[test]
fn a_forger_does_not_fill_the_memory() {
    let mut speakers = Speakers::default();
    for number in 0..2_000_u32 {
        let source = Ipv4Addr::from_bits(0x0a05_0000 + number).into();
        speakers.hear(Duration::ZERO, Packet { source, ..packet(&V2) });
    }
    assert_eq!(speakers.into_list().len(), 1_024);
}

#[test]
fn a_message_without_an_identifier_is_nobodys() {
    assert_eq!(heard(&[(0, packet(&[0x21]))]), []);
}
