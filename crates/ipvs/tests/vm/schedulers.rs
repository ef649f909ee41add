//! Services as they are set up, by the word of ipvsadm(8), and what the schedulers do.

use std::time::Duration;

use ipvs::{Error, Forwarding, Scheduler, Settings, VirtualServer};
use kernel::ipvs::{Change, Ipvs, Service};

use crate::Test;
use crate::node::{hold, round_robin, source_hashing};
use crate::world::{VIP, World, count, vip, vip6, wait_for};

pub(crate) const TESTS: &[Test] = &[
    ("every_scheduler_forwarding_and_persistence_reads_back", reads_back),
    ("round_robin_is_even", round_robin_is_even),
    ("a_persistent_client_stays", a_persistent_client_stays),
    ("source_hashing_keeps_a_client", source_hashing_keeps_a_client),
    ("a_failed_server_drains_and_comes_back", a_failed_server_drains),
    ("what_the_kernel_refuses_changes_nothing", refusals),
];

fn reads_back() {
    let world = World::new();
    let node = &world.nodes[0];
    let all = world.all_real_servers();
    let handle = node.start(vec![round_robin(vip())], &all);
    hold(&handle, &[vip().ip(), vip6().ip()]);
    let expected = [
        "rr",
        "wrr",
        "lc",
        "wlc",
        "lblc",
        "dh",
        "sh (sh-fallback)",
        "sed",
        "nq",
        "mh (mh-fallback)",
    ];
    for (listed, scheduler) in expected.into_iter().zip(Scheduler::ALL) {
        let persistence = Some(Duration::from_secs(360));
        let v4 = VirtualServer { scheduler, persistence, ..round_robin(vip()) };
        let v6 = VirtualServer { address: vip6(), persistence: None, ..v4.clone() };
        handle.apply(node.settings(vec![v4, v6])).unwrap();
        let services: Vec<String> =
            node.ipvsadm().into_iter().filter(|line| line.starts_with("TCP")).collect();
        let v4 = format!("TCP 10.0.0.100:6443 {listed} persistent 360");
        assert_eq!(services, [v4, format!("TCP [fd00::100]:6443 {listed}")]);
    }
    for (forwarding, listed) in
        [(Forwarding::DirectRouting, "Route"), (Forwarding::Tunnel, "Tunnel")]
    {
        let server = VirtualServer { forwarding, ..round_robin(vip()) };
        handle.apply(node.settings(vec![server])).unwrap();
        let expected = [
            "TCP 10.0.0.100:6443 rr".to_owned(),
            format!("-> 10.0.0.11:6443 {listed} 1"),
            format!("-> 10.0.0.12:6443 {listed} 1"),
            format!("-> 10.0.0.13:6443 {listed} 1"),
        ];
        assert_eq!(node.ipvsadm(), expected);
    }
    // The listing of all services is that of the single ones.
    let listed = node.namespace.run(|| Ipvs::open().unwrap().services().unwrap()).unwrap();
    let installed = handle.services().unwrap();
    assert_eq!(listed, [installed[0].service.clone()]);
    assert_eq!(installed[0].real_servers.len(), 3);
    drop(handle);
    assert!(node.ipvsadm().is_empty());
}

fn round_robin_is_even() {
    let world = World::new();
    let handles = world.start(&round_robin(vip()));
    world.nodes[0].take(&handles[0], VIP);
    let servers = world.client.servers(9, vip());
    assert_eq!(count(&servers), [("node11", 3), ("node12", 3), ("node13", 3)]);
}

fn a_persistent_client_stays() {
    let world = World::new();
    let persistent =
        VirtualServer { persistence: Some(Duration::from_secs(60)), ..round_robin(vip()) };
    let handles = world.start(&persistent);
    world.nodes[0].take(&handles[0], VIP);
    let servers = world.client.servers(4, vip());
    assert_eq!(count(&servers).len(), 1, "{servers:?}");
    assert_eq!(count(&world.client.servers_by_source(vip())).len(), 3);
    // The server that it stays with fails: its persistence is not in the way.
    let well: Vec<_> = world
        .nodes
        .iter()
        .filter(|node| node.name != servers[0])
        .map(|node| node.real_servers()[0])
        .collect();
    handles[0].set_usable(well);
    wait_for("the client to be moved", || {
        world.client.connect(vip()).ok().filter(|it| it.server != servers[0])
    });
}

