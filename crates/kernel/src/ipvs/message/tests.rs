//! The bytes are those that ipvsadm 1.31 sent and Linux 6.1 answered, as strace(1) showed them on
//! a little-endian machine. Where ipvsadm writes attributes that nobody reads (the settings of a
//! service whose real servers are changed, the kind of a tunnel that is IPIP), they are left out.
#![cfg(target_endian = "little")]

use super::*;

const FAMILY: Family = Family(0x1c);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|digit| !digit.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

fn received(body: &[u8]) -> Received<'_> {
    Received { kind: 0x1c, flags: 2, sequence: 1, body }
}

fn v4() -> Service {
    Service {
        address: "10.0.0.100:6443".parse().unwrap(),
        scheduler: "rr".into(),
        flags: 0,
        persistence: Some(Persistence { timeout: Duration::from_secs(360), prefix_length: 32 }),
    }
}

fn v6() -> Service {
    Service {
        address: "[fd00::100]:6443".parse().unwrap(),
        scheduler: "mh".into(),
        flags: super::super::FALLBACK,
        persistence: None,
    }
}

fn real_server(address: &str, forwarding: Forwarding, weight: u32) -> Destination {
    Destination {
        address: address.parse().unwrap(),
        forwarding,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    }
}

/// `ipvsadm -A -t 10.0.0.100:6443 -s rr -p 360`
const ADD_V4: &str = "01010000 54000180 0600010002000000 0600020006000000
    140003000a000064000000000000000000000000 06000400192b0000 0700060072720000
    0c00070001000000ffffffff 0800080068010000 08000900ffffffff";
/// `ipvsadm -A -t [fd00::100]:6443 -s mh -b mh-fallback`
const ADD_V6: &str = "01010000 54000180 060001000a000000 0600020006000000
    14000300fd000000000000000000000000000100 06000400192b0000 070006006d680000
    0c00070008000000ffffffff 0800080000000000 0800090080000000";
/// What names 10.0.0.100:6443, as `ipvsadm -Ln` sends it to ask for its real servers.
const KEY_V4: &str = "30000180 0600010002000000 0600020006000000
    140003000a000064000000000000000000000000 06000400192b0000";
const KEY_V6: &str = "30000180 060001000a000000 0600020006000000
    14000300fd000000000000000000000000000100 06000400192b0000";

#[test]
fn the_family_is_looked_up_as_ipvsadm_does() {
    assert_eq!(find_family().kind, 16);
    assert_eq!(find_family().body, bytes("03010000 09000200 4950565300000000"));
    let answer = bytes("01020000 0900020049505653000000000 6000100 1c000000 0800030001000000");
    assert_eq!(read_family(&received(&answer)), Some(FAMILY));
    assert_eq!(read_family(&received(&answer[..20])), None);
}

#[test]
fn the_version_is_read() {
    assert_eq!(FAMILY.get_info().body, bytes("0f010000"));
    let answer = bytes("0e010000 0800010001020100 0800020000100000");
    let info = Info { version: [1, 2, 1], table_size: 4096 };
    assert_eq!(read_info(&received(&answer)), Some(info));
}

#[test]
fn services_are_written_as_ipvsadm_does() {
    assert_eq!(FAMILY.change(&Change::AddService(v4())).body, bytes(ADD_V4));
    assert_eq!(FAMILY.change(&Change::AddService(v6())).body, bytes(ADD_V6));
    // ipvsadm -E -t 10.0.0.100:6443 -s sh -b sh-fallback,sh-port
    let changed = Service { scheduler: "sh".into(), flags: 0x18, persistence: None, ..v4() };
    let expected = "02010000 54000180 0600010002000000 0600020006000000
        140003000a000064000000000000000000000000 06000400192b0000 0700060073680000
        0c00070018000000ffffffff 0800080000000000 08000900ffffffff";
    assert_eq!(FAMILY.change(&Change::SetService(changed)).body, bytes(expected));
    let removal = FAMILY.change(&Change::RemoveService(v4().address));
    assert_eq!(removal.body, bytes(&format!("03010000 {KEY_V4}")));
}

/// ip_vs(4): the netmask of IPv4 persistence is an address, 255.255.255.0 here.
#[test]
fn persistence_of_a_network_has_its_mask() {
    let timeout = Duration::from_secs(360);
    let wide = Persistence { timeout, prefix_length: 24 };
    let message = FAMILY.change(&Change::AddService(Service { persistence: Some(wide), ..v4() }));
    assert_eq!(message.body[message.body.len() - 4..], [255, 255, 255, 0]);
}

