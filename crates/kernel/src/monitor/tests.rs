use std::thread::sleep;
use std::time::Duration;

use super::*;
use crate::address::{Addresses, VirtualAddress};
use crate::netns::{
    Namespace, create_bridge, create_veth, delete_link, set_down, set_master, set_up,
};
use crate::test_cable::{Cable, eth0, run, wait_for};

/// Waits for the event that `pick` is about, leaving out all before it.
fn awaited<T>(monitor: &mut Monitor, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
    wait_for(what, || {
        while let Some(event) = monitor.next_event().unwrap() {
            if let Some(picked) = pick(event) {
                return Some(picked);
            }
        }
        None
    })
}

#[test]
fn nothing_has_happened_at_first() {
    let monitor = Namespace::new().unwrap().run(Monitor::open).unwrap();
    assert_eq!(monitor.unwrap().next_event().unwrap(), None);
}

#[test]
fn an_interface_goes_down_and_up_with_its_administrator_and_its_carrier() {
    let cable = Cable::new();
    let mut monitor = cable.here(|| Monitor::open().unwrap());
    let mut turned = |up: bool| {
        awaited(&mut monitor, "the interface to change", |event| match event {
            Event::LinkChanged(link) if link.name == "eth0" && link.up == up => Some(link),
            _ => None,
        })
    };
    cable.here(|| set_down("eth0").unwrap());
    turned(false);
    cable.here(|| set_up("eth0").unwrap());
    let link = turned(true);
    assert_eq!(link, cable.here(eth0));
    cable.there(|| set_down("eth0").unwrap());
    turned(false);
    cable.there(|| set_up("eth0").unwrap());
    turned(true);
}

#[test]
fn addresses_come_are_renewed_and_go_by_themselves() {
    for text in ["10.9.0.100/24", "fd09::100/64"] {
        Cable::new().here(|| {
            let address: VirtualAddress = text.parse().unwrap();
            let index = eth0().index;
            let mut monitor = Monitor::open().unwrap();
            let mut addresses = Addresses::open().unwrap();
            for _ in 0..2 {
                addresses.hold(index, &address, Duration::from_secs(1)).unwrap();
                let found = awaited(&mut monitor, "the address to come", |event| match event {
                    // The kernel may be late with the link-local address of the cable.
                    Event::AddressAdded(found) if found.virtual_address() == address => Some(found),
                    _ => None,
                });
                assert_eq!((found.link_index, found.ours), (index, true));
            }
            let found = awaited(&mut monitor, "the address to go", |event| match event {
                Event::AddressGone(found) => Some(found),
                _ => None,
            });
            assert_eq!((found.link_index, found.virtual_address()), (index, address));
        });
    }
}

#[test]
fn an_interface_is_gone_when_it_is_removed_but_not_when_it_leaves_a_bridge() {
    let namespace = Namespace::new().unwrap();
    namespace
        .run(|| {
            create_veth("port", "other", &Namespace::current().unwrap()).unwrap();
            create_bridge("br0").unwrap();
            set_master("port", "br0").unwrap();
            let index = crate::link::find(
                &mut Socket::open(Protocol::Route).unwrap(),
                &crate::link::Selector::Name("port".to_owned()),
            )
            .unwrap()
            .index;

            // The bridge tells of its former port by RTM_DELLINK as well.
            let mut monitor = Monitor::open().unwrap();
            run("ip", &["link", "set", "port", "nomaster"]);
            awaited(&mut monitor, "the port to leave", |event| match event {
                Event::LinkChanged(link) if link.name == "port" => {
                    link.master.is_none().then_some(())
                }
                Event::LinkGone { name, .. } => panic!("{name} is still there"),
                _ => None,
            });
            sleep(Duration::from_millis(100));
            while let Some(event) = monitor.next_event().unwrap() {
                assert!(!matches!(event, Event::LinkGone { .. }), "{event:?}");
            }

            delete_link("port").unwrap();
            let gone = awaited(&mut monitor, "the interface to be gone", |event| match event {
                Event::LinkGone { index, name } if name == "port" => Some(index),
                _ => None,
            });
            assert_eq!(gone, index);
        })
        .unwrap();
}

#[test]
fn lost_events_are_admitted_and_later_ones_are_heard() {
    Cable::new().here(|| {
        let address: VirtualAddress = "10.9.0.100/24".parse().unwrap();
        let index = eth0().index;
        let mut monitor = Monitor::open().unwrap();
        let mut addresses = Addresses::open().unwrap();
        for _ in 0..20_000 {
            addresses.hold(index, &address, Duration::from_secs(60)).unwrap();
        }
        awaited(&mut monitor, "the loss to be reported", |event| {
            (event == Event::Resync).then_some(())
        });
        while monitor.next_event().unwrap().is_some() {}

        addresses.release(index, &address).unwrap();
        let gone = awaited(&mut monitor, "the address to go", |event| match event {
            Event::AddressGone(found) => Some(found.virtual_address()),
            _ => None,
        });
        assert_eq!(gone, address);
    });
}
