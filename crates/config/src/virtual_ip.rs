//! The `virtualIPs` of a VRRP instance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::secrets::quoted;
use crate::settings::{Cidr, ControlPlaneKind};

/// The Count field has eight bits (RFC 9568 5.2.5).
const MOST_OF_A_FAMILY: usize = 255;

/// Reads the list, each valid address with its place.
pub(crate) fn read_all(
    block: &Mapping<'_>,
    kind: ControlPlaneKind,
    report: &mut Report,
) -> (Vec<Cidr>, Vec<Place>) {
    let Some(list) = block.field("virtualIPs") else {
        missing(block, report);
        return (Vec::new(), Vec::new());
    };
    let items = list.items(report);
    if items.as_ref().is_some_and(Vec::is_empty) {
        missing(block, report);
    }
    let items = items.unwrap_or_default();
    let (virtual_ips, places): (Vec<_>, Vec<_>) =
        items.iter().filter_map(|item| Some((read(item, report)?, item.place.clone()))).unzip();
    check_families(&list.place, &virtual_ips, &places, kind, report);
    (virtual_ips, places)
}

fn missing(block: &Mapping<'_>, report: &mut Report) {
    let message = format!("{} has no virtualIPs", block.place.name());
    report.error(
        &block.place_of("virtualIPs"),
        message,
        "give it at least one address with its prefix length, as in [\"10.0.0.100/24\"]",
    );
}

fn check_families(
    list: &Place,
    virtual_ips: &[Cidr],
    places: &[Place],
    kind: ControlPlaneKind,
    report: &mut Report,
) {
    let ipv4_count = virtual_ips.iter().filter(|vip| vip.address.is_ipv4()).count();
    if ipv4_count.max(virtual_ips.len() - ipv4_count) > MOST_OF_A_FAMILY {
        report.error(
            list,
            format!("more than {MOST_OF_A_FAMILY} virtualIPs of one family"),
            "spread them over several instances",
        );
    }
    let Some(first) = virtual_ips.first() else { return };
    let second_family =
        virtual_ips.iter().position(|vip| vip.address.is_ipv4() != first.address.is_ipv4());
    if let (ControlPlaneKind::Keepalived, Some(index)) = (kind, second_family) {
        let message = format!(
            "keepalived would drop {}: it takes the family of the first, {}, alone",
            virtual_ips[index].address, first.address
        );
        report.error(
            &places[index],
            message,
            "use one instance for IPv4 and one for IPv6, or type: Builtin",
        );
    }
}

fn read(item: &Field<'_>, report: &mut Report) -> Option<Cidr> {
    let text = item.string(report)?;
    let name = item.place.name();
    if let Ok(address) = text.parse::<IpAddr>() {
        let example = if address.is_ipv4() { 24 } else { 64 };
        report.error(
            &item.place,
            format!("{name} {} has no prefix length", quoted(text)),
            format!("write {address}/{example}, with the prefix length of the network"),
        );
        return None;
    }
    let Some(cidr) = parse(text) else {
        report.error(
            &item.place,
            format!("{name} {} is no address with a prefix length", quoted(text)),
            "write it as in 10.0.0.100/24 or fd00::100/64",
        );
        return None;
    };
    if let Some(fault) = fault(cidr) {
        report.error(
            &item.place,
            format!("{name} {cidr} {fault}"),
            "choose a free host address of the controllers' network, written with its prefix length",
        );
        return None;
    }
    Some(cidr)
}

fn parse(text: &str) -> Option<Cidr> {
    let (address, prefix_length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    if !prefix_length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix_length = prefix_length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix_length <= longest).then_some(Cidr { address, prefix_length })
}

/// Why the address cannot be a virtual IP.
fn fault(cidr: Cidr) -> Option<&'static str> {
    if cidr.address.is_unspecified() {
        return Some("is the unspecified address");
    }
    if cidr.address.is_loopback() {
        return Some("is a loopback address: other hosts cannot reach it");
    }
    if cidr.address.is_multicast() {
        return Some("is a multicast address");
    }
    if cidr.prefix_length == 0 {
        return Some("has prefix length 0: the whole Internet would be on its link");
    }
    match cidr.address {
        IpAddr::V4(address) => fault_of_ipv4(address, cidr.prefix_length),
        IpAddr::V6(address) => fault_of_ipv6(address, cidr.prefix_length),
    }
}

fn fault_of_ipv4(address: Ipv4Addr, prefix_length: u8) -> Option<&'static str> {
    if address.is_broadcast() {
        return Some("is the broadcast address");
    }
    // Networks of one and two addresses have hosts alone (RFC 3021).
    let host_bits = u32::MAX.checked_shr(prefix_length.into()).filter(|bits| *bits > 1)?;
    match address.to_bits() & host_bits {
        0 => Some("is the address of its network"),
        host if host == host_bits => Some("is the broadcast address of its network"),
        _ => None,
    }
}

fn fault_of_ipv6(address: Ipv6Addr, prefix_length: u8) -> Option<&'static str> {
    if address.to_ipv4_mapped().is_some() {
        return Some("is an IPv4 address in IPv6 clothing");
    }
    // RFC 4291 2.6.1; point-to-point links of /127 do without it (RFC 6164).
    let host_bits = u128::MAX.checked_shr(prefix_length.into()).filter(|bits| *bits > 1)?;
    (address.to_bits() & host_bits == 0).then_some("is the subnet-router anycast address")
}
