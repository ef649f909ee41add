//! What the kernels of the nodes and the client tell.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use kernel::netns;
use lab::world::{Host, Plan};
use serde_json::Value;

use crate::common::{Cluster, VIP, on, plan, text, try_on};

/// From one request of the client to the next: the machine is slow.
pub(crate) const PACE: Duration = Duration::from_millis(100);

/// How often something awaited is looked at: system calls cost a tenth of a millisecond here, and
/// programs a tenth of a second.
const GLANCE: Duration = Duration::from_millis(200);

/// No story waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(40);

/// Parameters that IPVS needs otherwise than the kernel has them.
const PARAMETERS: [&str; 4] = [
    "net/ipv4/conf/eth0/arp_ignore",
    "net/ipv4/conf/eth0/arp_announce",
    "net/ipv4/vs/expire_nodest_conn",
    "net/ipv4/vs/expire_quiescent_template",
];

/// More addresses of the client, each of which is a client to the persistence.
const SOURCES: [&str; 3] = ["10.0.0.61", "10.0.0.62", "10.0.0.63"];

/// The document of `virtualServers`, or without them.
pub(crate) fn document(virtual_servers: bool) -> String {
    let servers = match virtual_servers {
        true => "\n        virtualServers:\n        - ipAddress: 10.0.0.100",
        false => "",
    };
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      loadBalancer: {{drainTimeout: 4s, healthCheck: {{interval: 2s, timeout: 2s}}}}
      keepalived:
        vrrpInstances:
        - virtualIPs: [\"10.0.0.100/24\"]
          authPass: BuyK0s{servers}
"
    )
}

/// Three nodes that read the document.
pub(crate) fn plan_of(document: String) -> Plan {
    Plan { document, ..plan() }
}

/// Builds a cluster in which nothing runs yet.
pub(crate) fn build(plan: Plan) -> Cluster {
    let cluster = Cluster::build(plan);
    add_sources(cluster.world.client());
    cluster
}

/// Waits for something that takes its time in this machine.
pub(crate) fn eventually(cluster: &Cluster, what: &str, holds: impl Fn(&Cluster) -> bool) {
    let begin = cluster.now();
    while !holds(cluster) {
        assert!(cluster.now() < begin + PATIENCE, "not within {PATIENCE:?}: {what}");
        thread::sleep(GLANCE);
    }
    let took = cluster.now() - begin;
    cluster.tell(&format!("{what} (after {took:.1?})"));
}

/// Waits until every node is ready and knows of all apiservers, and one holds the virtual IP. Asks
/// the admin sockets, since starting a program takes long here.
pub(crate) fn settle(cluster: &Cluster) {
    let is_well = |run_dir: &Path| {
        let Some(status) = status(run_dir) else { return false };
        let apiservers = status["load_balancer"]["apiservers"].as_array().unwrap();
        let healthy = apiservers.iter().filter(|one| one["health"] == "healthy");
        status["ready"] == true && healthy.count() == 3
    };
    eventually(cluster, "all is well", |cluster| {
        // Without asking the kernels again.
        cluster.holdings().now().len() == 1
            && cluster.world.nodes().iter().all(|node| is_well(&node.run_dir))
    });
}

/// What the daemon that has this run directory says.
pub(crate) fn status(run_dir: &Path) -> Option<Value> {
    let mut socket = UnixStream::connect(run_dir.join("admin.sock")).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /status HTTP/1.1\r\nhost: cplb\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// Gives the client its further addresses.
fn add_sources(client: &Host) {
    let add = |source: &str| netns::add_address("eth0", &format!("{source}/24").parse().unwrap());
    client.namespace.run(|| SOURCES.into_iter().for_each(|it| add(it).unwrap())).unwrap();
}

/// What the holder's kernel balances, as [`services`] shows it.
pub(crate) fn all_services() -> Vec<String> {
    let service = "TCP 10.0.0.100:6443 rr persistent 360".to_owned();
    let servers = (11..=13).map(|last| format!("-> 10.0.0.{last}:6443 Route 1"));
    [service].into_iter().chain(servers).collect()
}

/// The services by the word of ipvsadm(8), a line each, without the numbers of connections; the
/// real servers of one service by their addresses.
pub(crate) fn services(host: &Host) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let words = if words[0] == "->" { &words[..words.len() - 2] } else { &words };
        words.join(" ")
    };
    let mut services: Vec<String> = on(host, "ipvsadm -Ln").lines().skip(3).map(line).collect();
    if let Some((_, servers)) = services.split_first_mut() {
        servers.sort();
    }
    services
}

