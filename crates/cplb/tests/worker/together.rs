//! The virtual IP and node-local load balancing at the same time, all nodes by one file: controllers, a
//! controller that is a worker as well, and workers. Clients ask on every path without a pause.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use lab::client::{self, Client};

use crate::cluster::{CPLB, Cluster, Families, LONG, text};
use crate::doctor;
use crate::losses::{IN_FLIGHT, figures};

/// What every node reads; `VIPS` are the virtual IPs.
const DOCUMENT: &str = "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        vrrpInstances:
        - virtualIPs: [VIPS]
          authPass: together
    nodeLocalLoadBalancing:
      enabled: true
      type: Builtin
";

/// The controller that is a worker as well, and the first to hold the virtual IP.
const COMBINED: usize = 0;
/// Until another node answers for the virtual IP: three advertisements and the skew after the last
/// one, the announcement, and what a busy machine adds.
const FAIL_OVER: Duration = Duration::from_secs(5);
/// From one request to the next, on each path.
const INTERVAL: Duration = Duration::from_millis(25);

/// A client, and where it is.
struct Path {
    name: String,
    client: Client,
}

#[test]
fn the_loss_of_the_holder_fails_no_connect_on_loopback() {
    with_stand_ins(Families::Ipv4);
}

#[test]
fn the_loss_of_the_holder_fails_no_connect_on_either_loopback() {
    with_stand_ins(Families::Both);
}

fn with_stand_ins(families: Families) {
    let mut cluster = build(families);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    for worker in 0..2 {
        cluster.start_worker(worker);
    }
    the_holder_is_lost(&mut cluster, families);
}

/// A cluster in which nothing runs, with a virtual IP of each family.
pub(crate) fn build(families: Families) -> Cluster {
    let virtual_ips = match families {
        Families::Ipv4 => "\"10.0.0.100/24\"",
        Families::Ipv6 => "\"fd00::100/64\"",
        Families::Both => "\"10.0.0.100/24\", \"fd00::100/64\"",
    };
    Cluster::of_document(families, &DOCUMENT.replace("VIPS", virtual_ips))
}

/// Told of a cluster whose apiservers and workers run.
pub(crate) fn the_holder_is_lost(cluster: &mut Cluster, families: Families) {
    let combined = cluster.make_worker(COMBINED);
    start(cluster, combined);
    assert_eq!(listeners(cluster, combined), PORTS);
    assert_both_are_shown(cluster);
    assert_the_doctor_knows_both(cluster, combined);

    let virtual_ips: Vec<IpAddr> =
        cluster.world.plan().virtual_addresses.iter().map(|it| it.address).collect();
    let doors: &[&str] = match families {
        Families::Ipv4 => &["127.0.0.1:7443"],
        _ => &["127.0.0.1:7443", "[::1]:7443"],
    };
    let loopback: Vec<Path> = [0, 1, combined]
        .into_iter()
        .flat_map(|worker| doors.iter().map(move |door| (worker, door.parse().unwrap())))
        .map(|(worker, door)| Path::by_loopback(cluster, worker, door))
        .collect();
    let by_vip: Vec<Path> =
        virtual_ips.iter().flat_map(|vip| Path::by_virtual_ip(cluster, *vip)).collect();

    // The daemon and its apiserver die in the same instant; the worker beside them does not.
    let begin = cluster.now();
    let node = cluster.world.node_mut(COMBINED);
    node.controller.kill().unwrap();
    node.apiserver.kill().unwrap();
    cluster.tell("the holder's daemon and its apiserver killed");
    for vip in &virtual_ips {
        cluster.eventually(&format!("another node alone holds {vip}"), |cluster| {
            matches!(cluster.world.holders(*vip).unwrap().as_slice(), [one] if *one != COMBINED)
        });
    }
    let lost = pass_until(cluster, begin, FAIL_OVER + Duration::from_secs(2));
    for path in &loopback {
        path.assert_no_connect_failed(cluster, &lost);
    }
    for path in &by_vip {
        let during = figures(cluster, &path.client, lost.clone());
        assert!(during.failed_connects > 0, "{}: it went on elsewhere: {during:?}", path.name);
        path.assert_nothing_failed(cluster, begin + FAIL_OVER..lost.end);
    }

    // It comes back, and finds what it left beside a worker that serves.
    let holder = cluster.world.holders(virtual_ips[0]).unwrap();
    let begin = cluster.now();
    let node = cluster.world.node_mut(COMBINED);
    node.apiserver.start().unwrap();
    node.controller.start().unwrap();
    await_ready(cluster, COMBINED);
    let back = pass_until(cluster, begin, Duration::from_secs(3));
    for path in loopback.iter().chain(&by_vip) {
        path.assert_nothing_failed(cluster, back.clone());
    }
    assert_eq!(cluster.world.holders(virtual_ips[0]).unwrap(), holder, "equals do not preempt");

    // A planned stop of whoever holds now costs neither path a connect.
    let begin = cluster.now();
    cluster.world.node_mut(holder[0]).controller.stop().unwrap();
    assert!(cluster.world.node_mut(holder[0]).controller.wait(LONG));
    cluster.tell("the holder's daemon stopped");
    let stopped = pass_until(cluster, begin, Duration::from_secs(2));
    for path in &loopback {
        path.assert_no_connect_failed(cluster, &stopped);
    }
    for path in &by_vip {
        path.assert_handed_over(cluster, &stopped);
    }
}

