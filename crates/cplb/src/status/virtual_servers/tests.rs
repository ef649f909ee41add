use std::time::{Duration, SystemTime};

use backends::{Backend, Discovery, Health, Origin};
use ipvs::{LeftOut as Unreachable, Scheduler};
use kernel::ipvs::{Destination, FoundDestination, Persistence, Service};

use super::*;

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// Apiservers of the cluster, all of them usable but the last.
fn snapshot(addresses: &[&str]) -> Snapshot {
    let backend = |address: &&str| Backend {
        address: at(address),
        health: Health::Healthy,
        reason: String::new(),
        failure: None,
        since: SystemTime::UNIX_EPOCH,
        latency: None,
        sources: Vec::new(),
    };
    let backends: Vec<Backend> = addresses.iter().map(backend).collect();
    let usable = backends.iter().rev().skip(1).map(|it| it.address).collect();
    let discovery = Discovery { kubeconfig: None, via: None, error: None, read: None };
    Snapshot {
        backends,
        usable,
        fail_open: false,
        origin: Origin::Static,
        refused: Vec::new(),
        discovery,
    }
}

fn found(address: &str, weight: u32, active: u32, inactive: u32) -> FoundDestination {
    let destination = Destination {
        address: at(address),
        forwarding: Forwarding::Tunnel,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
    };
    FoundDestination { destination, active, inactive }
}

fn wanted() -> ipvs::VirtualServer {
    ipvs::VirtualServer {
        address: at("10.0.0.100:6443"),
        scheduler: Scheduler::RoundRobin,
        forwarding: Forwarding::DirectRouting,
        persistence: Some(Duration::from_secs(360)),
    }
}

/// Weight, established connections, others, and what stands against it.
type Row = (&'static str, Option<[u32; 3]>, Option<LeftOut>);

fn rows(server: &VirtualServer) -> Vec<(String, Option<[u32; 3]>, Option<LeftOut>)> {
    let numbers = |it: InKernel| [it.weight, it.active, it.inactive];
    let row = |it: &RealServer| (it.address.to_string(), it.in_kernel.map(numbers), it.left_out);
    server.real_servers.iter().map(row).collect()
}

fn assert_rows(server: &VirtualServer, expected: &[Row]) {
    let expected = expected.iter().map(|(at, of, why)| ((*at).to_owned(), *of, *why));
    assert_eq!(rows(server), expected.collect::<Vec<_>>());
}

const APISERVERS: [&str; 6] = [
    "10.0.0.11:6443",
    "10.0.0.12:6443",
    "10.0.0.13:7443",
    "10.0.0.14:6443",
    "[fd00::15]:6443",
    "10.0.0.16:6443",
];

fn unreachable() -> Vec<Unreachable> {
    let one = |real_server, reason| Unreachable {
        service: at("10.0.0.100:6443"),
        real_server: at(real_server),
        reason,
    };
    vec![one("10.0.0.13:7443", Unusable::OtherPort), one("[fd00::15]:6443", Unusable::OtherFamily)]
}

#[test]
fn the_holder_shows_what_the_kernel_says_and_why_servers_are_left_out() {
    let service = Service {
        address: at("10.0.0.100:6443"),
        scheduler: "sh".to_owned(),
        flags: 0,
        persistence: Some(Persistence { timeout: Duration::from_secs(7), prefix_length: 32 }),
    };
    let real_servers = vec![
        found("10.0.0.99:6443", 0, 1, 0),
        found("10.0.0.16:6443", 0, 2, 3),
        found("10.0.0.11:6443", 1, 34, 5),
    ];
    let overview = Overview {
        services: vec![Installed { service, real_servers }],
        left_out: unreachable(),
        error: None,
    };
    let known = Known {
        overview: &overview,
        snapshot: &snapshot(&APISERVERS),
        absent: &BTreeSet::from([at("10.0.0.12:6443")]),
    };
    let server = known.virtual_server(&wanted());
    assert!(server.here);
    assert_eq!((&*server.scheduler, server.forwarding), ("sh", "TUN"));
    assert_eq!(server.persistence_seconds, Some(7));
    assert_rows(
        &server,
        &[
            ("10.0.0.11:6443", Some([1, 34, 5]), None),
            ("10.0.0.12:6443", None, Some(LeftOut::Absent)),
            ("10.0.0.13:7443", None, Some(LeftOut::OtherPort)),
            ("10.0.0.14:6443", None, Some(LeftOut::Missing)),
            ("10.0.0.16:6443", Some([0, 2, 3]), Some(LeftOut::Unhealthy)),
            ("10.0.0.99:6443", Some([0, 1, 0]), Some(LeftOut::Gone)),
            ("[fd00::15]:6443", None, Some(LeftOut::OtherFamily)),
        ],
    );
}

#[test]
fn another_node_shows_what_it_would_do() {
    let overview = Overview { left_out: unreachable(), ..Overview::default() };
    let known =
        Known { overview: &overview, snapshot: &snapshot(&APISERVERS), absent: &BTreeSet::new() };
    let server = known.virtual_server(&wanted());
    assert!(!server.here);
    assert_eq!((&*server.scheduler, server.forwarding), ("rr", "DR"));
    assert_rows(
        &server,
        &[
            ("10.0.0.11:6443", None, None),
            ("10.0.0.12:6443", None, None),
            ("10.0.0.13:7443", None, Some(LeftOut::OtherPort)),
            ("10.0.0.14:6443", None, None),
            ("10.0.0.16:6443", None, Some(LeftOut::Unhealthy)),
            ("[fd00::15]:6443", None, Some(LeftOut::OtherFamily)),
        ],
    );
}
