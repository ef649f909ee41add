//! Whole frames on the wire against those captured of keepalived 2.2.7 with the same settings and
//! Ethernet addresses; it sends no ARP replies, which are as RFC 5944 section 4.6 has them. Needs root, tcpdump and iproute2.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use common::{Cluster, Segment};

#[test]
fn version_2_with_password() {
    assert_eq!(
        first_frames(6, &Cluster::v2(), ["36:8c:a2:89:bf:94", OTHER], 1, 100),
        [
            "01005e000012368ca289bf94080045c0002800010000ff70d08c0a050001e0000012\
             21336401010101e30a0500647365637265743132",
            "ffffffffffff368ca289bf9408060001080006040001368ca289bf940a050064ffffffffffff0a050064",
            "ffffffffffff368ca289bf9408060001080006040002368ca289bf940a050064368ca289bf940a050064",
            "ffffffffffff368ca289bf9408060001080006040001368ca289bf940a050064ffffffffffff0a050064",
            "ffffffffffff368ca289bf9408060001080006040002368ca289bf940a050064368ca289bf940a050064",
            "01005e000012368ca289bf94080045c0002800020000ff70d08b0a050001e0000012\
             21336401010101e30a0500647365637265743132",
        ]
    );
}

/// The capture ends with the first advertisement; the next has the next identification.
#[test]
fn version_2_without_password_unicast() {
    let cluster = Cluster { password: None, unicast: vec![1, 2], ..Cluster::v2() };
    assert_eq!(
        first_frames(6, &cluster, ["96:76:bb:73:31:4c", "1a:cc:48:c0:83:67"], 2, 90),
        [
            "9676bb73314c1acc48c08367080045c0002800010000ff70a6980a0500020a050001\
             21335a0100017a610a0500640000000000000000",
            "ffffffffffff1acc48c08367080600010800060400011acc48c083670a050064ffffffffffff0a050064",
            "ffffffffffff1acc48c08367080600010800060400021acc48c083670a0500641acc48c083670a050064",
            "ffffffffffff1acc48c08367080600010800060400011acc48c083670a050064ffffffffffff0a050064",
            "ffffffffffff1acc48c08367080600010800060400021acc48c083670a0500641acc48c083670a050064",
            "9676bb73314c1acc48c08367080045c0002800020000ff70a6970a0500020a050001\
             21335a0100017a610a0500640000000000000000",
        ]
    );
}

#[test]
fn version_3() {
    assert_eq!(
        first_frames(6, &Cluster::v3_ipv4(), ["3a:d6:68:2b:8b:dd", OTHER], 1, 100),
        [
            "01005e0000123ad6682b8bdd080045c0002000010000ff70d0940a050001e0000012\
             31336401006475690a050064",
            "ffffffffffff3ad6682b8bdd080600010800060400013ad6682b8bdd0a050064ffffffffffff0a050064",
            "ffffffffffff3ad6682b8bdd080600010800060400023ad6682b8bdd0a0500643ad6682b8bdd0a050064",
            "ffffffffffff3ad6682b8bdd080600010800060400013ad6682b8bdd0a050064ffffffffffff0a050064",
            "ffffffffffff3ad6682b8bdd080600010800060400023ad6682b8bdd0a0500643ad6682b8bdd0a050064",
            "01005e0000123ad6682b8bdd080045c0002000020000ff70d0930a050001e0000012\
             31336401006475690a050064",
        ]
    );
}

#[test]
fn version_3_unicast() {
    let cluster = Cluster { unicast: vec![1, 2], ..Cluster::v3_ipv4() };
    assert_eq!(
        first_frames(6, &cluster, ["e2:0a:c2:36:8c:8b", "22:17:37:a7:e2:d3"], 1, 100),
        [
            "221737a7e2d3e20ac2368c8b080045c0002000010000ff70a6a00a0500010a050002\
             3133640100644b750a050064",
            "ffffffffffffe20ac2368c8b08060001080006040001e20ac2368c8b0a050064ffffffffffff0a050064",
            "ffffffffffffe20ac2368c8b08060001080006040002e20ac2368c8b0a050064e20ac2368c8b0a050064",
            "ffffffffffffe20ac2368c8b08060001080006040001e20ac2368c8b0a050064ffffffffffff0a050064",
            "ffffffffffffe20ac2368c8b08060001080006040002e20ac2368c8b0a050064e20ac2368c8b0a050064",
            "221737a7e2d3e20ac2368c8b080045c0002000020000ff70a69f0a0500010a050002\
             3133640100644b750a050064",
        ]
    );
}

#[test]
fn version_3_ipv6() {
    const ADVERTISEMENT: &str = "3333000000128aa76a85c04e86dd6c0.....001870ff\
         fe8000000000000088a76afffe85c04eff020000000000000000000000000012\
         31335a010064c5c7fd050000000000000000000000000100";
    const ANNOUNCEMENT: &str = "3333000000018aa76a85c04e86dd600.....00203aff\
         fd050000000000000000000000000100ff020000000000000000000000000001\
         8800a51820000000fd05000000000000000000000000010002018aa76a85c04e";
    assert_eq!(
        first_frames(4, &Cluster::v3_ipv6(), ["8a:a7:6a:85:c0:4e", OTHER], 1, 90),
        [ADVERTISEMENT, ANNOUNCEMENT, ANNOUNCEMENT, ADVERTISEMENT]
    );
}

/// A host that only listens.
const OTHER: &str = "02:00:00:00:00:02";

/// The first frames that another host gets from a router of its own accord: its
/// advertisements and announcements.
fn first_frames(
    count: usize,
    cluster: &Cluster,
    macs: [&str; 2],
    router: usize,
    priority: u8,
) -> Vec<String> {
    const FILTER: &str = "ip proto 112 or ip6 proto 112 \
         or (arp and arp[14:4] == 0x0a050064) \
         or (icmp6 and ip6[40] == 136 and dst host ff02::1)";
    let segment = Segment::with_macs(&macs);
    let witness = 3 - router;
    let capture = segment.spawn(
        witness,
        &[
            "timeout",
            "20",
            "tcpdump",
            "-l",
            "-n",
            "-i",
            "eth0",
            "-xx",
            "-c",
            &count.to_string(),
            FILTER,
        ],
    );
    let _speaker = segment.speaker(router, cluster, priority);
    let output = capture.wait_with_output().unwrap();
    frames(&String::from_utf8(output.stdout).unwrap())
}

/// The frames of tcpdump's hexadecimal dump, without IPv6's flow labels: the kernel draws them.
fn frames(dump: &str) -> Vec<String> {
    let mut frames: Vec<String> = Vec::new();
    for line in dump.lines() {
        match line.trim_start().strip_prefix("0x") {
            Some(bytes) => {
                let bytes = bytes.split_once(':').unwrap().1;
                frames.last_mut().unwrap().extend(bytes.split_whitespace());
            }
            None => frames.push(String::new()),
        }
    }
    for frame in &mut frames {
        if frame[24..].starts_with("86dd") {
            frame.replace_range(31..36, ".....");
        }
    }
    frames
}