/// The controllers, the combined node's first: equals do not preempt, so it holds; and its worker.
fn start(cluster: &mut Cluster, combined: usize) {
    for node in 0..3 {
        cluster.world.node_mut(node).controller.start().unwrap();
        if node == COMBINED {
            let vips: Vec<IpAddr> =
                cluster.world.plan().virtual_addresses.iter().map(|it| it.address).collect();
            cluster.eventually("the first controller holds", |cluster| {
                vips.iter().all(|vip| cluster.world.holders(*vip).unwrap() == [COMBINED])
            });
        }
    }
    cluster.start_worker(combined);
    for worker in 0..cluster.workers.len() {
        cluster.await_learned(worker, &[0, 1, 2]);
        cluster.await_served_by(worker, &[0, 1, 2]);
    }
    for node in 0..3 {
        await_ready(cluster, node);
    }
}

/// Waits until a controller is ready and finds all three apiservers healthy.
fn await_ready(cluster: &Cluster, node: usize) {
    let run_dir = cluster.world.node(node).run_dir.display().to_string();
    cluster.eventually(&format!("controller-{} is ready", node + 1), |_| {
        let status = status(&["-o", "json", "--run-dir", &run_dir]);
        let Ok(status) = serde_json::from_str::<serde_json::Value>(&status) else { return false };
        let apiservers = status["load_balancer"]["apiservers"].as_array().unwrap();
        let healthy = apiservers.iter().filter(|it| it["health"] == "healthy");
        status["ready"] == true && healthy.count() == 3
    });
}

/// A node of both kinds shows both daemons.
fn assert_both_are_shown(cluster: &Cluster) {
    let run_dir = cluster.world.node(COMBINED).run_dir.display().to_string();
    let shown = status(&["--run-dir", &run_dir]);
    let subnet = cluster.world.plan().virtual_addresses[0];
    assert!(shown.contains(&format!("{subnet} is HERE")), "{shown}");
    assert!(shown.contains("Load balancer on [::]:6444"), "{shown}");
    assert!(shown.contains("Apiservers at 127.0.0.1:7443, [::1]:7443"), "{shown}");
}

fn status(options: &[&str]) -> String {
    let output = Command::new(CPLB).arg("status").args(options).output().unwrap();
    text(&output.stdout)
}

/// Neither does the doctor take one of them for the other.
fn assert_the_doctor_knows_both(cluster: &Cluster, combined: usize) {
    let run_dir = cluster.world.node(COMBINED).run_dir.display().to_string();
    let seen = doctor::seen(cluster, combined, &run_dir);
    for check in ["daemon", "worker"] {
        let found = doctor::of_check(&seen, check);
        assert!(matches!(found[..], [["ok", _]]), "{seen:#?}");
    }
    let ports = doctor::of_check(&seen, "ports");
    assert_eq!(ports[0], ["ok", "the load balancer listens on port 6444"]);
}

/// The apiserver, the proxy of the virtual IP, and the doors of the worker.
const PORTS: [u16; 4] = [6443, 6444, 7132, 7443];

/// The TCP ports on which somebody listens there, by the kernel's word.
fn listeners(cluster: &Cluster, worker: usize) -> Vec<u16> {
    let output = cluster.on(worker, &["ss", "--tcp", "--listening", "--numeric", "--no-header"]);
    let text = text(&output.stdout);
    let local = text.lines().filter_map(|line| line.split_whitespace().nth(3));
    let mut ports: Vec<u16> =
        local.map(|it| it.rsplit_once(':').unwrap().1.parse().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn pass_until(cluster: &Cluster, begin: Duration, time: Duration) -> Range<Duration> {
    std::thread::sleep((begin + time).saturating_sub(cluster.now()));
    begin..cluster.now()
}

impl Path {
    fn by_loopback(cluster: &Cluster, worker: usize, door: SocketAddr) -> Self {
        let place = &cluster.host(worker).name;
        Self::start(cluster, format!("{place} by {door}"), &cluster.host(worker).namespace, door)
    }

    /// From a host of no role, and from a worker.
    fn by_virtual_ip(cluster: &Cluster, virtual_ip: IpAddr) -> [Self; 2] {
        let address = SocketAddr::new(virtual_ip, cluster.world.plan().api_port);
        [cluster.world.client(), cluster.host(0)].map(|host| {
            let name = format!("{} by {address}", host.name);
            Self::start(cluster, name, &host.namespace, address)
        })
    }

    fn start(
        cluster: &Cluster,
        name: String,
        namespace: &kernel::netns::Namespace,
        address: SocketAddr,
    ) -> Self {
        let options = cluster.world.client_options(INTERVAL);
        let options = client::Options { address, ..options };
        let client = cluster.start_client(namespace, options);
        Self { name, client }
    }

    fn assert_no_connect_failed(&self, cluster: &Cluster, window: &Range<Duration>) {
        let met = figures(cluster, &self.client, window.clone());
        assert!(met.answered > 0, "{}: {met:?}", self.name);
        assert_eq!((met.failed_connects, met.failed_handshakes), (0, 0), "{}: {met:?}", self.name);
        assert!(met.failures.values().sum::<u64>() <= IN_FLIGHT, "{}: {met:?}", self.name);
    }

    /// The heir resets a handshake that reaches it halfway.
    fn assert_handed_over(&self, cluster: &Cluster, window: &Range<Duration>) {
        let met = figures(cluster, &self.client, window.clone());
        assert!(met.answered > 0, "{}: {met:?}", self.name);
        assert_eq!(met.failed_connects, 0, "{}: {met:?}", self.name);
        assert!(met.failures.values().sum::<u64>() <= IN_FLIGHT, "{}: {met:?}", self.name);
    }

    fn assert_nothing_failed(&self, cluster: &Cluster, window: Range<Duration>) {
        let met = figures(cluster, &self.client, window);
        assert!(met.answered > 0, "{}: {met:?}", self.name);
        assert!(met.failures.is_empty(), "{}: {met:?}", self.name);
    }
}
