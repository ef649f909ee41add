//! Several addresses, several holders, and services of others beside.

use std::thread;
use std::time::Duration;

use ipvs::{Handle, Settings};

use crate::Test;
use crate::node::{round_robin, source_hashing};
use crate::world::{PORT, VIP, World, count, vip, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("every_address_has_its_services_where_it_is_held", two_instances),
    ("services_of_others_are_not_touched", foreign_services),
    ("where_another_program_makes_the_services_they_are_left_to_it", services_of_keepalived),
    ("what_others_change_is_mended", mended),
];

const SECOND: &str = "10.0.0.101";

fn two_instances() {
    let world = World::new();
    let second = format!("{SECOND}:{PORT}").parse().unwrap();
    let servers = vec![round_robin(vip()), round_robin(second)];
    let handles =
        world.nodes.each_ref().map(|node| node.start(servers.clone(), &world.real_servers()));
    world.nodes[0].take(&handles[0], VIP);
    world.nodes[1].take(&handles[1], SECOND);
    let heads = || {
        world.nodes.each_ref().map(|node| {
            let head = |line: &String| line.starts_with("TCP");
            node.ipvsadm().into_iter().filter(head).collect::<Vec<_>>().join(",")
        })
    };
    assert_eq!(heads(), ["TCP 10.0.0.100:6443 rr", "TCP 10.0.0.101:6443 rr", ""]);
    let even = [("node11", 2), ("node12", 2), ("node13", 2)];
    assert_eq!(count(&world.client.servers(6, vip())), even);
    assert_eq!(count(&world.client.servers(6, second)), even);
    // Both on one node, and then none.
    world.nodes[1].give_up(&handles[1], SECOND);
    world.nodes[0].take(&handles[0], SECOND);
    world.client.forget_neighbours();
    assert_eq!(count(&world.client.servers(6, second)), even);
    wait_for("the second node to wind up", || (heads()[1].is_empty()).then_some(()));
    assert_eq!(heads()[0], "TCP 10.0.0.100:6443 rr,TCP 10.0.0.101:6443 rr");
}

fn foreign_services() {
    let world = World::new();
    let node = &world.nodes[0];
    // kube-proxy's, somebody's at another port of the virtual address, by UDP, and by mark.
    for service in ["-t 10.96.0.1:443", "-t 10.0.0.100:9443", "-u 10.0.0.100:6443", "-f 7"] {
        let mut words = vec!["-A"];
        words.extend(service.split(' '));
        words.extend(["-s", "wrr"]);
        node.run("ipvsadm", &words);
    }
    node.run("ipvsadm", &["-a", "-t", "10.96.0.1:443", "-r", "10.0.0.11:6443", "-m"]);
    let foreign = node.ipvsadm();
    assert_eq!(foreign.len(), 5);
    let handle = node.start(vec![source_hashing()], &world.real_servers());
    node.take(&handle, VIP);
    assert_eq!(node.ipvsadm().len(), foreign.len() + 4);
    node.give_up(&handle, VIP);
    wait_for("the services to go", || (node.ipvsadm() == foreign).then_some(()));
    drop(handle);
    assert_eq!(node.ipvsadm(), foreign);
}

/// As beside a keepalived, which has its own idea of the same services.
fn services_of_keepalived() {
    let world = World::new();
    let node = &world.nodes[0];
    let settings = Settings { services: false, ..node.settings(vec![round_robin(vip())]) };
    let handle = node.namespace.run(|| Handle::start(settings).unwrap()).unwrap();
    handle.set_usable(world.real_servers());
    node.take(&handle, VIP);
    assert!(node.ipvsadm().is_empty());
    node.run("ipvsadm", &["-A", "-t", "10.0.0.100:6443", "-s", "lc"]);
    node.give_up(&handle, VIP);
    thread::sleep(Duration::from_millis(1500));
    assert!(node.run("ip", &["address"]).contains("10.0.0.100/32"));
    assert_eq!(node.parameter("net/ipv4/conf/eth0/arp_ignore"), "1");
    drop(handle);
    assert_eq!(node.ipvsadm(), ["TCP 10.0.0.100:6443 lc"]);
    assert!(!node.run("ip", &["address"]).contains("10.0.0.100/32"));
}

fn mended() {
    let world = World::new();
    let [holder, other, _] = &world.nodes;
    let handle = holder.start(vec![source_hashing()], &world.real_servers());
    let idle = other.start(vec![source_hashing()], &world.real_servers());
    holder.take(&handle, VIP);
    let right = holder.ipvsadm();
    assert_eq!(right.len(), 4);
    for change in [
        "-C",
        "-E -t 10.0.0.100:6443 -s rr",
        "-d -t 10.0.0.100:6443 -r 10.0.0.12:6443",
        "-e -t 10.0.0.100:6443 -r 10.0.0.11:6443 -m -w 5",
        "-a -t 10.0.0.100:6443 -r 10.0.0.66:6443 -g",
    ] {
        holder.run("ipvsadm", &change.split(' ').collect::<Vec<_>>());
        wait_for(change, || (holder.ipvsadm() == right).then_some(()));
    }
    // Where the address is not held there must be no service, or packets go in a circle.
    other.run("ipvsadm", &["-A", "-t", "10.0.0.100:6443", "-s", "rr"]);
    wait_for("the service to go", || other.ipvsadm().is_empty().then_some(()));
    other.run("ip", &["link", "del", "dummyvip0"]);
    other.set_parameter("net/ipv4/conf/eth0/arp_ignore", "0");
    wait_for("the link to come back", || {
        other.run("ip", &["address"]).contains("10.0.0.100/32").then_some(())
    });
    wait_for("the parameter to be set again", || {
        (other.parameter("net/ipv4/conf/eth0/arp_ignore") == "1").then_some(())
    });
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(idle.overview().error, None);
    assert_eq!(handle.overview().error, None);
}
