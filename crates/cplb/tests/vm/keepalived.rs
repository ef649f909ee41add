//! A keepalived with IPVS, unicast, and templates of the user's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use lab::world::{Launch, VrrpEngine, World};
use rustix::process::{Pid, Signal, kill_process};

use crate::common::{CPLB, Cluster, LONG, on, text, virtual_addresses_on};
use crate::nodes::{
    PACE, all_services, assert_balanced, assert_one_director, build, document, eventually, looks,
    looks_with_ipvs, plan_of, services, settle,
};

const MARKER: &str = "# Written by a template of the user's.";

/// A keepalived whose own check refuses whatever it is asked, and says so, for as long as the file
/// `refuse` is there.
const PROGRAM: &str = "#!/bin/sh
directory=$(dirname \"$0\")
if [ \"$1\" = --config-test ] && [ -e \"$directory/refuse\" ]; then
  : > \"$directory/refused\"
  echo not now
  exit 1
fi
PATH=$PATH:/usr/sbin:/sbin
exec keepalived \"$@\"
";

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
    let before: Vec<_> =
        cluster.world.nodes().iter().map(|node| looks_with_ipvs(node.host())).collect();
    cluster.world.start_all().unwrap();
    settle(&cluster);
    eventually(&cluster, "the holder balances", |cluster| {
        services(cluster.world.node(cluster.holder()).host()) == all_services()
    });
    assert_one_director(&cluster);
    for node in 0..3 {
        let main = file_of(&cluster, node, "keepalived.conf");
        assert!(main.contains(MARKER), "{main}");
        let own = 11 + node;
        assert!(main.contains(&format!("    unicast_src_ip 10.0.0.{own}\n")), "{main}");
        for peer in (11..=13).filter(|peer| *peer != own) {
            assert!(main.contains(&format!("        10.0.0.{peer}\n")), "{main}");
        }
        let servers = file_of(&cluster, node, "keepalived-virtualservers-generated.conf");
        assert!(servers.contains(MARKER), "{servers}");
    }
    assert_balanced(&cluster);

    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let address = cluster.address(other);
    let file = |name: &str| directory(&cluster.world, holder).join(name);
    let (refuse, refused) = (file("refuse"), file("refused"));
    fs::write(&refuse, "").unwrap();
    cluster.world.node_mut(other).apiserver.kill().unwrap();
    eventually(&cluster, "the other real servers are tested, and refused", |_| refused.exists());
    let generated = file_of(&cluster, holder, "keepalived-virtualservers-generated.conf");
    assert!(generated.contains(&format!("real_server {address} 6443 ")), "{generated}");
    fs::remove_file(refuse).unwrap();
    let is_listed = |cluster: &Cluster| {
        let wanted = format!("-> {address}:6443 Route 1");
        services(cluster.world.node(holder).host()).contains(&wanted)
    };
    eventually(&cluster, "a killed apiserver is away", |cluster| !is_listed(cluster));
    cluster.world.node_mut(other).apiserver.start().unwrap();
    eventually(&cluster, "and comes back", is_listed);
    settle(&cluster);
    a_killed_checker(&cluster, holder);

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
    crashes(&mut cluster, holder, &before);
}

/// keepalived starts another one, which knows of the services that it finds: the planned stop
/// removes them.
fn a_killed_checker(cluster: &Cluster, node: usize) {
    let checker = pid(cluster, node, "keepalived-checkers.pid");
    kill_process(checker.unwrap(), Signal::KILL).unwrap();
    eventually(cluster, "there is another checker", |cluster| {
        let another = pid(cluster, node, "keepalived-checkers.pid");
        another.is_some() && another != checker
    });
}

/// The daemon of the holder dies alone; then the last one, where somebody else has services too,
/// together with all of its keepalived.
fn crashes(cluster: &mut Cluster, stopped: usize, before: &[BTreeMap<String, String>]) {
    let listed = |cluster: &Cluster, node: usize| services(cluster.world.node(node).host());
    let host =
        |cluster: &Cluster, node: usize, line: &str| on(cluster.world.node(node).host(), line);
    let killed = cluster.holder();
    let node = 3 - stopped - killed;
    host(cluster, node, "ipvsadm -A -t 10.96.0.1:443 -s wrr");
    host(cluster, node, "ipvsadm -a -t 10.96.0.1:443 -r 10.0.0.50:443 -m");
    let foreign = listed(cluster, node);
    assert_eq!(foreign, ["TCP 10.96.0.1:443 wrr", "-> 10.0.0.50:443 Masq 1"]);
    let mut before = before[node].clone();
    before.insert("ipvsadm -Sn".into(), host(cluster, node, "ipvsadm -Sn").trim_end().into());

    cluster.world.node_mut(killed).controller.kill().unwrap();
    eventually(cluster, "keepalived ended with the daemon, and its services too", |cluster| {
        listed(cluster, killed).is_empty()
    });
    let ours = &all_services()[0];
    eventually(cluster, "the last one balances", |cluster| listed(cluster, node).contains(ours));
    let [parent, speaker, checker] =
        ["keepalived.pid", "keepalived-vrrp.pid", "keepalived-checkers.pid"]
            .map(|file| pid(cluster, node, file).unwrap());
    // Nobody gets the chance to clean up.
    cluster.world.node_mut(node).controller.freeze().unwrap();
    for (process, signal) in
        [(parent, Signal::STOP), (speaker, Signal::KILL), (checker, Signal::KILL)]
    {
        kill_process(process, signal).unwrap();
    }
    cluster.world.node_mut(node).controller.kill().unwrap();
    assert!(cluster.world.node_mut(node).controller.wait(LONG));
    assert!(listed(cluster, node).contains(ours), "this is what a crash leaves");

    let run_dir = cluster.world.node(node).run_dir.display().to_string();
    let removed = host(cluster, node, &format!("{CPLB} cleanup --run-dir {run_dir}"));
    cluster.tell(&removed);
    assert!(
        removed.contains("removed the IPVS service 10.0.0.100:6443 of keepalived\n"),
        "{removed}"
    );
    assert_eq!(listed(cluster, node), foreign);
    assert_eq!(virtual_addresses_on(cluster.world.node(node).host()), 0);
    assert_eq!(looks(cluster.world.node(node).host()), before);
}

/// A process that a file of the run directory names.
fn pid(cluster: &Cluster, node: usize, file: &str) -> Option<Pid> {
    let text = fs::read_to_string(cluster.world.node(node).run_dir.join(file)).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

fn file_of(cluster: &Cluster, node: usize, name: &str) -> String {
    fs::read_to_string(cluster.world.node(node).run_dir.join(name)).unwrap()
}

/// What a node has of its own.
fn directory(world: &World, node: usize) -> PathBuf {
    world.node(node).run_dir.parent().unwrap().to_owned()
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
    let directory = directory(world, node);
    let program = directory.join("keepalived");
    fs::write(&program, PROGRAM).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(directory.join("config.yaml"), document).unwrap();
    Launch::new(CPLB)
        .argument("controller")
        .option("--config", directory.join("config.yaml"))
        .option("--kubeconfig", directory.join("admin.conf"))
        .option("--run-dir", directory.join("run"))
        .option("--state-dir", directory.join("state"))
        .option("--keepalived-bin", program)
}
