//! Ports beside the apiserver's that are balanced as well. In network namespaces, as stories; needs
//! root and openssl.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{CPLB, Cluster, certificates, on, try_on};
use kernel::address::VirtualAddress;
use lab::world::{Host, Plan};
use rustix::process::Signal;
use serde_json::Value;

const BOTH: &str = "[{port: 9443}, {port: 8132, healthCheck: {type: tcp}}]";
const JOIN_ALONE: &str = "[{port: 9443}]";

fn document(virtual_ips: &str, extra_ports: &str) -> String {
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - {{virtualIPs: [{virtual_ips}], authPass: BuyK0s}}
      loadBalancer:
        extraPorts: {extra_ports}
"
    )
}

/// Three nodes with virtual IPs of both families, everything but the servers at the extra ports.
fn start(extra_ports: &str) -> Cluster {
    let virtual_ips = ["10.0.0.100/24", "fd00::100/64"];
    let addresses = virtual_ips.map(|it| it.parse::<VirtualAddress>().unwrap());
    let document = document("10.0.0.100/24, \"fd00::100/64\"", extra_ports);
    let plan = Plan::new(CPLB.as_ref(), &document, &addresses, 3).unwrap();
    let mut cluster = Cluster::build(plan);
    cluster.world.start_all().unwrap();
    cluster.settle();
    cluster
}

/// A server on a node that speaks TLS as `join-1` and so on, until dropped.
struct JoinServer(Child);

impl JoinServer {
    fn start(cluster: &Cluster, node: usize) -> Self {
        let file = |what: &str| cluster.world.directory().join(format!("join-{node}.{what}"));
        let (key, certificate) = (file("key"), file("crt"));
        let subject = format!("/CN=join-{}", node + 1);
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", &subject])
            .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), certificate.as_os_str()])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let host = cluster.world.node(node).host();
        let server = host.command("openssl").args(["s_server", "-quiet", "-accept", "9443"]);
        let server = server
            .args(["-key".as_ref(), key.as_os_str(), "-cert".as_ref(), certificate.as_os_str()])
            .spawn();
        Self(server.unwrap())
    }
}

