//! Virtual addresses on every kind of Ethernet interface, and on one that changes. Needs root,
//! iproute2, tcpdump and ping; a kind that the kernel does not have is skipped and told.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Cluster, Segment, Speaker, wait_for};
use vrrp::State;

const SECOND: Duration = Duration::from_secs(1);

/// Set where the kernel is known to have every kind of interface, so that none is skipped.
const EVERY: &str = "CPLB_TEST_EVERY_INTERFACE";

#[test]
fn on_a_macvlan() {
    moves_on("vrrp0", &["link add link eth0 name vrrp0 type macvlan mode bridge"]);
}

#[test]
fn on_a_bridge() {
    moves_on("vrrp0", &["link add vrrp0 type bridge", "link set eth0 master vrrp0"]);
}

#[test]
fn on_a_bridge_that_snoops_multicast() {
    moves_on(
        "vrrp0",
        &["link add vrrp0 type bridge mcast_snooping 1", "link set eth0 master vrrp0"],
    );
}

#[test]
fn on_a_vlan() {
    moves_on("eth0.10", &["link add link eth0 name eth0.10 type vlan id 10"]);
}

#[test]
fn on_a_bond() {
    moves_on(
        "vrrp0",
        &[
            "link add vrrp0 type bond mode active-backup miimon 100",
            "link set eth0 down",
            "link set eth0 master vrrp0",
        ],
    );
}

#[test]
fn on_a_vlan_of_a_bond() {
    moves_on(
        "vrrp0.10",
        &[
            "link add vrrp0 type bond mode active-backup miimon 100",
            "link set eth0 down",
            "link set eth0 master vrrp0",
            "link set vrrp0 up",
            "link add link vrrp0 name vrrp0.10 type vlan id 10",
        ],
    );
}

#[test]
fn an_interface_that_changes_its_ethernet_address_is_announced_anew() {
    let (segment, _speaker) = held_by_one();
    let neighbour = || segment.output(2, &["ip", "neigh", "show", "10.5.0.100"]);
    learn(&segment, 2);
    assert!(neighbour().contains("02:00:00:00:00:01"), "{}", neighbour());
    // Linux believes no change within a second of the last (locktime of arp(7)).
    std::thread::sleep(2 * SECOND);
    segment.output(1, &["ip", "link", "set", "eth0", "address", "02:00:00:00:00:77"]);
    let took =
        wait_for("the neighbour to know", 6 * SECOND, || neighbour().contains("02:00:00:00:00:77"));
    assert!(took < SECOND, "{took:?}");
}

#[test]
fn an_ethernet_address_that_changed_while_the_interface_was_down_is_announced() {
    let (segment, speaker) = held_by_one();
    for change in [&["down"][..], &["address", "02:00:00:00:00:77"], &["up"]] {
        segment.output(1, &[&["ip", "link", "set", "eth0"], change].concat());
        std::thread::sleep(SECOND / 5);
    }
    wait_for("the address again", 8 * SECOND, || {
        speaker.state() == State::Active && segment.holds(1, &Cluster::v2())
    });
    assert_eq!(announced(&segment, 2), "02:00:00:00:00:77");
}

#[test]
fn an_interface_made_anew_gets_the_address_and_is_announced() {
    let (segment, speaker) = held_by_one();
    segment.output(1, &["ip", "link", "delete", "eth0"]);
    wait_for("the end of the interface", 3 * SECOND, || speaker.state() == State::Initialize);
    segment.connect(1, "02:00:00:00:00:77");
    wait_for_the_address(&segment);
    assert_eq!(announced(&segment, 2), "02:00:00:00:00:77");
}

