use std::net::IpAddr;

use super::select::sharing;
use super::*;
use crate::netlink::Protocol;
use crate::netns::{Namespace, add_default_route, create_bridge, create_veth, set_down};
use crate::test_cable::{Cable, eth0, give, run};

const MAC: Mac = Mac([0x02, 0x00, 0x5e, 0x10, 0xab, 0x01]);

fn socket() -> Socket {
    Socket::open(Protocol::Route).unwrap()
}

fn select(selector: &str) -> Result<Link, Error> {
    find(&mut socket(), &selector.parse().unwrap())
}

/// The name of the interface selected, or the message of the error.
fn selected(selector: &str) -> String {
    select(selector).map_or_else(|error| error.to_string(), |link| link.name)
}

#[test]
fn a_mac_address_is_read_in_every_spelling_and_printed_as_the_kernel_does() {
    let spellings = [
        "02:00:5e:10:ab:01",
        "02:00:5E:10:AB:01",
        "02-00-5e-10-ab-01",
        "02-00-5E-10-AB-01",
        "0200.5e10.ab01",
        "0200.5E10.AB01",
    ];
    for text in spellings {
        assert_eq!(text.parse(), Ok(MAC), "{text}");
    }
    assert_eq!(MAC.to_string(), "02:00:5e:10:ab:01");
}

#[test]
fn anything_else_is_no_mac_address() {
    let cases = [
        "",
        "eth0",
        "02005e10ab01",
        "02:00:5e:10:ab",
        "02:00:5e:10:ab:01:02",
        "02:00:5e-10:ab:01",
        "2:0:5e:10:ab:1",
        "02:00:5e:10:ab:0g",
        "02:00:5e:10:ab:+1",
        "02.00.5e.10.ab.01",
        "0200:5e10:ab01",
        "0200.5e10.ab",
        "02:00:5e:10:ab:0é",
        "é:",
        "::::::",
    ];
    for text in cases {
        assert!(text.parse::<Mac>().is_err(), "{text}");
    }
}

#[test]
fn a_selector_is_a_mac_address_where_it_can_be_one() {
    let selector = |text: &str| text.parse::<Selector>().unwrap();
    assert_eq!(selector(""), Selector::DefaultRoute);
    assert_eq!(selector("02-00-5E-10-AB-01"), Selector::Mac(MAC));
    assert_eq!(selector("02005e10ab01"), Selector::Name("02005e10ab01".to_owned()));
    assert_eq!(selector("eth0.10"), Selector::Name("eth0.10".to_owned()));
}

#[test]
fn a_link_is_as_ip_shows_it() {
    Cable::new().here(|| {
        run("ip", &["link", "set", "eth0", "address", "02:00:5e:10:ab:01", "mtu", "1400"]);
        let link = eth0();
        let listing = run("ip", &["-oneline", "link", "show", "eth0"]);
        assert!(listing.starts_with(&format!("{}: eth0@", link.index)), "{listing}");
        assert_eq!((link.mac, link.mtu, link.up), (Some(MAC), 1400, true));
        assert_eq!(link.kind.as_deref(), Some("veth"));

        let lo = select("lo").unwrap();
        assert_eq!((lo.index, lo.mac, lo.up, lo.kind), (1, None, true, None));
    });
}

#[test]
fn a_link_without_carrier_is_not_up() {
    let cable = Cable::new();
    cable.there(|| set_down("eth0").unwrap());
    cable.here(|| {
        assert!(run("ip", &["link", "show", "eth0"]).contains("NO-CARRIER"));
        assert!(!eth0().up);
    });
}

#[test]
fn the_addresses_of_a_link_are_those_of_no_other() {
    Cable::new().here(|| {
        let found: Vec<String> = addresses(&mut socket(), eth0().index)
            .unwrap()
            .iter()
            .map(|found| found.virtual_address().to_string())
            .filter(|address| !address.starts_with("fe80"))
            .collect();
        assert_eq!(found, ["10.9.0.1/24", "fd09::1/64"]);
    });
}

#[test]
fn a_wrong_name_is_answered_with_those_there_are() {
    Cable::new().here(|| {
        assert_eq!(
            selected("eht0"),
            "there is no interface eht0 (did you mean eth0?); this host has lo, eth0"
        );
        assert_eq!(selected("wan"), "there is no interface wan; this host has lo, eth0");
    });
}

#[test]
fn a_wrong_mac_address_is_answered_with_those_there_are() {
    Cable::new().here(|| {
        run("ip", &["link", "set", "eth0", "address", "02:00:5e:10:ab:01"]);
        assert_eq!(
            selected("02:00:5E:10:AB:02"),
            "there is no interface with the MAC address 02:00:5e:10:ab:02; this host has eth0 \
             (02:00:5e:10:ab:01)"
        );
        assert_eq!(selected("02:00:5E:10:AB:01"), "eth0");
    });
}

