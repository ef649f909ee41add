//! The addresses stay until the heir has announced them: it may be Active and yet wait for its
//! kernel. The other host speaks by hand here. Needs root and iproute2.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::{Cluster, Segment, Speaker, wait_for};
use kernel::announce::Announcer;
use kernel::link::{self, Link, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::vrrp_socket::{Family, Mode, OpenOptions, VrrpSocket};
use kernel::witness::Witness;
use vrrp::{Advertisement, Authentication, Checksum, State, Version};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_heir_that_announces_late_is_waited_for_and_no_longer() {
    // A machine that is slower than the half second that an heir has proves nothing.
    let proven = (0..5).any(|_| {
        let (segment, speaker) = held();
        let mark = Instant::now();
        advertise(&segment, 250);
        wait_for("the end of the holder", 2 * SECOND, || speaker.state() == State::Backup);
        std::thread::sleep(SECOND / 10);
        let waited = holds(&segment);
        announce(&segment);
        wait_for("the address to go", 2 * SECOND, || !holds(&segment));
        let in_time = mark.elapsed() < SECOND * 9 / 20;
        assert!(waited || !in_time, "gone after {:?}", mark.elapsed());
        in_time
    });
    assert!(proven, "the address never went before its time");
}

#[test]
fn an_heir_that_announces_nothing_is_waited_for_half_a_second() {
    let (segment, _speaker) = held();
    advertise(&segment, 250);
    let took = wait_for("the address to go", 2 * SECOND, || !holds(&segment));
    assert!(took >= SECOND * 2 / 5, "{took:?}");
}

#[test]
fn one_that_stops_at_once_waits_for_nobody() {
    let (segment, speaker) = held();
    drop(speaker);
    assert!(!holds(&segment));
}

#[test]
fn whoever_announces_the_address_of_a_holder_is_answered_by_a_burst_but_not_again_and_again() {
    let (segment, speaker) = held();
    // The burst of the claim ends after five seconds.
    std::thread::sleep(6 * SECOND);
    let witness = segment.host(2).run(|| {
        let link = eth0();
        Witness::open(link.index, link.mac.unwrap(), &[vip()]).unwrap()
    });
    let witness = witness.unwrap();
    let begin = Instant::now();
    let mut heard = 0;
    for _ in 0..30 {
        announce(&segment);
        std::thread::sleep(SECOND / 10);
        heard += witness.heard().unwrap().len();
    }
    // Requests and replies at 0, 0.1, 1.2 and 2.4 s; ARP requests of its kernel do not occur.
    assert_eq!(heard, 8, "in {:?}", begin.elapsed());
    assert_eq!(speaker.state(), State::Active);
    assert!(holds(&segment));
}

/// Host 1 of two holds the address.
fn held() -> (Segment, Speaker) {
    let segment = Segment::new(2);
    let speaker = segment.speaker(1, &Cluster::v2(), 100);
    wait_for("the address", 6 * SECOND, || holds(&segment));
    (segment, speaker)
}

fn holds(segment: &Segment) -> bool {
    segment.holds(1, &Cluster::v2())
}

fn vip() -> IpAddr {
    Cluster::v2().virtual_address().address
}

/// Host 2 takes over, as far as it says.
fn advertise(segment: &Segment, priority: u8) {
    let advertisement = Advertisement {
        version: Version::V2,
        virtual_router_id: 51,
        priority,
        interval: SECOND,
        authentication: Authentication::password("secret12"),
        addresses: vec![vip()],
    };
    let (source, group) = ([10, 5, 0, 2].into(), [224, 0, 0, 18].into());
    let packet = advertisement.emit(source, group, Checksum::default());
    let send = || {
        let link = eth0();
        let options = OpenOptions {
            link_index: link.index,
            link_name: link.name,
            family: Family::V4,
            mode: Mode::Multicast,
        };
        VrrpSocket::open(&options).unwrap().send(source, group, &packet).unwrap();
    };
    segment.host(2).run(send).unwrap();
}

/// Host 2 tells everybody that it has the address.
fn announce(segment: &Segment) {
    let announce = || {
        let link = eth0();
        Announcer::open(link.index, link.mac.unwrap()).unwrap().announce(vip()).unwrap();
    };
    segment.host(2).run(announce).unwrap();
}

fn eth0() -> Link {
    let mut socket = Socket::open(Protocol::Route).unwrap();
    link::find(&mut socket, &Selector::Name("eth0".into())).unwrap()
}