/// Two hosts speak on interfaces of this kind, a third one is their neighbour: one holds the
/// address, hands it over, and the neighbour finds it where it is.
fn moves_on(interface: &str, commands: &[&str]) {
    let segment = Segment::new(3);
    for host in 1..=3 {
        if let Err(reason) = make(&segment, host, interface, commands) {
            assert!(std::env::var_os(EVERY).is_none(), "{reason}");
            return eprintln!("skipped: {reason}");
        }
    }
    let cluster = Cluster::v2();
    let first = segment.speaker_of(1, interface, std::slice::from_ref(&cluster), 100);
    wait_for("the first holder", 6 * SECOND, || first.state() == State::Active);
    let second = segment.speaker_of(2, interface, std::slice::from_ref(&cluster), 100);
    wait_for("the holder to be heard", 3 * SECOND, || {
        second.vip.status().instances[0].active_router.is_some()
    });
    learn(&segment, 3);
    assert_eq!(neighbour_of(&segment, interface), mac(&segment, 1, interface));

    std::thread::sleep(2 * SECOND);
    first.vip.hand_over(5 * SECOND);
    wait_for("the heir", 3 * SECOND, || second.state() == State::Active);
    let expected = mac(&segment, 2, interface);
    wait_for("the neighbour to know the heir", 3 * SECOND, || {
        neighbour_of(&segment, interface) == expected
    });
    learn(&segment, 3);
    assert_eq!(first.complaints(), [""; 0]);
    assert_eq!(second.complaints(), [""; 0]);
}

/// The interface instead of eth0, with its address.
fn make(segment: &Segment, host: usize, name: &str, commands: &[&str]) -> Result<(), String> {
    let address = format!("address add 10.5.0.{host}/24 dev {name}");
    let up = format!("link set {name} up");
    let rest = ["address flush dev eth0 scope global", "link set eth0 up", &address, &up];
    // Otherwise a macvlan's lower interface answers for it, with its own Ethernet address.
    let arp_ignore = || std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1").unwrap();
    segment.host(host).run(arp_ignore).unwrap();
    // One program for all of them, since starting one takes its time in a virtual machine.
    let batch: String =
        commands.iter().copied().chain(rest).map(|line| format!("{line}\n")).collect();
    let mut ip = Command::new("ip");
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let run = || {
        let mut running = ip.spawn().unwrap();
        running.stdin.take().unwrap().write_all(batch.as_bytes()).unwrap();
        running.wait_with_output().unwrap()
    };
    let output = segment.host(host).run(run).unwrap();
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    // Only the kernel's want of a kind is no failure of ours.
    let missing = ["Unknown device type", "Operation not supported"];
    assert!(missing.iter().any(|text| error.contains(text)), "ip -batch: {error}{batch}");
    Err(format!("{}: {}", commands[0], error.trim()))
}

/// Host 1 of two holds the address.
fn held_by_one() -> (Segment, Speaker) {
    let segment = Segment::new(2);
    let speaker = segment.speaker(1, &Cluster::v2(), 100);
    wait_for_the_address(&segment);
    (segment, speaker)
}

/// Waits until host 1 has it, and asks for it, which takes a program, only now and then.
fn wait_for_the_address(segment: &Segment) {
    wait_for("the address", 8 * SECOND, || {
        std::thread::sleep(SECOND / 5);
        segment.holds(1, &Cluster::v2())
    });
}

/// Makes the host find out where the virtual address is; it answers.
fn learn(segment: &Segment, host: usize) {
    let ping = ["ping", "-c", "1", "-W", "1", "10.5.0.100"];
    let answer = segment.output(host, &ping);
    assert!(answer.contains("1 received"), "{answer}");
}

/// The Ethernet address that host 3 knows the virtual address by.
fn neighbour_of(segment: &Segment, interface: &str) -> String {
    let entry = segment.output(3, &["ip", "neigh", "show", "10.5.0.100", "dev", interface]);
    word_after(&entry, "lladdr")
}

fn mac(segment: &Segment, host: usize, interface: &str) -> String {
    word_after(&segment.output(host, &["ip", "-oneline", "link", "show", interface]), "link/ether")
}

/// The Ethernet address in the next announcement that the host hears; the last of a burst comes
/// after five seconds.
fn announced(segment: &Segment, host: usize) -> String {
    const FILTER: &str = "arp and arp[14:4] == 0x0a050064";
    let command = ["timeout", "6", "tcpdump", "-l", "-n", "-e", "-i", "eth0", "-c", "1", FILTER];
    let line = segment.output(host, &command);
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

fn word_after(text: &str, word: &str) -> String {
    let mut words = text.split_whitespace().skip_while(|it| *it != word).skip(1);
    words.next().unwrap_or_default().to_owned()
}
