use super::*;

/// keepalived 2.2.7 that became Master of 10.5.0.100.
const KEEPALIVED_ARP: &str = "ffffffffffff 368ca289bf94 0806 \
     0001 0800 06 04 0001 368ca289bf94 0a050064 ffffffffffff 0a050064";
/// `arping -A -I eth0 10.5.0.100` of iputils 20221126.
const ARPING_REPLY: &str = "ffffffffffff 02000000000a 0806 \
     0001 0800 06 04 0002 02000000000a 0a050064 02000000000a 0a050064";
/// `arping -D -I eth0 10.5.0.77` of iputils 20221126, but for the target hardware address, which
/// RFC 5227 wants zero.
const ARPING_PROBE: &str = "ffffffffffff 02000000000a 0806 \
     0001 0800 06 04 0001 02000000000a 00000000 000000000000 0a05004d";
/// keepalived 2.2.7 that became Master of fd05::100.
const KEEPALIVED_ADVERTISEMENT: &str = "333300000001 8aa76a85c04e 86dd \
     60000000 0020 3a ff fd050000000000000000000000000100 ff020000000000000000000000000001 \
     88 00 a518 20000000 fd050000000000000000000000000100 02 01 8aa76a85c04e";
/// Linux 6.18 looking for a duplicate of fd05::64:1234, with enhanced_dad=0.
const LINUX_SOLICITATION: &str = "3333ff641234 02000000000a 86dd \
     60000000 0018 3a ff 00000000000000000000000000000000 ff0200000000000000000001ff641234 \
     87 00 5872 00000000 fd050000000000000000000000641234";

const KEEPALIVED: Mac = Mac([0x36, 0x8c, 0xa2, 0x89, 0xbf, 0x94]);
const KEEPALIVED_V6: Mac = Mac([0x8a, 0xa7, 0x6a, 0x85, 0xc0, 0x4e]);
const LOCAL: Mac = Mac([2, 0, 0, 0, 0, 0x0a]);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn gratuitous_arp_is_that_of_keepalived() {
    let frame = gratuitous_arp_request(KEEPALIVED, Ipv4Addr::new(10, 5, 0, 100));
    assert_eq!(frame, hex(KEEPALIVED_ARP));
}

#[test]
fn gratuitous_arp_reply_is_that_of_arping() {
    let frame = gratuitous_arp_reply(LOCAL, Ipv4Addr::new(10, 5, 0, 100));
    assert_eq!(frame, hex(ARPING_REPLY));
}

#[test]
fn arp_probe_is_that_of_rfc_5227() {
    assert_eq!(arp_probe(LOCAL, Ipv4Addr::new(10, 5, 0, 77)), hex(ARPING_PROBE));
}

#[test]
fn neighbour_advertisement_is_that_of_keepalived() {
    let frame = neighbour_advertisement(KEEPALIVED_V6, "fd05::100".parse().unwrap(), false);
    assert_eq!(frame, hex(KEEPALIVED_ADVERTISEMENT));

    // The Router flag is the highest bit after the checksum, which falls by as much.
    let frame = neighbour_advertisement(KEEPALIVED_V6, "fd05::100".parse().unwrap(), true);
    let of_a_router = KEEPALIVED_ADVERTISEMENT.replace("a518 20000000", "2518 a0000000");
    assert_eq!(frame, hex(&of_a_router));
}

#[test]
fn neighbour_solicitation_is_that_of_linux() {
    let frame = neighbour_solicitation(LOCAL, "fd05::64:1234".parse().unwrap());
    assert_eq!(frame, hex(LINUX_SOLICITATION));
}

#[test]
fn reads_who_has_an_ipv4_address() {
    let holder = Some((Ipv4Addr::new(10, 5, 0, 100), KEEPALIVED));
    assert_eq!(arp_sender(&hex(KEEPALIVED_ARP)), holder);

    let mut padded = hex(KEEPALIVED_ARP);
    padded.resize(60, 0);
    assert_eq!(arp_sender(&padded), holder);
}

#[test]
fn reads_who_has_an_ipv6_address() {
    let address: Ipv6Addr = "fd05::100".parse().unwrap();
    assert_eq!(
        advertised_neighbour(&hex(KEEPALIVED_ADVERTISEMENT)),
        Some((address, KEEPALIVED_V6))
    );
}

#[test]
fn takes_the_sender_where_an_advertisement_has_no_option() {
    let mut frame = hex(KEEPALIVED_ADVERTISEMENT);
    frame.truncate(frame.len() - 8);
    // The length and the checksum (RFC 8200 section 8.1) without the option.
    frame[18..20].copy_from_slice(&[0, 0x18]);
    frame[56..58].copy_from_slice(&[0x5c, 0x9d]);
    let address: Ipv6Addr = "fd05::100".parse().unwrap();
    assert_eq!(advertised_neighbour(&frame), Some((address, KEEPALIVED_V6)));
}

#[test]
fn refuses_an_advertisement_that_rfc_4861_calls_invalid() {
    let changed = |position: usize, value: u8| {
        let mut frame = hex(KEEPALIVED_ADVERTISEMENT);
        frame[position] = value;
        advertised_neighbour(&frame)
    };
    assert_eq!(changed(21, 254), None, "a hop limit below 255 has crossed a router");
    assert_eq!(changed(20, 6), None, "TCP");
    assert_eq!(changed(54, 135), None, "a solicitation");
    assert_eq!(changed(85, 0x4f), None, "a wrong checksum");
    assert_eq!(changed(19, 0x28), None, "longer than the frame");
}

#[test]
fn refuses_frames_that_are_cut_off() {
    let whole = hex(KEEPALIVED_ADVERTISEMENT);
    let arp = hex(KEEPALIVED_ARP);
    assert!((0..whole.len()).all(|length| advertised_neighbour(&whole[..length]).is_none()));
    // The sender's addresses end 10 bytes before the frame does.
    assert!((0..arp.len() - 10).all(|length| arp_sender(&arp[..length]).is_none()));
    assert_eq!(arp_sender(&whole), None);
    assert_eq!(advertised_neighbour(&arp), None);
}

#[test]
fn survives_options_without_length() {
    assert_eq!(target_link_layer_address(&[1, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(target_link_layer_address(&[2, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(target_link_layer_address(&[2, 9, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(target_link_layer_address(&[2]), None);
}
