use std::net::Ipv6Addr;

use super::*;
use crate::link::Mac;
use crate::test_cable::{Cable, eth0, run, wait_for};

const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 0x63]);
const VIP_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 0x100);

/// What the host at the other end believes after `announce`, having known the address under another
/// hardware address before.
fn neighbour_after(vip: &str, announce: impl FnOnce(&Announcer) + Send) -> String {
    let cable = Cable::new();
    let stale = STRANGER.to_string();
    cable.there(|| {
        run("ip", &["neigh", "add", vip, "lladdr", &stale, "dev", "eth0", "nud", "stale"]);
    });
    let mac = cable.here(|| {
        let link = eth0();
        let mac = link.mac.unwrap();
        announce(&Announcer::open(link.index, mac).unwrap());
        mac
    });
    cable.there(|| {
        wait_for("the announcement to be believed", || {
            let entry = run("ip", &["neigh", "show", vip]);
            entry.contains(&format!("lladdr {mac}")).then_some(entry)
        })
    })
}

#[test]
fn gratuitous_arp_moves_the_address() {
    let entry = neighbour_after("10.9.0.100", |announcer| {
        announcer.gratuitous_arp(VIP_V4).unwrap();
    });
    assert!(entry.contains("STALE"), "{entry}");
}

#[test]
fn gratuitous_arp_reply_moves_the_address() {
    let entry = neighbour_after("10.9.0.100", |announcer| {
        announcer.gratuitous_arp_reply(VIP_V4).unwrap();
    });
    assert!(entry.contains("10.9.0.100"), "{entry}");
}

#[test]
fn neighbour_advertisement_moves_the_address_without_making_a_router() {
    let entry = neighbour_after("fd09::100", |announcer| {
        announcer.neighbour_advertisement(VIP_V6).unwrap();
    });
    assert!(!entry.contains("router"), "{entry}");
}

#[test]
fn neighbour_advertisement_of_a_host_that_forwards_says_so() {
    let entry = neighbour_after("fd09::100", |announcer| {
        fs::write("/proc/sys/net/ipv6/conf/eth0/forwarding", "1").unwrap();
        announcer.neighbour_advertisement(VIP_V6).unwrap();
    });
    assert!(entry.contains("router"), "{entry}");
}

#[test]
fn says_that_the_link_is_down() {
    let cable = Cable::new();
    cable.here(|| {
        let link = eth0();
        let announcer = Announcer::open(link.index, link.mac.unwrap()).unwrap();
        crate::netns::set_down("eth0").unwrap();
        let error = announcer.announce(VIP_V4.into()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NetworkDown);
    });
}

#[test]
fn refuses_a_link_that_does_not_exist() {
    let cable = Cable::new();
    let error = cable.here(|| Announcer::open(4711, STRANGER).unwrap_err());
    assert_eq!(
        error.to_string(),
        "cannot open a packet socket on link 4711: No such device (os error 19)"
    );
}