#[test]
fn real_servers_are_written_as_ipvsadm_does() {
    let (v4, v6) = (v4().address, v6().address);
    // ipvsadm -a -t 10.0.0.100:6443 -r 10.0.0.11:6443 -g -w 1
    let direct = real_server("10.0.0.11:6443", Forwarding::DirectRouting, 1);
    let expected = format!(
        "05010000 {KEY_V4} 48000280 06000b0002000000 140001000a00000b000000000000000000000000
        06000200192b0000 0800030003000000 0800040001000000 0800050000000000 0800060000000000"
    );
    assert_eq!(FAMILY.change(&Change::AddDestination(v4, direct.clone())).body, bytes(&expected));
    // ipvsadm -e -t 10.0.0.100:6443 -r 10.0.0.11:6443 -g -w 0
    let drained = Destination { weight: 0, ..direct };
    let expected = format!(
        "06010000 {KEY_V4} 48000280 06000b0002000000 140001000a00000b000000000000000000000000
        06000200192b0000 0800030003000000 0800040000000000 0800050000000000 0800060000000000"
    );
    assert_eq!(FAMILY.change(&Change::SetDestination(v4, drained)).body, bytes(&expected));
    // ipvsadm -a -t [fd00::100]:6443 -r [fd00::11]:6443 -i -w 1
    let tunnelled = real_server("[fd00::11]:6443", Forwarding::Tunnel, 1);
    let expected = format!(
        "05010000 {KEY_V6} 48000280 06000b000a000000 14000100fd000000000000000000000000000011
        06000200192b0000 0800030002000000 0800040001000000 0800050000000000 0800060000000000"
    );
    assert_eq!(FAMILY.change(&Change::AddDestination(v6, tunnelled)).body, bytes(&expected));
    // ipvsadm -d -t 10.0.0.100:6443 -r 10.0.0.11:6443
    let expected = format!(
        "07010000 {KEY_V4} 28000280 06000b0002000000 140001000a00000b000000000000000000000000
        06000200192b0000"
    );
    let removal = Change::RemoveDestination(v4, "10.0.0.11:6443".parse().unwrap());
    assert_eq!(FAMILY.change(&removal).body, bytes(&expected));
}

#[test]
fn listings_are_asked_for_as_ipvsadm_does() {
    assert_eq!(FAMILY.list_services().body, bytes("04010000"));
    let message = FAMILY.find_service("[fd00::100]:6443".parse().unwrap());
    assert_eq!(message.body, bytes(&format!("04010000 {KEY_V6}")));
    let message = FAMILY.list_destinations("10.0.0.100:6443".parse().unwrap());
    assert_eq!(message.body, bytes(&format!("08010000 {KEY_V4}")));
}

/// The kernel's own flag "hashed" (2) is in the listing and not in what was set.
#[test]
fn listed_services_read_as_they_were_set() {
    let listed = ADD_V4.replace("0c00070001000000", "0c00070003000000");
    assert_eq!(read_service(&received(&bytes(&listed))), Some(v4()));
    let listed = ADD_V6.replace("0c00070008000000", "0c0007000a000000");
    assert_eq!(read_service(&received(&bytes(&listed))), Some(v6()));
}

#[test]
fn services_over_udp_and_by_firewall_mark_are_left_out() {
    let udp = ADD_V4.replace("0600020006000000", "0600020011000000");
    assert_eq!(read_service(&received(&bytes(&udp))), None);
    // A listed service by mark 7: family, mark, scheduler, flags, timeout, netmask.
    let marked = "01010000 3c000180 0600010002000000 0800050007000000 0700060072720000
        0c00070002000000ffffffff 0800080000000000 08000900ffffffff";
    assert_eq!(read_service(&received(&bytes(marked))), None);
}

/// One entry of the kernel's answer to `ipvsadm -Ln`, without its statistics.
#[test]
fn listed_real_servers_read_as_they_were_set() {
    let listed = "05010000 78000200 140001000a00000b000000000000000000000000 06000200192b0000
        0800030003000000 0800040000000000 05000d0000000000 06000e0000000000 06000f0000000000
        0800050000000000 0800060000000000 0800070005000000 0800080007000000 0800090000000000
        06000b0002000000";
    let destination = real_server("10.0.0.11:6443", Forwarding::DirectRouting, 0);
    let expected = FoundDestination { destination, active: 5, inactive: 7 };
    assert_eq!(read_destination(&received(&bytes(listed))), Some(expected.clone()));
    // Linux before 3.18 tells no family.
    let old = listed.replace("06000b0002000000", "").replace("78000200", "70000200");
    assert_eq!(read_destination(&received(&bytes(&old))), Some(expected));
}

#[test]
fn no_damaged_message_panics() {
    for whole in [bytes(ADD_V4), bytes(ADD_V6)] {
        for end in 0..whole.len() {
            read_service(&received(&whole[..end]));
            read_destination(&received(&whole[..end]));
            read_family(&received(&whole[..end]));
            read_info(&received(&whole[..end]));
        }
    }
}
