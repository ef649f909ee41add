//! Every way to lose the holder, in both directions, between two routers of equal priority.

use std::time::Instant;

use vrrp::State;

use crate::common::{Cluster, wait_for};
use crate::daemon::Keepalived;
use crate::{MARGIN, PLANNED, PRIORITY, SECOND, Scene, assert_no_complaints, hand_over};

#[test]
fn version_2_with_password() {
    every_take_over("v2 PASS", Cluster::v2(), 1, 2);
}

#[test]
fn version_2_with_password_unicast() {
    every_take_over("v2 PASS unicast", Cluster { unicast: vec![1, 2], ..Cluster::v2() }, 2, 1);
}

#[test]
fn version_2_without_password() {
    every_take_over("v2", Cluster { password: None, ..Cluster::v2() }, 2, 1);
}

#[test]
fn version_2_without_password_unicast() {
    let cluster = Cluster { password: None, unicast: vec![1, 2], ..Cluster::v2() };
    every_take_over("v2 unicast", cluster, 1, 2);
}

#[test]
fn version_3() {
    every_take_over("v3", Cluster::v3_ipv4(), 1, 2);
}

#[test]
fn version_3_unicast() {
    let cluster = Cluster { interval: SECOND / 2, unicast: vec![1, 2], ..Cluster::v3_ipv4() };
    every_take_over("v3 unicast, 500 ms", cluster, 2, 1);
}

#[test]
fn version_3_ipv6() {
    let cluster = Cluster { interval: SECOND / 2, ..Cluster::v3_ipv6() };
    every_take_over("v3 IPv6, 500 ms", cluster, 2, 1);
}

#[test]
fn version_3_ipv6_unicast() {
    let cluster = Cluster { unicast: vec![1, 2], ..Cluster::v3_ipv6() };
    every_take_over("v3 IPv6 unicast", cluster, 1, 2);
}

#[test]
fn version_3_with_ten_advertisements_a_second() {
    let cluster = Cluster { interval: SECOND / 10, ..Cluster::v3_ipv4() };
    every_take_over("v3, 100 ms", cluster, 1, 2);
}

fn every_take_over(title: &'static str, cluster: Cluster, ours: usize, theirs: usize) {
    let scene = Scene::new(title, cluster, 2);
    let Scene { cluster, segment, client, .. } = &scene;
    let (skew, down) = (scene.skew(PRIORITY), scene.down_interval(PRIORITY));
    let start_keepalived = || Keepalived::start(segment, theirs, cluster, PRIORITY);

    let mut keepalived = start_keepalived();
    scene.wait_for_holder(theirs);
    let mark = Instant::now();
    let mut speaker = scene.join(ours, PRIORITY);
    std::thread::sleep(down + MARGIN);
    assert_eq!(client.holders(mark), [theirs], "who is there first stays");

    let mark = Instant::now();
    keepalived.stop();
    scene.wait_for_holder(ours);
    scene.report("keepalived is stopped, we follow", mark, skew + MARGIN);

    let mark = Instant::now();
    keepalived = start_keepalived();
    std::thread::sleep(down + cluster.interval);
    assert_eq!(client.holders(mark), [ours], "who is there first stays");

    let mark = Instant::now();
    hand_over(speaker);
    scene.wait_for_holder(theirs);
    scene.report("we hand over, keepalived follows", mark, PLANNED);

    speaker = scene.join(ours, PRIORITY);
    let mark = Instant::now();
    segment.cut(theirs);
    keepalived.crash();
    scene.wait_for_holder(ours);
    scene.report("keepalived crashes, we follow", mark, down + MARGIN);

    // As if that machine had been restarted.
    segment.output(theirs, &["ip", "address", "delete", cluster.address, "dev", "eth0"]);
    segment.heal(theirs);
    keepalived = start_keepalived();
    scene.settle();
    let mark = Instant::now();
    segment.cut(ours);
    scene.wait_for_holder(theirs);
    scene.report("we crash, keepalived follows", mark, down + MARGIN);

    // Both hold the address now, each in its part of the network: the higher address decides.
    assert_eq!(speaker.state(), State::Active);
    segment.heal(ours);
    let winner = ours.max(theirs);
    wait_for("one holder", cluster.interval + MARGIN, || {
        (speaker.state() == State::Active) == (winner == ours)
            && (keepalived.state() == "MASTER") == (winner == theirs)
    });
    std::thread::sleep(MARGIN);
    assert_eq!(segment.holds(ours, cluster), winner == ours);
    assert_eq!(segment.holds(theirs, cluster), winner == theirs);

    assert_no_complaints(&speaker);
    drop(speaker);
    keepalived.stop();
}
