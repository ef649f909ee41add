//! Who is let in and who serves, changed by SIGHUP as the controller runs: what is new holds for new
//! clients, and nobody is cut. In network namespaces, as stories; needs root.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use common::tls::{self, Tls};
use common::{CPLB, Cluster, LONG, VIP};
use lab::world::{Host, Plan};
use rustix::process::Signal;
use rustls::ClientConfig;
use serde_json::Value;

fn document(fields: &str) -> String {
    format!("{}      loadBalancer: {{{fields}}}\n", common::DOCUMENT)
}

fn start(fields: &str) -> Cluster {
    let virtual_ip = format!("{VIP}/24").parse().unwrap();
    let plan = Plan::new(CPLB.as_ref(), &document(fields), &[virtual_ip], 3).unwrap();
    let mut cluster = Cluster::build(plan);
    cluster.world.start_all().unwrap();
    cluster.settle();
    cluster
}

/// Lets a node read a document with other fields.
fn reload(cluster: &mut Cluster, node: usize, fields: &str) {
    fs::write(cluster.world.directory().join("config.yaml"), document(fields)).unwrap();
    let before = cluster.log_of(node).len();
    cluster.world.node_mut(node).controller.send(Signal::HUP).unwrap();
    let logged = |cluster: &Cluster| cluster.log_of(node)[before..].to_owned();
    cluster.eventually(&format!("loadBalancer: {{{fields}}} is read"), |cluster| {
        let logged = logged(cluster);
        assert!(!logged.contains("SIGHUP: "), "{logged}");
        logged.contains("configuration applied")
    });
}

fn load_balancer(cluster: &Cluster, node: usize) -> Value {
    cluster.status_of(node).unwrap()["load_balancer"].take()
}

/// How many connections each apiserver has, by its node.
fn open(cluster: &Cluster, at: usize) -> [u64; 3] {
    let balancer = load_balancer(cluster, at);
    let apiservers = balancer["apiservers"].as_array().unwrap();
    [0, 1, 2].map(|node| {
        let address = format!("{}:6443", cluster.address(node));
        let found = apiservers.iter().find(|it| it["address"] == address.as_str());
        found.map_or(0, |it| it["open"].as_u64().unwrap())
    })
}

fn rejected(cluster: &Cluster, node: usize, reason: &str) -> u64 {
    load_balancer(cluster, node)["rejected_by_reason"][reason].as_u64().unwrap()
}

/// A connection from a host that has been answered. From a node, it is one to the load balancer of
/// that node by its own address, as what a node sends to the virtual IP stays on it.
fn connect(cluster: &Cluster, host: &Host, at: usize) -> std::io::Result<Tls> {
    let config = tls::config(&cluster.world);
    let address = match host.name.as_str() {
        "client" => address(),
        _ => SocketAddr::new(cluster.address(at), 6444),
    };
    let connect = || {
        let mut tls = Tls::connect(&config, address)?;
        tls.ask()?;
        Ok(tls)
    };
    host.namespace.run(connect).unwrap()
}

fn address() -> SocketAddr {
    format!("{VIP}:6443").parse().unwrap()
}

#[track_caller]
fn assert_sent_away(cluster: &Cluster, host: &Host, at: usize) {
    let kind = connect(cluster, host, at).map(|_| ()).unwrap_err().kind();
    // Who writes first meets the latter.
    assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind:?}");
}

#[test]
fn limits_and_networks_hold_for_who_comes() {
    let mut cluster = start("drainTimeout: 2s");
    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    // Its watch tells who is cut.
    cluster.ask_every(Duration::from_secs(600));
    let mut early = connect(&cluster, cluster.world.client(), holder).unwrap();
    let mut early_at_node = connect(&cluster, cluster.world.node(other).host(), holder).unwrap();
    let begin = cluster.now();
    let started = cluster.status_of(holder).unwrap()["started"].clone();

    let nodes = "10.0.0.0/28";
    reload(&mut cluster, holder, &format!("drainTimeout: 2s, allowedSources: [{nodes}]"));
    assert_sent_away(&cluster, cluster.world.client(), holder);
    assert_eq!(rejected(&cluster, holder, "foreign"), 1);
    connect(&cluster, cluster.world.node(other).host(), holder).unwrap();
    early.ask().unwrap();

    reload(&mut cluster, holder, "drainTimeout: 2s, maxConnectionsPerSource: 2");
    let held = [0; 2].map(|_| connect(&cluster, cluster.world.client(), holder).unwrap());
    assert_sent_away(&cluster, cluster.world.client(), holder);
    assert_eq!(rejected(&cluster, holder, "per_source"), 1);
    connect(&cluster, cluster.world.node(other).host(), holder).unwrap();
    reload(&mut cluster, holder, "drainTimeout: 2s, maxConnectionsPerSource: 3");
    let third = connect(&cluster, cluster.world.client(), holder).unwrap();
    assert_sent_away(&cluster, cluster.world.client(), holder);

    // Those of the story are more than this already.
    reload(&mut cluster, holder, "drainTimeout: 2s, maxConnections: 3");
    assert_eq!(load_balancer(&cluster, holder)["limit"], 3);
    assert_sent_away(&cluster, cluster.world.client(), holder);
    assert_sent_away(&cluster, cluster.world.node(other).host(), holder);
    assert!(rejected(&cluster, holder, "limit") >= 2);
    drop((held, third));
    println!("{}", cluster.status_text_of(holder));

    reload(&mut cluster, holder, "drainTimeout: 2s");
    let more = [0; 4].map(|_| connect(&cluster, cluster.world.client(), holder).unwrap());
    // Longer than a proxy that was replaced would have had.
    cluster.pass(Duration::from_secs(3));
    early.ask().unwrap();
    early_at_node.ask().unwrap();
    drop(more);
    assert_eq!(cluster.watch_changes_since(begin), []);
    assert_eq!(cluster.moves_since(begin), 0);
    assert_eq!(cluster.status_of(holder).unwrap()["started"], started, "the same process");
}

