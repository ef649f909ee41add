//! The report that text, page, metrics and warnings are tested on.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::Report;
use super::report::{
    Apiserver, Bucket, ExtraPort, Foreign, Histogram, InKernel, Keepalived, LeftOut, Listener,
    LoadBalancer, Peer, RealServer, Transition, VirtualRouter, VirtualServer, Worker,
};

/// 2023-11-14T22:13:20Z
const STARTED: u64 = 1_700_000_000;

/// An Active node with one healthy apiserver and one that is down.
pub(crate) fn report() -> Report {
    Report {
        version: "1.2.3",
        node: "controller-1".to_owned(),
        pid: 77,
        started: "2023-11-14T22:13:20.000Z".to_owned(),
        started_at: SystemTime::UNIX_EPOCH + Duration::from_secs(STARTED),
        uptime_ms: 90_000,
        ready: true,
        leaving: false,
        realtime: true,
        warnings: Vec::new(),
        keepalived: None,
        virtual_routers: vec![virtual_router()],
        load_balancer: Some(load_balancer()),
        worker: None,
    }
}

/// Version 3, Active, with a Backup that was heard.
pub(crate) fn virtual_router() -> VirtualRouter {
    VirtualRouter {
        name: "cplb-vip-0".to_owned(),
        interface: "eth0".to_owned(),
        virtual_router_id: 51,
        version: 3,
        source: "10.0.0.11".parse().unwrap(),
        virtual_ips: vec!["10.0.0.100/24".to_owned()],
        state: "Active",
        since_ms: 61_000,
        changed_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(STARTED * 1_000 + 29_500)),
        reason: "no other router heard for 3.2s".to_owned(),
        holder: Some("10.0.0.11".parse().unwrap()),
        priority: 100,
        configured_priority: 200,
        peers: vec![Peer {
            address: "10.0.0.12".parse().unwrap(),
            priority: 200,
            heard_ms: 45_000,
        }],
        foreign: Vec::new(),
        checksum: Some("keepalived"),
        checksums_received: BTreeMap::from([("keepalived", 3)]),
        advertisements_sent: 61,
        advertisements_received: 3,
        packets_dropped: BTreeMap::from([("other_router", 90), ("password", 7), ("ttl", 1)]),
        became_active: 2,
        address_mismatches: 0,
        follows: None,
        transition_count: 3,
        transitions: vec![Transition {
            time: "2023-11-14T22:13:49.500Z".to_owned(),
            from: "Backup",
            to: "Active",
            reason: "no other router heard for 3.2s".to_owned(),
        }],
    }
}

/// Another cluster, heard 2.5 s ago.
pub(crate) fn foreign() -> Foreign {
    Foreign {
        address: "10.0.0.50".parse().unwrap(),
        difference: "wrong password".to_owned(),
        addresses: vec!["10.0.0.200".parse().unwrap()],
        packets: 7,
        heard_ms: 2_500,
    }
}

/// The same node with keepalived and IPVS.
pub(crate) fn report_of_keepalived() -> Report {
    let mut report = report();
    report.keepalived =
        Some(Keepalived { version: "2.2.7".to_owned(), pid: Some(123), restarts: 2 });
    let router = &mut report.virtual_routers[0];
    (router.state, router.holder) = ("Backup", None);
    (router.peers, router.checksum) = (Vec::new(), None);
    router.checksums_received.clear();
    router.packets_dropped.clear();
    (router.advertisements_sent, router.advertisements_received) = (0, 0);
    if let Some(balancer) = &mut report.load_balancer {
        balancer.listen.clear();
        balancer.listeners.clear();
        balancer.redirects.clear();
        balancer.virtual_servers.push(VirtualServer {
            address: "10.0.0.100:6443".parse().unwrap(),
            scheduler: "rr".to_owned(),
            forwarding: "DR",
            persistence_seconds: Some(360),
            here: false,
            real_servers: vec![
                RealServer::new("10.0.0.11:6443".parse().unwrap(), None, None),
                RealServer::new("10.0.0.12:6443".parse().unwrap(), None, Some(LeftOut::Unhealthy)),
            ],
        });
    }
    report
}

/// The same node as the holder, which balances; a third node does not run cplb.
pub(crate) fn report_of_director() -> Report {
    let mut report = report_of_keepalived();
    let router = &mut report.virtual_routers[0];
    (router.state, router.holder) = ("Active", Some(router.source));
    if let Some(balancer) = &mut report.load_balancer {
        let server = &mut balancer.virtual_servers[0];
        server.here = true;
        let in_kernel = |weight, active, inactive| Some(InKernel { weight, active, inactive });
        server.real_servers[0].in_kernel = in_kernel(1, 34, 5);
        server.real_servers[1].in_kernel = in_kernel(0, 2, 0);
        let absent = "10.0.0.13:6443".parse().unwrap();
        server.real_servers.push(RealServer::new(absent, None, Some(LeftOut::Absent)));
    }
    report
}

