//! A keepalived with IPVS, unicast, and templates of the user's.

use std::fs;
use std::process::Command;
use std::time::Duration;

use lab::world::{Launch, VrrpEngine, World};

use crate::common::{CPLB, Cluster, LONG, text};
use crate::nodes::{
    PACE, all_services, assert_balanced, assert_one_director, build, document, eventually, plan_of,
    services, settle,
};

const MARKER: &str = "# Written by a template of the user's.";

/// The services come and go with the address, from the files that the user's templates make.
#[test]
#[ignore = "takes a kernel with IPVS: scripts/vm/test"]
fn keepalived_directs_by_users_templates() {
    let mut plan = plan_of(document(true));
    plan.vrrp = VrrpEngine::Keepalived;
    let mut cluster = build(plan);
    for name in ["vrrp", "virtualservers"] {
        let printed = Command::new(CPLB).args(["keepalived-config", name]).output().unwrap();
        let template = format!("{}\n{MARKER}\n", text(&printed.stdout));
        fs::write(cluster.world.directory().join(name), template).unwrap();
    }
    for node in 0..3 {
        let launch = unicast(&cluster.world, node);
        cluster.world.node_mut(node).controller.replace(launch);
    }
    cluster.world.start_all().unwrap();
    settle(&cluster);
    eventually(&cluster, "the holder balances", |cluster| {
        services(cluster.world.node(cluster.holder()).host()) == all_services()
    });
    assert_one_director(&cluster);
    for node in 0..3 {
        let run_dir = &cluster.world.node(node).run_dir;
        let main = fs::read_to_string(run_dir.join("keepalived.conf")).unwrap();
        assert!(main.contains(MARKER), "{main}");
        let own = 11 + node;
        assert!(main.contains(&format!("    unicast_src_ip 10.0.0.{own}\n")), "{main}");
        for peer in (11..=13).filter(|peer| *peer != own) {
            assert!(main.contains(&format!("        10.0.0.{peer}\n")), "{main}");
        }
        let servers =
            fs::read_to_string(run_dir.join("keepalived-virtualservers-generated.conf")).unwrap();
        assert!(servers.contains(MARKER), "{servers}");
    }
    assert_balanced(&cluster);

    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let address = cluster.address(other);
    cluster.world.node_mut(other).apiserver.kill().unwrap();
    let is_listed = |cluster: &Cluster| {
        let wanted = format!("-> {address}:6443 Route 1");
        services(cluster.world.node(holder).host()).contains(&wanted)
    };
    eventually(&cluster, "a killed apiserver is away", |cluster| !is_listed(cluster));
    cluster.world.node_mut(other).apiserver.start().unwrap();
    eventually(&cluster, "and comes back", is_listed);
    settle(&cluster);

    cluster.ask_every(PACE);
    let begin = cluster.now();
    let controller = &mut cluster.world.node_mut(holder).controller;
    controller.stop().unwrap();
    assert!(controller.wait(LONG));
    cluster.tell("the holder stopped as planned");
    eventually(&cluster, "the next holder balances", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1
            && holders != [holder]
            // Without the node that has stopped: its cplb carried the address for the packets.
            && services(cluster.world.node(holders[0]).host()).len() == 3
    });
    assert_eq!(services(cluster.world.node(holder).host()), Vec::<String>::new());
    cluster.figures_since(begin);
    let balanced = cluster.now();
    cluster.pass(Duration::from_secs(2));
    let figures = cluster.figures_since(balanced);
    assert!(figures.answered > 0, "{figures:?}");
    assert_eq!(figures.failed_connects, 0, "{figures:?}");
    cluster.stop_asking();
}

/// The controller of a node with a document of its own: its address, and the other two as peers.
fn unicast(world: &World, node: usize) -> Launch {
    let own = 11 + node;
    let peers: Vec<String> =
        (11..=13).filter(|peer| *peer != own).map(|peer| format!("10.0.0.{peer}")).collect();
    let template = |name| world.directory().join(name).display().to_string();
    let instance = format!(
        "          unicastSourceIP: 10.0.0.{own}\n          unicastPeers: [{}]\n",
        peers.join(", ")
    );
    let templates = format!(
        "        configTemplateVRRP: {}\n        configTemplateVS: {}\n",
        template("vrrp"),
        template("virtualservers")
    );
    let document = document(true)
        .replace("      loadBalancer:", "      type: Keepalived\n      loadBalancer:")
        .replace(
            "        virtualServers:",
            &format!("{instance}{templates}        virtualServers:"),
        );
    let directory = world.node(node).run_dir.parent().unwrap();
    fs::write(directory.join("config.yaml"), document).unwrap();
    Launch::new(CPLB)
        .argument("controller")
        .option("--config", directory.join("config.yaml"))
        .option("--kubeconfig", directory.join("admin.conf"))
        .option("--run-dir", directory.join("run"))
        .option("--state-dir", directory.join("state"))
}