/// Clients that keep a connection each, as kubelets do, and make another one when it has ended.
struct Kept {
    ends: Arc<AtomicU64>,
    resets: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Kept {
    fn start(cluster: &Cluster, number: usize) -> Self {
        let mut kept = Self {
            ends: Arc::default(),
            resets: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let config = tls::config(&cluster.world);
        let spawn = |_| {
            let (ends, resets) = (Arc::clone(&kept.ends), Arc::clone(&kept.resets));
            let (stop, config) = (Arc::clone(&kept.stop), Arc::clone(&config));
            std::thread::spawn(move || {
                while !stop.load(Relaxed) {
                    match keep(&config, &stop) {
                        Ok(()) => ends.fetch_add(1, Relaxed),
                        Err(_) => resets.fetch_add(1, Relaxed),
                    };
                }
            })
        };
        let client = &cluster.world.client().namespace;
        let threads = client.run(|| (0..number).map(spawn).collect()).unwrap();
        kept.threads = threads;
        kept
    }
}

/// Until it ends, orderly or not.
fn keep(config: &Arc<ClientConfig>, stop: &AtomicBool) -> std::io::Result<()> {
    let mut tls = Tls::connect(config, address())?;
    tls.ask()?;
    tls.tcp().set_read_timeout(Some(Duration::from_millis(50)))?;
    loop {
        match tls.tcp().peek(&mut [0]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ if stop.load(Relaxed) => return Ok(()),
            _ => {}
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Restarts an apiserver: nobody is connected to it when it is used again.
fn restart(cluster: &mut Cluster, node: usize, seen_by: usize) {
    let apiserver = &mut cluster.world.node_mut(node).apiserver;
    apiserver.kill().unwrap();
    assert!(apiserver.wait(LONG));
    cluster.eventually("the apiserver is out", |cluster| {
        cluster.health_at(seen_by, node).as_deref() == Some("unhealthy")
    });
    cluster.eventually("its clients are with the others", |cluster| {
        let open = open(cluster, seen_by);
        open[node] == 0 && open.iter().sum::<u64>() >= 9
    });
    cluster.world.node_mut(node).apiserver.start().unwrap();
    cluster.eventually("the apiserver is back", |cluster| {
        cluster.health_at(seen_by, node).as_deref() == Some("healthy")
    });
}

#[test]
fn balance_and_rebalance_change_as_it_runs() {
    let mut cluster = start("balance: roundRobin");
    let holder = cluster.holder();
    let other = (holder + 1) % 3;
    let kept = Kept::start(&cluster, 9);
    cluster.eventually("each has three", |cluster| open(cluster, holder) == [3; 3]);
    let begin = cluster.now();

    // Without it, one that was away has nobody.
    restart(&mut cluster, other, holder);
    cluster.pass(Duration::from_secs(3));
    assert_eq!(open(&cluster, holder)[other], 0);
    let ends = || (kept.ends.load(Relaxed), kept.resets.load(Relaxed));
    let before = ends();
    // A change by itself moves nobody, and new clients go where the fewest are.
    reload(&mut cluster, holder, "balance: leastConnections");
    let more = [0; 2].map(|_| connect(&cluster, cluster.world.client(), holder).unwrap());
    assert_eq!(open(&cluster, holder)[other], 2);
    drop(more);
    reload(&mut cluster, holder, "rebalance: {connectionsPerSecond: 20}");
    cluster.pass(Duration::from_secs(3));
    assert_eq!((open(&cluster, holder)[other], ends()), (0, before));

    restart(&mut cluster, other, holder);
    let before = ends();
    cluster.eventually("each has three again", |cluster| open(cluster, holder) == [3; 3]);
    let rebalanced = load_balancer(&cluster, holder)["rebalanced"].as_u64().unwrap();
    assert_eq!(rebalanced, 3);
    cluster.eventually("three were ended", |_| ends() == (before.0 + 3, before.1));

    reload(&mut cluster, holder, "balance: roundRobin");
    restart(&mut cluster, other, holder);
    let before = ends();
    cluster.pass(Duration::from_secs(3));
    assert_eq!((open(&cluster, holder)[other], ends()), (0, before));
    assert_eq!(load_balancer(&cluster, holder)["rebalanced"], 3);
    println!("{}", cluster.status_text_of(holder));
    assert_eq!(cluster.moves_since(begin), 0);
}
