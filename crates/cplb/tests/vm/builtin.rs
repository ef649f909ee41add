//! cplb's own VRRP with IPVS.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::common::{Cluster, LONG, on, text, try_on};
use crate::nodes::{
    PACE, all_services, assert_balanced, assert_one_director, build, document, eventually, looks,
    looks_with_ipvs, plan_of, services, settle,
};

/// The services are on the holder alone, follow it, and follow the apiservers.
#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn the_holder_alone_directs() {
    let mut cluster = build(plan_of(document(true)));
    let before: Vec<_> =
        cluster.world.nodes().iter().map(|node| looks_with_ipvs(node.host())).collect();
    cluster.world.start_all().unwrap();
    settle(&cluster);
    assert_one_director(&cluster);
    assert_balanced(&cluster);

    an_upgrade_is_refused(&cluster);
    a_killed_apiserver(&mut cluster);
    let old = cluster.holder();
    a_killed_holder(&mut cluster);
    cleaned_up(&cluster, old, &before[old]);
    cluster.world.start_all().unwrap();
    settle(&cluster);
    assert_one_director(&cluster);
    a_planned_stop(&mut cluster);

    for node in 0..3 {
        cluster.world.node_mut(node).controller.stop().unwrap();
    }
    for (node, before) in before.iter().enumerate() {
        assert!(cluster.world.node_mut(node).controller.wait(LONG));
        assert_eq!(looks(cluster.world.node(node).host()), *before);
    }
    cluster.tell("stopped, every node is as it was");
}

/// The services would end with the process that made them.
fn an_upgrade_is_refused(cluster: &Cluster) {
    let holder = cluster.holder();
    let run_dir = cluster.world.node(holder).run_dir.display().to_string();
    let upgrade = format!("{} upgrade --run-dir {run_dir}", crate::common::CPLB);
    let output = try_on(cluster.world.node(holder).host(), &upgrade);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let told = text(&output.stderr);
    let why = "not upgraded, the old process goes on: virtualServers, whose services end with the process that made them: stop and start it";
    assert!(told.contains(why), "{told}");
    assert_eq!(services(cluster.world.node(holder).host()), all_services());
}

/// It gets no new connections at once, and is away when the old ones had their time.
fn a_killed_apiserver(cluster: &mut Cluster) {
    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let server = format!("-> {}:6443 Route", cluster.address(other));
    cluster.world.node_mut(other).apiserver.kill().unwrap();
    cluster.tell("an apiserver killed");
    let weight = |cluster: &Cluster, weight| {
        let wanted = format!("{server} {weight}");
        services(cluster.world.node(holder).host()).contains(&wanted)
    };
    eventually(cluster, "its weight is 0", |cluster| weight(cluster, 0));
    eventually(cluster, "it is away", |cluster| {
        services(cluster.world.node(holder).host()).len() == 3
    });
    cluster.world.node_mut(other).apiserver.start().unwrap();
    cluster.tell("the apiserver started again");
    eventually(cluster, "it is back", |cluster| weight(cluster, 1));
    settle(cluster);
}

fn a_killed_holder(cluster: &mut Cluster) {
    let old = cluster.holder();
    cluster.ask_every(PACE);
    let begin = cluster.now();
    cluster.world.node_mut(old).controller.kill().unwrap();
    cluster.tell("the holder killed");
    eventually(cluster, "the next director serves", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1
            && holders != [old]
            && !services(cluster.world.node(holders[0]).host()).is_empty()
    });
    eventually(cluster, "the dead one directs no more", |cluster| {
        services(cluster.world.node(old).host()).is_empty()
    });
    let settled = cluster.now();
    cluster.pass(Duration::from_secs(2));
    cluster.figures(&(begin..settled));
    let figures = cluster.figures_since(settled);
    assert!(figures.answered > 0, "{figures:?}");
    assert_eq!(figures.failed(), 0, "{figures:?}");
    cluster.stop_asking();
}

fn cleaned_up(cluster: &Cluster, node: usize, before: &BTreeMap<String, String>) {
    let host = cluster.world.node(node).host();
    assert_ne!(&looks(host), before);
    let run_dir = cluster.world.node(node).run_dir.display().to_string();
    let removed = on(host, &format!("{} cleanup --run-dir {run_dir}", crate::common::CPLB));
    cluster.tell(&removed);
    assert!(removed.contains("removed the link dummyvip0\n"), "{removed}");
    assert!(
        removed.contains("removed the value 2 of net.ipv4.conf.eth0.arp_announce"),
        "{removed}"
    );
    assert_eq!(&looks(host), before);
}

fn a_planned_stop(cluster: &mut Cluster) {
    let old = cluster.holder();
    cluster.ask_every(PACE);
    cluster.pass(Duration::from_secs(1));
    let begin = cluster.now();
    let controller = &mut cluster.world.node_mut(old).controller;
    controller.stop().unwrap();
    assert!(controller.wait(LONG));
    let ended = cluster.now();
    cluster.tell("the holder stopped as planned");
    assert_ne!(cluster.holder(), old);
    cluster.pass(Duration::from_secs(3));
    let figures = cluster.figures(&(begin..ended));
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    let figures = cluster.figures_since(ended);
    assert!(figures.answered > 0, "{figures:?}");
    // The stopped node's apiserver runs, and gets none of them.
    assert_eq!(figures.failed(), 0, "{figures:?}");
    cluster.stop_asking();
}