/// A bridge takes the MAC address of its first port.
#[test]
fn of_a_bridge_and_its_port_the_bridge_is_meant() {
    Namespace::new()
        .unwrap()
        .run(|| {
            create_veth("port", "other", &Namespace::current().unwrap()).unwrap();
            create_bridge("br0").unwrap();
            run("ip", &["link", "set", "port", "address", "02:00:5e:10:ab:01", "master", "br0"]);
            assert_eq!(select("br0").unwrap().mac, Some(MAC));
            assert_eq!(select("port").unwrap().master, Some(select("br0").unwrap().index));
            assert_eq!(selected("02:00:5e:10:ab:01"), "br0");
        })
        .unwrap();
}

/// An interface of the test host: its index doubles as the host part of its address.
fn link(index: u32, name: &str, master: Option<u32>, lower: Option<u32>) -> Link {
    let (name, kind) = (name.to_owned(), None);
    Link { index, name, mac: Some(MAC), up: true, mtu: 1500, kind, master, lower }
}

fn found(link_index: u32, address: &str) -> Found {
    Found {
        link_index,
        address: address.parse::<IpAddr>().unwrap(),
        prefix_length: 24,
        ours: false,
        valid_for: None,
        secondary: false,
        tentative: false,
        dad_failed: false,
    }
}

#[test]
fn of_interfaces_with_one_mac_address_that_with_addresses_is_meant() {
    let links = || {
        vec![
            link(2, "eth0", Some(4), None),
            link(3, "eth1", Some(4), None),
            link(4, "bond0", None, None),
            link(5, "bond0.10", None, Some(4)),
            link(6, "bond0.20", None, Some(4)),
        ]
    };
    let chosen = |addresses: &[Found]| -> Vec<String> {
        sharing(links(), MAC, addresses).into_iter().map(|link| link.name).collect()
    };
    let link_local = found(4, "fe80::1");
    assert_eq!(chosen(&[found(4, "10.9.0.4")]), ["bond0"]);
    assert_eq!(chosen(&[link_local.clone(), found(5, "10.9.0.5")]), ["bond0.10"]);
    assert_eq!(chosen(&[found(4, "10.9.0.4"), found(5, "10.9.0.5")]), ["bond0"]);
    assert_eq!(
        chosen(&[found(5, "10.9.0.5"), found(6, "fd09::6")]),
        ["bond0.10", "bond0.20"],
        "no telling which"
    );
    assert_eq!(chosen(&[link_local]), ["bond0"], "without any address");
    // A port cannot speak, whatever addresses somebody left on it.
    assert_eq!(chosen(&[found(2, "10.9.0.2")]), ["bond0"]);
}

#[test]
fn the_default_route_with_the_lowest_metric_is_meant() {
    Cable::new().here(|| {
        for index in 1..=3 {
            let (name, peer) = (format!("net{index}"), format!("peer{index}"));
            create_veth(&name, &peer, &Namespace::current().unwrap()).unwrap();
            run("ip", &["link", "set", &name, "up"]);
            run("ip", &["link", "set", &peer, "up"]);
        }
        // What a VPN adds is wider than anything but the default route, and is none.
        run("ip", &["route", "add", "0.0.0.0/1", "dev", "net3"]);
        run("ip", &["route", "add", "default", "dev", "net3", "table", "99"]);
        run("ip", &["route", "add", "unreachable", "default", "metric", "5"]);
        assert_eq!(
            selected(""),
            "there is no default route to tell which interface to use: name the interface; this \
             host has lo, eth0, peer1, net1, peer2, net2, peer3, net3"
        );

        run("ip", &["-6", "route", "add", "default", "dev", "net3"]);
        assert_eq!(selected(""), "net3", "IPv6 where IPv4 has none");
        run("ip", &["route", "add", "default", "dev", "net1", "metric", "200"]);
        assert_eq!(selected(""), "net1", "IPv4 before IPv6, whatever the metric");
        run("ip", &["route", "add", "default", "dev", "net2", "metric", "100"]);
        assert_eq!(selected(""), "net2");
        add_default_route([10, 9, 0, 2].into()).unwrap();
        assert_eq!(selected(""), "eth0", "without a metric, which is 0");
    });
}

#[test]
fn a_default_route_by_several_gateways_means_the_first() {
    Cable::new().here(|| {
        give("10.8.0.1/24");
        let route = "add default nexthop via 10.9.0.2 weight 1 nexthop via 10.8.0.2 weight 1";
        run("ip", &[&["route"], &*route.split(' ').collect::<Vec<_>>()].concat());
        assert_eq!(selected(""), "eth0");
    });
}
