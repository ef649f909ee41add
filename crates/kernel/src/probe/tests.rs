use std::thread;
use std::time::Duration;

use super::*;
use crate::announce::Announcer;
use crate::link::Mac;
use crate::test_cable::{Cable, eth0, give, run, wait_for};

fn probe() -> Probe {
    let link = eth0();
    Probe::open(link.index, link.mac.unwrap()).unwrap()
}

/// Waits by epoll, as the program does, and not longer than a second.
fn is_readable(probe: &Probe) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(probe, PollFlags::IN)], Some(&second)).unwrap() == 1
}

fn first_answer(vip: &str) -> (Answer, Mac) {
    let cable = Cable::new();
    let mac = cable.there(|| eth0().mac.unwrap());
    let answer = cable.here(|| {
        let mut probe = probe();
        probe.ask(vip.parse().unwrap()).unwrap();
        assert!(is_readable(&probe));
        wait_for("an answer", || probe.answers().unwrap().first().copied())
    });
    (answer, mac)
}

#[test]
fn finds_the_holder_of_an_ipv4_address() {
    let (answer, mac) = first_answer("10.9.0.2");
    assert_eq!(answer, Answer { address: "10.9.0.2".parse().unwrap(), mac });
}

#[test]
fn finds_the_holder_of_an_ipv6_address() {
    let (answer, mac) = first_answer("fd09::2");
    assert_eq!(answer, Answer { address: "fd09::2".parse().unwrap(), mac });
}

/// Also when this host has the address, and when another announces one that nobody asked for.
#[test]
fn hears_nothing_where_nobody_else_has_the_address() {
    let cable = Cable::new();
    cable.here(|| {
        give("10.9.0.100/24");
        give("fd09::100/64");
        let mut probe = probe();
        for address in ["10.9.0.77", "fd09::77", "10.9.0.100", "fd09::100"] {
            probe.ask(address.parse().unwrap()).unwrap();
        }
        cable.there(|| {
            let link = eth0();
            let announcer = Announcer::open(link.index, link.mac.unwrap()).unwrap();
            announcer.announce("10.9.0.66".parse().unwrap()).unwrap();
            announcer.announce("fd09::66".parse().unwrap()).unwrap();
        });
        assert!(is_readable(&probe), "the announcements arrive");
        thread::sleep(Duration::from_millis(200));
        assert_eq!(probe.answers().unwrap(), []);
    });
}

/// RFC 5227 section 2.1.1: a request with the address as its sender is a claim as well.
#[test]
fn takes_an_announcement_for_an_answer() {
    let cable = Cable::new();
    let address = "10.9.0.66".parse().unwrap();
    let mac = cable.there(|| eth0().mac.unwrap());
    cable.here(|| {
        let mut probe = probe();
        probe.ask(address).unwrap();
        cable.there(|| Announcer::open(eth0().index, mac).unwrap().announce(address).unwrap());
        assert!(is_readable(&probe));
        assert_eq!(probe.answers().unwrap(), [Answer { address, mac }]);
    });
}

#[test]
fn asking_teaches_nobody_our_addresses() {
    let cable = Cable::new();
    let mac = cable.here(|| {
        let mut probe = probe();
        for address in ["10.9.0.2", "fd09::2"] {
            probe.ask(address.parse().unwrap()).unwrap();
            wait_for("an answer", || probe.answers().unwrap().first().copied());
        }
        eth0().mac.unwrap()
    });
    let neighbours = cable.there(|| run("ip", &["neigh"]));
    assert!(!neighbours.contains(&mac.to_string()), "{neighbours}");
}
