//! From IPVS to the proxy, as docs/migrate-ipvs.md tells it, and back.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{Cluster, LONG, certificates};
use crate::nodes::{
    PACE, addresses, all_apiservers, all_services, assert_one_director, build, document,
    eventually, plan_of, services, settle,
};

/// Node after node, while a client asks all the time.
#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn nodes_migrate_one_by_one_and_back() {
    let mut cluster = build(plan_of(document(true)));
    cluster.world.start_all().unwrap();
    settle(&cluster);
    assert_one_director(&cluster);
    cluster.ask_every(PACE);

    set_document(&cluster, false);
    for node in in_order(&cluster) {
        restart(&mut cluster, node);
        let host = cluster.world.node(node).host();
        assert_eq!(services(host), Vec::<String>::new());
        assert_eq!(addresses(host, "dummyvip0"), Vec::<String>::new());
        let target = format!("{}:6444", cluster.address(node));
        // On a machine as slow as this one, a hedged handshake may be another apiserver's for once.
        let mut shown = BTreeSet::new();
        for _ in 0..6 {
            shown.extend(certificates(cluster.world.client(), &target, 3).into_keys());
            if shown == all_apiservers() {
                break;
            }
        }
        assert_eq!(shown, all_apiservers());
        cluster.tell(&format!("{} balances by its proxy, to all apiservers", host.name));
    }

    set_document(&cluster, true);
    for node in in_order(&cluster) {
        restart(&mut cluster, node);
        let host = cluster.world.node(node).host();
        assert_eq!(addresses(host, "dummyvip0"), ["10.0.0.100/32"]);
        cluster.tell(&format!("{} has dummyvip0 again", host.name));
    }
    eventually(&cluster, "the holder balances", |cluster| {
        services(cluster.world.node(cluster.holder()).host()) == all_services()
    });
    assert_one_director(&cluster);
    cluster.stop_asking();
}

/// The holder last.
fn in_order(cluster: &Cluster) -> [usize; 3] {
    let holder = cluster.holder();
    [(holder + 1) % 3, (holder + 2) % 3, holder]
}

fn set_document(cluster: &Cluster, virtual_servers: bool) {
    fs::write(cluster.world.directory().join("config.yaml"), document(virtual_servers)).unwrap();
}

/// Stops and starts a controller. No connect fails, but for the hand-over of one that held: its
/// redirect goes while others still send to it, which takes longer in this machine than elsewhere.
fn restart(cluster: &mut Cluster, node: usize) {
    let begin = cluster.now();
    let held = cluster.holder() == node;
    let controller = &mut cluster.world.node_mut(node).controller;
    controller.stop().unwrap();
    assert!(controller.wait(LONG));
    controller.start().unwrap();
    let name = cluster.world.node(node).name().to_owned();
    cluster.tell(&format!("{name} restarted{}", if held { ", which held" } else { "" }));
    let restarted = cluster.now();
    settle(cluster);
    let handing_over = cluster.figures(&(begin..restarted));
    assert!(held || handing_over.failed_connects == 0, "{handing_over:?}");
    let figures = cluster.figures_since(restarted);
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    println!("slowest connect {:?}", handing_over.slowest_connect.max(figures.slowest_connect));
}
