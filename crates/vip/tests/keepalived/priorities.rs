//! Unequal priorities: the higher one takes the address from a holder that lives.

use std::time::Instant;

use crate::common::Cluster;
use crate::daemon::Keepalived;
use crate::{MARGIN, PLANNED, PRIORITY, SECOND, Scene, assert_no_complaints};

#[test]
fn in_version_2() {
    the_higher_one_preempts("v2 PASS", Cluster::v2());
}

#[test]
fn in_version_3_unicast() {
    let cluster = Cluster { interval: SECOND / 2, unicast: vec![1, 2], ..Cluster::v3_ipv4() };
    the_higher_one_preempts("v3 unicast, 500 ms", cluster);
}

#[test]
fn in_version_3_ipv6() {
    let cluster = Cluster { interval: SECOND / 2, ..Cluster::v3_ipv6() };
    the_higher_one_preempts("v3 IPv6, 500 ms", cluster);
}

fn the_higher_one_preempts(title: &'static str, cluster: Cluster) {
    const LOWER: u8 = 100;
    const HIGHER: u8 = 250;
    let (ours, theirs) = (2, 1);
    let scene = Scene::new(title, cluster, 2);
    let Scene { cluster, segment, .. } = &scene;

    let keepalived = Keepalived::start(segment, theirs, cluster, LOWER);
    scene.wait_for_holder(theirs);
    let mark = Instant::now();
    let speaker = segment.speaker(ours, cluster, PRIORITY);
    scene.wait_for_holder(ours);
    scene.report("we preempt keepalived", mark, PLANNED);

    // Without a hand-over, priority 0 is all that keepalived hears of it.
    assert_no_complaints(&speaker);
    let mark = Instant::now();
    drop(speaker);
    scene.wait_for_holder(theirs);
    scene.report("we stop at once, keepalived follows", mark, scene.skew(LOWER) + MARGIN);
    keepalived.stop();

    let speaker = segment.speaker(ours, cluster, PRIORITY);
    scene.wait_for_holder(ours);
    let mark = Instant::now();
    let keepalived = Keepalived::start(segment, theirs, cluster, HIGHER);
    scene.wait_for_holder(theirs);
    scene.report("keepalived preempts us", mark, PLANNED);
    assert!(!segment.holds(ours, cluster));

    assert_no_complaints(&speaker);
    keepalived.stop();
}