/// A worker with the built-in balancer, and konnectivity servers beside the same apiservers.
pub(crate) fn report_of_worker() -> Report {
    let mut report = report();
    report.virtual_routers.clear();
    let mut konnectivity = load_balancer();
    konnectivity.listeners[0].address = "127.0.0.1:7132".parse().unwrap();
    for server in &mut konnectivity.apiservers {
        server.address.set_port(8132);
    }
    report.worker = Some(Worker {
        balancer: "Builtin".to_owned(),
        image: None,
        doors: vec!["127.0.0.1:7443".parse().unwrap(), "[::1]:7443".parse().unwrap()],
        konnectivity_doors: vec!["127.0.0.1:7132".parse().unwrap()],
        unreached: None,
        kubeconfigs: vec!["/run/cplb/worker/kubeconfig.yaml".into()],
        draining: 4,
        konnectivity: Some(konnectivity),
    });
    report
}

/// The same node with the join API balanced, by the port of the first report but for its address.
pub(crate) fn report_with_extra_port() -> Report {
    let mut report = report();
    let mut balancer = load_balancer();
    balancer.listeners[0].address = "[::]:19443".parse().unwrap();
    balancer.listen = vec!["[::]:19443".parse().unwrap()];
    balancer.redirects = vec!["10.0.0.100:9443 to 19443".to_owned()];
    for server in &mut balancer.apiservers {
        server.address.set_port(9443);
    }
    if let Some(apiservers) = &mut report.load_balancer {
        apiservers.extra_ports.push(ExtraPort { port: 9443, check: "tls".to_owned(), balancer });
    }
    report
}

fn load_balancer() -> LoadBalancer {
    let down = Apiserver {
        address: "10.0.0.12:6443".parse().unwrap(),
        health: "unhealthy".to_owned(),
        usable: false,
        reason: "connection refused".to_owned(),
        since_ms: 5_000,
        latency_ms: None,
        mean_connect_ms: None,
        connect_latency: Histogram::default(),
        open: 0,
        connects: 40,
        retries: 0,
        failures: 4,
        failures_by_reason: BTreeMap::from([
            ("refused", 3),
            ("unreachable", 0),
            ("timeout", 1),
            ("silent", 0),
            ("reset", 0),
        ]),
        bytes_up: 0,
        bytes_down: 0,
    };
    let up = Apiserver {
        address: "10.0.0.11:6443".parse().unwrap(),
        health: "healthy".to_owned(),
        usable: true,
        reason: "200 ok".to_owned(),
        since_ms: 90_000,
        latency_ms: Some(1.25),
        mean_connect_ms: Some(0.5),
        connect_latency: Histogram {
            buckets: [(0.1, 0), (0.25, 30), (0.5, 38), (1_000.0, 40)]
                .map(|(at_most_ms, count)| Bucket { at_most_ms, count })
                .into(),
            count: 41,
            sum_ms: 1_150.5,
            p50_ms: Some(0.2025),
            p99_ms: Some(1_000.0),
        },
        open: 3,
        connects: 41,
        retries: 4,
        failures: 0,
        failures_by_reason: down.failures_by_reason.keys().map(|reason| (*reason, 0)).collect(),
        bytes_up: 1_000,
        bytes_down: 2_000,
    };
    LoadBalancer {
        listen: vec!["[::]:6444".parse().unwrap()],
        redirects: vec!["10.0.0.100:6443 to 6444".to_owned()],
        virtual_servers: Vec::new(),
        ipvs_error: None,
        listeners: vec![Listener {
            address: "[::]:6444".parse().unwrap(),
            accepted: 82,
            rejected_by_reason: BTreeMap::from([
                ("no_backend", 1),
                ("limit", 0),
                ("descriptors", 2),
            ]),
        }],
        open: 3,
        limit: 65_536,
        accepted: 82,
        rejected: 6,
        rejected_by_reason: BTreeMap::from([("no_backend", 1), ("limit", 0), ("descriptors", 5)]),
        accept_errors: 0,
        unserved: 0,
        gone: 7,
        retries: 4,
        raced: 1,
        hedges: 0,
        replays: 0,
        resets: 2,
        rebalanced: 6,
        extra_ports: Vec::new(),
        apiservers: vec![up, down],
        discovery: backends::Snapshot {
            backends: Vec::new(),
            usable: vec!["10.0.0.11:6443".parse().unwrap()],
            fail_open: false,
            origin: backends::Origin::Endpoints {
                via: "127.0.0.1:6443".parse().unwrap(),
                resource: backends::Resource::Slices,
            },
            refused: Vec::new(),
            discovery: backends::Discovery {
                kubeconfig: None,
                via: None,
                error: None,
                read: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(STARTED + 80)),
            },
        },
    }
}