/// The IPv4 addresses of an interface, with their prefix lengths; none where there is no interface.
pub(crate) fn addresses(host: &Host, interface: &str) -> Vec<String> {
    addresses_in(&on(host, "ip -o -4 address"), interface)
}

fn addresses_in(listing: &str, interface: &str) -> Vec<String> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[1] == interface).then(|| words[3].to_owned())
    };
    listing.lines().filter_map(of_line).collect()
}

/// Every node carries the virtual IP by itself, one holds it, and that one alone balances.
pub(crate) fn assert_one_director(cluster: &Cluster) {
    let holder = cluster.holder();
    // Before the cluster names its apiservers, loopback is the one that is known; it drains then.
    eventually(cluster, "the holder balances to the three apiservers", |cluster| {
        services(cluster.world.node(holder).host()) == all_services()
    });
    for node in 0..3 {
        let host = cluster.world.node(node).host();
        let listing = on(host, "ip -o -4 address");
        let on_the_link = addresses_in(&listing, "dummyvip0");
        assert_eq!(on_the_link, ["10.0.0.100/32"], "on {}", host.name);
        let held = addresses_in(&listing, "eth0").contains(&"10.0.0.100/24".to_owned());
        assert_eq!(held, node == holder, "on {}", host.name);
        let expected = if node == holder { all_services() } else { Vec::new() };
        assert_eq!(services(host), expected, "on {}", host.name);
    }
    cluster.tell("dummyvip0 on each; address and services on the holder alone");
}

/// As [`looks`], with the module loaded, so that its parameters are there.
pub(crate) fn looks_with_ipvs(host: &Host) -> BTreeMap<String, String> {
    on(host, "ipvsadm -Ln");
    looks(host)
}

/// Everything that the daemon changes on a node.
pub(crate) fn looks(host: &Host) -> BTreeMap<String, String> {
    let value = |name: &str| {
        let path = format!("/proc/sys/{name}");
        host.namespace.run(|| std::fs::read_to_string(path).unwrap_or_default()).unwrap()
    };
    let mut looks: BTreeMap<String, String> =
        PARAMETERS.iter().map(|name| ((*name).to_owned(), value(name))).collect();
    for command in ["ipvsadm -Sn", "ip -brief address", "iptables-legacy-save -t nat"] {
        let printed = on(host, command);
        // Counters and comments with times are none of the daemon's.
        let lines = printed.lines().filter(|line| !line.starts_with(['#', ':']));
        looks.insert(command.to_owned(), lines.collect::<Vec<_>>().join("\n"));
    }
    looks
}

/// Whose certificate is shown to a connection from this address of the client.
pub(crate) fn certificate_for(cluster: &Cluster, source: &str, target: &str) -> String {
    let command = format!("openssl s_client -bind {source}:0 -connect {target}");
    let output = try_on(cluster.world.client(), &command);
    let out = text(&output.stdout);
    let subject = out.lines().find_map(|line| line.strip_prefix("subject=CN = "));
    let Some(subject) = subject else {
        panic!("no certificate from {target} for {source}: {out}{}", text(&output.stderr));
    };
    subject.to_owned()
}

/// Connects from each of the client's further addresses; which certificates were shown.
pub(crate) fn certificates_for_all(cluster: &Cluster) -> Vec<String> {
    let target = format!("{VIP}:6443");
    SOURCES.into_iter().map(|source| certificate_for(cluster, source, &target)).collect()
}

/// The names on the certificates of all apiservers.
pub(crate) fn all_apiservers() -> BTreeSet<String> {
    (1..=3).map(|number| format!("kube-apiserver-{number}")).collect()
}

/// A client address stays with its apiserver, different ones reach all of them.
pub(crate) fn assert_balanced(cluster: &Cluster) {
    let first = certificates_for_all(cluster);
    assert_eq!(first.iter().cloned().collect::<BTreeSet<_>>(), all_apiservers(), "{first:?}");
    assert_eq!(certificates_for_all(cluster), first, "persistence");
    cluster.tell(&format!("client addresses, each with its apiserver: {first:?}"));
}
