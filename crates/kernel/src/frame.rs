//! Ethernet frames of ARP (RFC 826) and IPv6 neighbour discovery (RFC 4861), to bytes and back.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::link::Mac;

/// EtherType of ARP.
pub(crate) const PROTOCOL_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub(crate) const PROTOCOL_IPV6: u16 = 0x86dd;
/// The IPv6 next header of ICMPv6.
pub(crate) const NEXT_HEADER_ICMPV6: u8 = 58;
/// The ICMPv6 type of a neighbour advertisement (RFC 4861 section 4.4).
pub(crate) const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Where the IPv6 header begins in a frame.
pub(crate) const NETWORK_HEADER: usize = 14;
/// Where the ICMPv6 header begins in a frame without extension headers.
pub(crate) const ICMPV6_HEADER: usize = NETWORK_HEADER + 40;

/// The ICMPv6 type of a neighbour solicitation (RFC 4861 section 4.3).
const NEIGHBOUR_SOLICITATION: u8 = 135;
/// The Override flag: listeners replace the link-layer address they know (RFC 4861 section 4.4).
const OVERRIDE: u8 = 0x20;
/// The Router flag: the sender is a router (RFC 4861 section 4.4).
const ROUTER: u8 = 0x80;
const OPTION_TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const BROADCAST: Mac = Mac([0xff; 6]);
const NOBODY: Mac = Mac([0; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ARP_ETHERNET_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];
/// Receivers discard neighbour discovery with any other hop limit, as it has crossed a router (RFC
/// 4861 section 7.1).
const HOP_LIMIT: u8 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Request = 1,
    Reply = 2,
}

/// An announcement as an ARP request for one's own address, which is what most switches and hosts
/// heed (RFC 5227 section 3).
pub(crate) fn gratuitous_arp_request(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(Operation::Request, (mac, address), (BROADCAST, address))
}

/// An announcement as an unasked ARP reply, whose target hardware address is the sender's (RFC 5944
/// section 4.6).
pub(crate) fn gratuitous_arp_reply(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(Operation::Reply, (mac, address), (mac, address))
}

/// A question for an address that teaches nobody ours: the sender address is zero (RFC 5227 section
/// 2.1.1).
pub(crate) fn arp_probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    arp(Operation::Request, (mac, Ipv4Addr::UNSPECIFIED), (NOBODY, address))
}

/// An unsolicited neighbour advertisement from `address` itself to all nodes (RFC 4861 section
/// 7.2.6): not solicited, and overriding what was known. `router` tells that the sender forwards
/// packets, as its answers to solicitations do.
pub(crate) fn neighbour_advertisement(mac: Mac, address: Ipv6Addr, router: bool) -> Vec<u8> {
    let flags = if router { OVERRIDE | ROUTER } else { OVERRIDE };
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend([OPTION_TARGET_LINK_LAYER_ADDRESS, 1]);
    message.extend(mac.0);
    icmpv6(mac, address, ALL_NODES, message)
}

/// A question for an address from the unspecified address, as in duplicate address detection (RFC
/// 4862 section 5.4.2).
pub(crate) fn neighbour_solicitation(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![NEIGHBOUR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    icmpv6(mac, Ipv6Addr::UNSPECIFIED, solicited_node(address), message)
}

/// Who says to own which IPv4 address in an ARP frame, request or reply; `None` when the frame is
/// something else.
pub(crate) fn arp_sender(frame: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    let (ethernet, arp) = frame.split_at_checked(NETWORK_HEADER)?;
    if ethernet[12..] != PROTOCOL_ARP.to_be_bytes() || !arp.starts_with(&ARP_ETHERNET_IPV4) {
        return None;
    }
    let mac: [u8; 6] = arp.get(8..14)?.try_into().ok()?;
    let address: [u8; 4] = arp.get(14..18)?.try_into().ok()?;
    Some((address.into(), Mac(mac)))
}

/// Who says to own which IPv6 address in a neighbour advertisement that is valid by RFC 4861
/// section 7.1.2.
pub(crate) fn advertised_neighbour(frame: &[u8]) -> Option<(Ipv6Addr, Mac)> {
    let (ethernet, packet) = frame.split_at_checked(NETWORK_HEADER)?;
    let (header, rest) = packet.split_at_checked(ICMPV6_HEADER - NETWORK_HEADER)?;
    // The frame may be padded: only the header knows how long the message is.
    let message = rest.get(..usize::from(u16::from_be_bytes([header[4], header[5]])))?;
    let is_valid = header[0] >> 4 == 6
        && header[6] == NEXT_HEADER_ICMPV6
        && header[7] == HOP_LIMIT
        && message.len() >= 24
        && message[..2] == [NEIGHBOUR_ADVERTISEMENT, 0]
        && icmpv6_checksum(&header[8..24], &header[24..40], message) == 0;
    if !is_valid {
        return None;
    }
    let address: [u8; 16] = message[8..24].try_into().ok()?;
    let mac = target_link_layer_address(&message[24..])
        .or_else(|| ethernet[6..12].try_into().ok().map(Mac))?;
    Some((address.into(), mac))
}

fn target_link_layer_address(mut options: &[u8]) -> Option<Mac> {
    while let [kind, length, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(length) * 8)?;
        if kind == OPTION_TARGET_LINK_LAYER_ADDRESS {
            return option.get(2..8)?.try_into().ok().map(Mac);
        }
        // A length of zero would never end (RFC 4861 section 4.6).
        if option.is_empty() {
            return None;
        }
        options = rest;
    }
    None
}

fn arp(operation: Operation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, sender.0, PROTOCOL_ARP);
    frame.extend(ARP_ETHERNET_IPV4);
    frame.extend((operation as u16).to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac.0);
        frame.extend(address.octets());
    }
    frame
}

fn icmpv6(mac: Mac, source: Ipv6Addr, destination: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let checksum = icmpv6_checksum(&source.octets(), &destination.octets(), &message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());

    let mut frame = ethernet(multicast_mac(destination), mac, PROTOCOL_IPV6);
    let length = message.len() as u16;
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([NEXT_HEADER_ICMPV6, HOP_LIMIT]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

fn ethernet(destination: Mac, source: Mac, protocol: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ICMPV6_HEADER + 32);
    frame.extend(destination.0);
    frame.extend(source.0);
    frame.extend(protocol.to_be_bytes());
    frame
}

/// RFC 2464 section 7.
fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// RFC 4291 section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

/// RFC 8200 section 8.1; 0 for a message that already holds its right checksum.
fn icmpv6_checksum(source: &[u8], destination: &[u8], message: &[u8]) -> u16 {
    let pseudo_header =
        [sum(source), sum(destination), message.len() as u32, u32::from(NEXT_HEADER_ICMPV6)];
    let mut total = pseudo_header.iter().sum::<u32>() + sum(message);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])));
    words.sum()
}

#[cfg(test)]
mod tests;
