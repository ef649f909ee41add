//! Who serves a connection: every healthy apiserver in turn, and how these are found. In network
//! namespaces, as stories; needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::time::Duration;

use common::{Cluster, LONG, VIP, certificates, controller, each, on, plan};
use lab::apiserver::Slices;
use lab::world::State;
use serde_json::json;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long an apiserver that hangs may stay in use.
const OUT_WITHIN: Duration = seconds(3);

/// The slowest handshake while an apiserver hangs.
const HEDGED_WITHIN: Duration = Duration::from_millis(1_300);

#[test]
fn every_door_leads_to_every_apiserver_and_none_to_a_sick_one() {
    let mut cluster = Cluster::start();
    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let virtual_ip = format!("{VIP}:6443");

    let world = &cluster.world;
    for host in [world.client(), world.node(holder).host(), world.node(other).host()] {
        assert_eq!(certificates(host, &virtual_ip, 15), each(5), "{virtual_ip} at {}", host.name);
        cluster.tell(&format!("15 connects from {} to {virtual_ip}: 5 each", host.name));
    }
    for node in 0..3 {
        let target = format!("{}:6444", cluster.address(node));
        assert_eq!(certificates(world.client(), &target, 15), each(5), "{target}");
        cluster.tell(&format!("15 connects from client to {target}: 5 each"));
        let host = world.node(node).host();
        let target = "127.0.0.1:6444";
        assert_eq!(certificates(host, target, 15), each(5), "{target} at {}", host.name);
        cluster.tell(&format!("15 connects from {} to {target}: 5 each", host.name));
    }

    cluster.ask();
    cluster.pass(seconds(1));
    let begin = cluster.now();
    cluster.world.node_mut(other).apiserver.kill().unwrap();
    assert!(cluster.world.node_mut(other).apiserver.wait(LONG));
    cluster.tell(&format!("kube-apiserver-{} killed", other + 1));
    let took = cluster.eventually("it is out", |cluster| {
        cluster.health_at(holder, other).as_deref() == Some("unhealthy")
    });
    assert!(took <= seconds(1), "one that refuses is out at once, not after {took:?}");
    cluster.pass(seconds(2));
    let figures = cluster.figures_since(begin);
    assert_eq!((figures.failed_connects, figures.failed_handshakes), (0, 0), "{figures:?}");
    cluster.world.node_mut(other).apiserver.start().unwrap();
    cluster.tell(&format!("kube-apiserver-{} started", other + 1));
    cluster.settle();

    let begin = cluster.now();
    cluster.world.node_mut(other).apiserver.freeze().unwrap();
    cluster.tell(&format!("kube-apiserver-{} frozen", other + 1));
    let out =
        |cluster: &Cluster, node| cluster.health_at(node, other).as_deref() == Some("unhealthy");
    let took = cluster.eventually("the holder has it out", |cluster| out(cluster, holder));
    assert!(took <= OUT_WITHIN, "{took:?}");
    cluster.eventually("so have all", |cluster| (0..3).all(|node| out(cluster, node)));
    assert!(cluster.now() - begin <= OUT_WITHIN);
    cluster.pass(seconds(2));
    let figures = cluster.figures_since(begin);
    assert_eq!((figures.failed_connects, figures.failed_handshakes), (0, 0), "{figures:?}");
    assert!(figures.slowest_handshake <= HEDGED_WITHIN, "{figures:?}");
    let status = cluster.status_text_of(holder);
    assert!(status.contains("unhealthy"), "{status}");
    println!("{status}");
    cluster.stop_asking();

    cluster.world.node_mut(other).apiserver.thaw().unwrap();
    cluster.tell(&format!("kube-apiserver-{} thawed", other + 1));
    cluster.settle();
    assert_eq!(certificates(cluster.world.client(), &virtual_ip, 15), each(5));
    cluster.tell("15 connects: 5 each again");
    assert_eq!(cluster.holdings().changes().len(), 1, "the virtual IP never moved");
}

/// What a node's status says of its list.
fn list_at(cluster: &Cluster, node: usize) -> serde_json::Value {
    cluster.status_of(node).unwrap()["load_balancer"]["discovery"].take()
}

/// The addresses in it.
fn addresses_at(cluster: &Cluster, node: usize) -> Vec<String> {
    let list = list_at(cluster, node);
    let backends = list["backends"].as_array().unwrap();
    backends.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect()
}

const ALL: [&str; 3] = ["10.0.0.11:6443", "10.0.0.12:6443", "10.0.0.13:6443"];