fn source_hashing_keeps_a_client() {
    let world = World::new();
    let handles = world.start(&source_hashing());
    world.nodes[0].take(&handles[0], VIP);
    let first = world.client.servers_by_source(vip());
    assert_eq!(count(&first).len(), 3, "{first:?}");
    assert_eq!(world.client.servers_by_source(vip()), first);
    // The clients of a failed server, which has weight 0 at first, get another one.
    let node = &world.nodes[0];
    let drain = Duration::from_secs(60);
    handles[0].apply(Settings { drain, ..node.settings(vec![source_hashing()]) }).unwrap();
    handles[0].set_usable(vec![world.real_servers()[0], world.real_servers()[2]]);
    wait_for("weight 0", || {
        node.ipvsadm().contains(&"-> 10.0.0.12:6443 Route 0".to_owned()).then_some(())
    });
    let fallen_back = world.client.servers_by_source(vip());
    assert_eq!(count(&fallen_back).len(), 2, "{fallen_back:?}");
    for (before, after) in first.iter().zip(&fallen_back) {
        assert!(before == after || before == "node12", "{before} became {after}");
    }
}

fn a_failed_server_drains() {
    let world = World::new();
    let handles = world.start(&round_robin(vip()));
    let node = &world.nodes[0];
    node.take(&handles[0], VIP);
    let mut open: Vec<_> = (0..3).map(|_| world.client.connect(vip()).unwrap()).collect();
    handles[0].set_usable(world.real_servers()[..2].to_vec());
    wait_for("weight 0", || {
        node.ipvsadm().contains(&"-> 10.0.0.13:6443 Route 0".to_owned()).then_some(())
    });
    assert_eq!(count(&world.client.servers(4, vip())), [("node11", 2), ("node12", 2)]);
    open.iter_mut().for_each(|it| it.echo().unwrap());
    wait_for("its removal", || (node.ipvsadm().len() == 3).then_some(()));
    // Whoever is still connected to it is told at once instead of waiting.
    for connection in &mut open {
        let outcome = connection.echo();
        assert_eq!(outcome.is_err(), connection.server == "node13", "{outcome:?}");
    }
    handles[0].set_usable(world.real_servers());
    wait_for("its return", || {
        node.ipvsadm().contains(&"-> 10.0.0.13:6443 Route 1".to_owned()).then_some(())
    });
    assert_eq!(count(&world.client.servers(6, vip())).len(), 3);
}

fn refusals() {
    let world = World::new();
    let node = &world.nodes[0];
    let handle = node.start(vec![round_robin(vip())], &world.real_servers());
    hold(&handle, &[vip().ip()]);
    let before = node.ipvsadm();
    assert_eq!(before.len(), 4);
    let nat = VirtualServer { forwarding: Forwarding::Masquerading, ..round_robin(vip()) };
    let error = handle.apply(node.settings(vec![nat])).unwrap_err();
    assert!(matches!(error, Error::NotForwarding { .. }), "{error:?}");
    assert!(error.to_string().contains("set net.ipv4.ip_forward=1"), "{error}");
    let twice = vec![round_robin(vip()), source_hashing()];
    let error = handle.apply(node.settings(twice)).unwrap_err();
    assert!(matches!(error, Error::Twice { .. }), "{error:?}");
    assert_eq!(node.ipvsadm(), before);

    // An interface in the way of the link.
    let other = &world.nodes[1];
    other.run("ip", &["link", "add", "dummyvip0", "type", "bridge"]);
    let settings = other.settings(vec![round_robin(vip())]);
    let error = other.namespace.run(|| ipvs::Handle::start(settings).unwrap_err()).unwrap();
    assert!(matches!(error, Error::Link(_)), "{error:?}");
    assert!(!other.state_file().exists());
    assert_eq!(other.parameter("net/ipv4/conf/eth0/arp_ignore"), "0");

    // The kernel's own refusal of a scheduler.
    let service =
        Service { address: vip(), scheduler: "nosuch".into(), flags: 0, persistence: None };
    let add = || {
        let mut ipvs = Ipvs::open().unwrap();
        ipvs.change(&[Change::AddService(service)]).unwrap_err()
    };
    let error = other.namespace.run(add).unwrap();
    assert!(matches!(error, kernel::ipvs::Error::NoScheduler { .. }), "{error:?}");
}