impl Drop for JoinServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a node that says its name to whoever connects, until dropped.
struct Greeter {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Greeter {
    fn start(cluster: &Cluster, node: usize) -> Self {
        let namespace = &cluster.world.node(node).host().namespace;
        let listen = || TcpListener::bind("[::]:8132").unwrap();
        let listener = namespace.run(listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !end.load(Relaxed) {
                match listener.accept() {
                    // Who only checks has gone already.
                    Ok((mut stream, _)) => drop(write!(stream, "server-{}", node + 1)),
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        self.ended.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Who greets a host at an address, and how often of so many times.
fn greetings(host: &Host, address: &str, times: usize) -> BTreeMap<String, usize> {
    let address: SocketAddr = address.parse().unwrap();
    let greeting = || {
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(5));
        let Ok(mut stream) = connected else { return "refused".to_owned() };
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut text = String::new();
        match stream.read_to_string(&mut text) {
            Ok(_) => text,
            Err(error) => error.to_string(),
        }
    };
    let mut greetings = BTreeMap::new();
    for _ in 0..times {
        *greetings.entry(host.namespace.run(greeting).unwrap()).or_default() += 1;
    }
    greetings
}

/// Each of these so many times.
fn times(times: usize, names: &[&str]) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), times)).collect()
}

/// What a node says of a port.
fn port_at(cluster: &Cluster, node: usize, port: u16) -> Option<Value> {
    let status = cluster.status_of(node)?;
    let ports = status["load_balancer"]["extra_ports"].as_array()?.clone();
    ports.into_iter().find(|it| it["port"] == port)
}

/// The health of the three servers at a port, as a node sees it.
fn health_at(cluster: &Cluster, node: usize, port: u16) -> Vec<String> {
    let found = port_at(cluster, node, port).unwrap_or_default();
    let servers = found["apiservers"].as_array().cloned().unwrap_or_default();
    servers.iter().map(|it| it["health"].as_str().unwrap().to_owned()).collect()
}

fn reload(cluster: &mut Cluster, node: usize, document: &str) -> String {
    fs::write(cluster.world.directory().join("config.yaml"), document).unwrap();
    let before = cluster.log_of(node).len();
    cluster.world.node_mut(node).controller.send(Signal::HUP).unwrap();
    let logged = |cluster: &Cluster| cluster.log_of(node)[before..].to_owned();
    cluster.eventually("the reload has ended", |cluster| {
        let logged = logged(cluster);
        logged.contains("configuration applied") || logged.contains("SIGHUP: ")
    });
    logged(cluster)
}

const HEALTHY: [&str; 3] = ["healthy"; 3];

#[test]
fn each_port_has_its_own_servers_health_and_turns() {
    let cluster = start(BOTH);
    let mut join: Vec<JoinServer> = (0..3).map(|node| JoinServer::start(&cluster, node)).collect();
    let mut greeters: Vec<Greeter> = (0..3).map(|node| Greeter::start(&cluster, node)).collect();
    cluster.eventually("all servers are healthy everywhere", |cluster| {
        (0..3).all(|node| [9443, 8132].iter().all(|it| health_at(cluster, node, *it) == HEALTHY))
    });
    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let world = &cluster.world;
    for host in [world.client(), world.node(holder).host(), world.node(other).host()] {
        for virtual_ip in ["10.0.0.100", "[fd00::100]"] {
            let all = times(2, &["join-1", "join-2", "join-3"]);
            assert_eq!(certificates(host, &format!("{virtual_ip}:9443"), 6), all, "{virtual_ip}");
            let all = times(2, &["server-1", "server-2", "server-3"]);
            assert_eq!(greetings(host, &format!("{virtual_ip}:8132"), 6), all, "{virtual_ip}");
        }
    }
    let text = cluster.status_text_of(holder);
    assert!(
        text.contains("Port 9443 on [::]:19443: ") && text.contains("checked by tls"),
        "{text}"
    );
    let redirects = "  redirects 10.0.0.100:8132 to 18132\n  redirects fd00::100:8132 to 18132\n";
    assert!(
        text.contains(redirects) || text.contains(&redirects.replace("fd00::100", "[fd00::100]")),
        "{text}"
    );

    // What happens at one port is nothing to the others, and nothing to the virtual IP.
    let begin = cluster.now();
    join.remove(holder);
    cluster.eventually("the holder's own join server is out", |cluster| {
        health_at(cluster, holder, 9443)[holder] == "unhealthy"
    });
    let left: Vec<String> =
        (0..3).filter(|it| *it != holder).map(|it| format!("join-{}", it + 1)).collect();
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    let client = cluster.world.client();
    assert_eq!(certificates(client, "10.0.0.100:9443", 6), times(3, &left));
    assert_eq!(health_at(&cluster, holder, 8132), HEALTHY);
    join.clear();
    greeters.clear();
    cluster.eventually("nobody is left at either port", |cluster| {
        [9443, 8132].iter().all(|port| health_at(cluster, holder, *port) == ["unhealthy"; 3])
    });
    cluster.pass(Duration::from_secs(3));
    let status = cluster.status_of(holder).unwrap();
    assert_eq!(status["ready"], true, "the apiservers alone make a node ready");
    assert_eq!(cluster.moves_since(begin), 0);
    println!("{}", cluster.status_text_of(holder));
}

#[test]
fn a_reload_adds_and_removes_a_port_and_leaves_the_rest_alone() {
    let mut cluster = start(JOIN_ALONE);
    let _join: Vec<JoinServer> = (0..3).map(|node| JoinServer::start(&cluster, node)).collect();
    let _greeters: Vec<Greeter> = (0..3).map(|node| Greeter::start(&cluster, node)).collect();
    let holder = cluster.holder();
    cluster.eventually("the join servers are healthy", |cluster| {
        health_at(cluster, holder, 9443) == HEALTHY
    });
    let own = format!("server-{}", holder + 1);
    let client = |cluster: &Cluster| greetings(cluster.world.client(), "10.0.0.100:8132", 6);
    assert_eq!(client(&cluster), times(6, &[&own]), "what is not balanced is the holder's own");
    let all = times(2, &["join-1", "join-2", "join-3"]);
    assert_eq!(certificates(cluster.world.client(), "10.0.0.100:9443", 6), all);
    let begin = cluster.now();

    let virtual_ips = "10.0.0.100/24, \"fd00::100/64\"";
    for _ in 0..2 {
        let log = reload(&mut cluster, holder, &document(virtual_ips, BOTH));
        assert!(log.contains("added=[] updated=[] removed=[]"), "{log}");
        cluster.eventually("the added port is served by all", |cluster| {
            health_at(cluster, holder, 8132) == HEALTHY
        });
        assert_eq!(client(&cluster), times(2, &["server-1", "server-2", "server-3"]));

        let log = reload(&mut cluster, holder, &document(virtual_ips, JOIN_ALONE));
        assert!(log.contains("configuration applied"), "{log}");
        assert_eq!(client(&cluster), times(6, &[&own]));
        let host = cluster.world.node(holder).host();
        assert_eq!(greetings(host, "127.0.0.1:18132", 1), times(1, &["refused"]));
    }
    // Another check and another door are a change of that port alone.
    let moved = "[{port: 9443, listenPort: 9553, healthCheck: {type: tcp}}]";
    let log = reload(&mut cluster, holder, &document(virtual_ips, moved));
    assert!(log.contains("configuration applied"), "{log}");
    assert_eq!(certificates(cluster.world.client(), "10.0.0.100:9443", 6), all);
    let rules = on(cluster.world.node(holder).host(), "nft list ruleset");
    assert!(rules.contains(":9553") && !rules.contains(":19443"), "{rules}");

    // What all ports have in common may change as well.
    let client = "10.0.0.50/32";
    let common = document(virtual_ips, moved) + &format!("        allowedSources: [{client}]\n");
    let log = reload(&mut cluster, holder, &common);
    assert!(log.contains("configuration applied"), "{log}");
    assert_eq!(
        certificates(cluster.world.client(), "10.0.0.100:9443", 3),
        times(1, &["join-1", "join-2", "join-3"])
    );
    let node = cluster.world.node((holder + 1) % 3).host();
    let door = format!("{}:9553", cluster.address(holder));
    let sent_away = try_on(node, &format!("openssl s_client -connect {door}"));
    assert!(!sent_away.status.success());
    assert_eq!(port_at(&cluster, holder, 9443).unwrap()["rejected_by_reason"]["foreign"], 1);
    let status = cluster.status_of(holder).unwrap();
    assert_eq!(status["load_balancer"]["rejected_by_reason"]["foreign"], 0);
    assert_eq!(cluster.moves_since(begin), 0);
    assert!(cluster.status_of(holder).unwrap()["ready"] == true);
}