#[test]
fn the_list_follows_the_cluster_and_leaves_the_virtual_ip_out() {
    let mut cluster = Cluster::build(plan());
    for node in [0, 1] {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    for node in 0..3 {
        cluster.world.node_mut(node).controller.start().unwrap();
    }
    let all_know = |cluster: &Cluster, nodes: &[usize], known: &[&str]| {
        nodes
            .iter()
            .all(|node| cluster.status_of(*node).is_some() && addresses_at(cluster, *node) == known)
    };
    cluster.eventually("the nodes that reach an apiserver know two", |cluster| {
        all_know(cluster, &[0, 1], &ALL[..2])
    });
    assert_eq!(addresses_at(&cluster, 2), ["127.0.0.1:6443"]);
    assert_eq!(list_at(&cluster, 0)["origin"]["endpoints"]["resource"], "slices");

    cluster.world.node_mut(2).apiserver.start().unwrap();
    cluster.tell("kube-apiserver-3 started");
    cluster.eventually("all nodes know three", |cluster| all_know(cluster, &[0, 1, 2], &ALL));

    // As if an apiserver advertised the virtual IP: a member of the list that all replicas share.
    let lease = json!({ "address": format!("{VIP}:6443"), "expires": u64::MAX });
    let leases = cluster.world.directory().join("state/leases");
    fs::write(leases.join("kube-apiserver-9"), lease.to_string()).unwrap();
    cluster.tell("the virtual IP is among the endpoints");
    let reason = "it is a virtual IP, so connections to it come back to this proxy; let the \
                  apiservers advertise their own addresses: k0s: set spec.api.address and start with \
                  --disable-components=endpoint-reconciler; kubeadm: --apiserver-advertise-address";
    cluster.eventually("all nodes refuse it", |cluster| {
        let refused = json!([{ "address": format!("{VIP}:6443"), "reason": reason }]);
        (0..3).all(|node| list_at(cluster, node)["refused"] == refused)
    });
    for node in 0..3 {
        assert_eq!(addresses_at(&cluster, node), ALL);
        let warning = format!("! apiserver {VIP}:6443 is not used: {reason}\n");
        assert!(cluster.status_text_of(node).contains(&warning));
        let log = cluster.log_of(node);
        let lines =
            log.lines().filter(|line| line.contains("an endpoint of the cluster is left out"));
        assert_eq!(lines.filter(|line| line.contains("ERROR")).count(), 1, "{log}");
    }
    let holder = cluster.settle();
    assert_eq!(certificates(cluster.world.client(), &format!("{VIP}:6443"), 15), each(5));

    // No apiserver answers, and the last known list is all there is.
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.kill().unwrap();
    }
    cluster.world.node_mut(holder).controller.kill().unwrap();
    assert!(cluster.world.node_mut(holder).controller.wait(LONG));
    cluster.world.node_mut(holder).controller.start().unwrap();
    cluster.tell(&format!("all apiservers killed, controller-{} restarted", holder + 1));
    cluster.eventually("it begins with the list on disk", |cluster| {
        cluster.status_of(holder).is_some()
            && list_at(cluster, holder)["origin"]["cache"]["age_ms"].is_number()
    });
    for address in ALL {
        assert!(addresses_at(&cluster, holder).contains(&address.to_owned()));
    }
    println!("{}", cluster.status_text_of(holder));
    cluster.world.start_all().unwrap();
    cluster.settle();
    assert_eq!(addresses_at(&cluster, holder), ALL);
}

#[test]
fn endpoints_do_where_slices_are_missing_and_the_command_line_where_all_is() {
    let mut plan = plan();
    plan.slices = Slices::None;
    let mut cluster = Cluster::build(plan);
    let servers = ALL.map(|address| ["--apiserver", address]).concat();
    let launch = controller(&cluster.world, 2, &servers);
    cluster.world.node_mut(2).controller.replace(launch);
    cluster.world.start_all().unwrap();
    cluster.settle();
    for node in [0, 1] {
        let origin = list_at(&cluster, node)["origin"].take();
        assert_eq!(origin["endpoints"]["resource"], "endpoints", "{origin}");
        assert_eq!(addresses_at(&cluster, node), ALL);
    }
    assert_eq!(list_at(&cluster, 2)["origin"], "static");
    println!("{}", cluster.status_text_of(2));
    for node in 0..3 {
        let target = format!("{}:6444", cluster.address(node));
        let shown = certificates(cluster.world.client(), &target, 15);
        cluster.tell(&format!("15 connects to {target}: {shown:?}"));
        assert_eq!(shown, each(5), "{target}");
    }
}

#[test]
fn without_a_load_balancer_there_are_virtual_ips_and_nothing_else() {
    let mut plan = plan();
    plan.document = plan.document.replace(
        "        vrrpInstances:",
        "        disableLoadBalancer: true\n        vrrpInstances:",
    );
    let mut cluster = Cluster::build(plan);
    let of_node = |cluster: &Cluster, node: usize, line| on(cluster.world.node(node).host(), line);
    let before = of_node(&cluster, 0, "ip -oneline link").lines().count();
    cluster.world.start_all().unwrap();
    cluster.eventually("all are ready and one holds", |cluster| {
        let ready = |node| cluster.status_of(node).is_some_and(|status| status["ready"] == true);
        cluster.holders().len() == 1 && (0..3).all(ready)
    });
    let holder = cluster.holder();
    for node in 0..3 {
        assert_eq!(cluster.tables(node), "");
        assert_eq!(of_node(&cluster, node, "ip -oneline link").lines().count(), before);
        let listening = of_node(&cluster, node, "ss --no-header --tcp --listening --numeric");
        let doors: Vec<&str> =
            listening.split_whitespace().filter(|it| it.contains(":64")).collect();
        assert_eq!(doors, ["0.0.0.0:6443"], "the apiserver alone listens: {listening}");
        assert!(cluster.status_of(node).unwrap()["load_balancer"].is_null());
    }
    let own = [(format!("kube-apiserver-{}", holder + 1), 6)].into();
    assert_eq!(certificates(cluster.world.client(), &format!("{VIP}:6443"), 6), own);

    let begin = cluster.now();
    for _ in 0..3 {
        let node = cluster.holder();
        let controller = &mut cluster.world.node_mut(node).controller;
        controller.stop().unwrap();
        assert!(controller.wait(LONG));
        assert_eq!(controller.state(), State::Ended { code: Some(0) });
        assert_eq!(cluster.addresses(node), 0);
        assert_eq!(cluster.tables(node), "");
    }
    assert_eq!(cluster.doubly_held_since(begin).as_secs(), 0);
    assert_eq!(cluster.moves_since(begin), 2, "to each of the others in turn");
}
