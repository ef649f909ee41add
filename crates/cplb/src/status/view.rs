//! From what the parts of the daemon know to a [`Report`].

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use backends::{PortCheck, Snapshot};
use jiff::Timestamp;
use kernel::redirect::Rule;
use tokio::sync::mpsc::UnboundedSender;
use vrrp::{Checksum, State};

use super::report::{
    Apiserver, Bucket, ExtraPort, Foreign, Histogram, Keepalived, Listener, LoadBalancer, Peer,
    Report, Transition, VirtualRouter,
};
use super::virtual_servers::Known;
use super::{Reporting, warnings};
use crate::balancer::{ExtraPortParts, ForwarderParts, Parts};
use crate::controller;
use crate::engine;
use crate::succession;

/// Ways to what the parts of the daemon know, none of which waits for them.
pub(crate) struct View {
    pub(crate) started: SystemTime,
    pub(crate) engine: engine::Source,
    pub(crate) balancer: Option<Arc<ArcSwap<Parts>>>,
    pub(crate) state: Arc<controller::State>,
    pub(crate) upgrades: UnboundedSender<succession::Request>,
}

impl Reporting for View {
    /// Whether this node is ready to hold the virtual IPs.
    fn is_ready(&self) -> bool {
        self.state.ready.load(Relaxed) && !self.state.leaving.load(Relaxed)
    }

    fn upgrades(&self) -> Option<&UnboundedSender<succession::Request>> {
        Some(&self.upgrades)
    }

    fn status(&self) -> Report {
        let (virtual_routers, realtime, keepalived) = self.engine();
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started: time(self.started),
            started_at: self.started,
            uptime_ms: milliseconds(self.started.elapsed().unwrap_or_default()),
            ready: self.is_ready(),
            leaving: self.state.leaving.load(Relaxed),
            realtime,
            keepalived,
            virtual_routers,
            load_balancer: self.load_balancer(),
            worker: None,
            warnings: Vec::new(),
        };
        report.warnings = warnings::of(&report);
        report
    }
}

impl View {
    /// The virtual routers, whether they have real-time priority, and their keepalived.
    fn engine(&self) -> (Vec<VirtualRouter>, bool, Option<Keepalived>) {
        match &self.engine {
            engine::Source::Builtin(status) => {
                let status = status.load();
                (status.instances.iter().map(virtual_router).collect(), status.realtime, None)
            }
            engine::Source::Keepalived(status) => {
                let status = status.load();
                let keepalived = Keepalived {
                    version: status.version.clone(),
                    pid: status.process,
                    restarts: status.restarts,
                };
                let routers = status.instances.iter().map(router_of_keepalived).collect();
                (routers, true, Some(keepalived))
            }
        }
    }

    fn load_balancer(&self) -> Option<LoadBalancer> {
        let parts = self.balancer.as_ref()?.load();
        let snapshot = Snapshot::clone(&parts.snapshots.borrow());
        Some(match &parts.forwarder {
            ForwarderParts::Proxy(parts) => {
                let parts = parts.load();
                let extra = parts.extra_ports.iter().map(|it| extra_port(it, &parts.redirects));
                LoadBalancer {
                    extra_ports: extra.collect(),
                    ..proxied(&parts.proxy, snapshot, &parts.redirects)
                }
            }
            ForwarderParts::Ipvs(parts) => {
                let (overview, absent) = (parts.director.overview(), parts.absent());
                let known = Known { overview: &overview, snapshot: &snapshot, absent: &absent };
                let servers = parts.settings().virtual_servers;
                LoadBalancer {
                    virtual_servers: servers.iter().map(|it| known.virtual_server(it)).collect(),
                    ipvs_error: overview.error.clone(),
                    ..load_balancer(&proxy::Stats::default(), snapshot)
                }
            }
        })
    }
}

/// A proxy, and those of the redirects that lead to it.
fn proxied(proxy: &proxy::Handle, snapshot: Snapshot, redirects: &[Rule]) -> LoadBalancer {
    let stats = proxy.stats();
    let leads_here =
        |rule: &&Rule| stats.listeners.iter().any(|listener| listener.address.port() == rule.to);
    let redirects = redirects.iter().filter(leads_here).map(ToString::to_string).collect();
    LoadBalancer { redirects, ..load_balancer(&stats, snapshot) }
}

fn extra_port(parts: &ExtraPortParts, redirects: &[Rule]) -> ExtraPort {
    let snapshot = Snapshot::clone(&parts.snapshots.borrow());
    ExtraPort {
        port: parts.plan.port,
        check: match &parts.plan.check {
            PortCheck::Connect => "tcp".to_owned(),
            PortCheck::Tls => "tls".to_owned(),
            PortCheck::Https { path, status } => format!("https {path} {status}"),
        },
        balancer: proxied(&parts.proxy, snapshot, redirects),
    }
}

/// What a proxy counts, and the apiservers behind it.
pub(crate) fn load_balancer(stats: &proxy::Stats, snapshot: Snapshot) -> LoadBalancer {
    let rejected = stats.rejected;
    LoadBalancer {
        listen: stats.listeners.iter().map(|listener| listener.address).collect(),
        redirects: Vec::new(),
        virtual_servers: Vec::new(),
        ipvs_error: None,
        listeners: stats
            .listeners
            .iter()
            .map(|it| Listener {
                address: it.address,
                accepted: it.accepted,
                rejected_by_reason: by_reason(&it.rejected),
            })
            .collect(),
        open: stats.open,
        limit: stats.limit,
        accepted: stats.listeners.iter().map(|listener| listener.accepted).sum(),
        rejected: rejected.total(),
        rejected_by_reason: by_reason(&rejected),
        accept_errors: stats.accept_errors,
        unserved: stats.unserved,
        gone: stats.gone,
        retries: stats.retries,
        raced: stats.raced,
        hedges: stats.hedges,
        replays: stats.replays,
        resets: stats.resets,
        rebalanced: stats.rebalanced,
        extra_ports: Vec::new(),
        apiservers: snapshot.backends.iter().map(|b| apiserver(b, &snapshot, stats)).collect(),
        discovery: snapshot,
    }
}

fn by_reason(rejected: &proxy::Rejected) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("no_backend", rejected.no_backend),
        ("limit", rejected.limit),
        ("descriptors", rejected.descriptors),
        ("per_source", rejected.per_source),
        ("foreign", rejected.foreign),
    ])
}

fn virtual_router(instance: &vip::InstanceStatus) -> VirtualRouter {
    let holder = match instance.state {
        State::Active => Some(instance.source),
        State::Backup => instance.active_router.map(|(address, _)| address),
        State::Initialize => None,
    };
    let over_ipv4 = instance.version == 3 && instance.source.is_ipv4();
    VirtualRouter {
        name: instance.name.clone(),
        interface: instance.interface.clone(),
        virtual_router_id: instance.virtual_router_id,
        version: instance.version,
        source: instance.source,
        virtual_ips: instance.addresses.iter().map(ToString::to_string).collect(),
        state: instance.state.name(),
        since_ms: milliseconds(vip::age(instance.since)),
        changed_at: instance.transitions.last().map(|last| last.time),
        reason: instance
            .transitions
            .last()
            .map_or_else(String::new, |last| last.transition.reason.to_string()),
        holder,
        priority: instance.priority.0,
        configured_priority: instance.priority.1,
        peers: instance
            .peers
            .iter()
            .map(|(address, peer)| Peer {
                address: *address,
                priority: peer.priority,
                heard_ms: milliseconds(vip::age(peer.heard)),
            })
            .collect(),
        foreign: instance
            .foreign
            .iter()
            .map(|(address, foreign)| Foreign {
                address: *address,
                difference: foreign.difference.to_string(),
                addresses: foreign.addresses.clone(),
                packets: foreign.count,
                heard_ms: milliseconds(vip::age(foreign.heard)),
            })
            .collect(),
        checksum: over_ipv4.then(|| dialect(instance.checksum.label())),
        checksums_received: instance
            .counters
            .checksums
            .iter()
            .map(|(label, count)| (dialect(label), *count))
            .collect(),
        advertisements_sent: instance.counters.sent,
        advertisements_received: instance.counters.received,
        packets_dropped: instance.counters.dropped.clone(),
        became_active: instance.counters.became_active,
        address_mismatches: instance.counters.address_mismatch,
        follows: instance.follows,
        transition_count: instance.counters.transitions,
        transitions: instance
            .transitions
            .iter()
            .map(|past| Transition {
                time: time(past.time),
                from: past.transition.from.name(),
                to: past.transition.to.name(),
                reason: past.transition.reason.to_string(),
            })
            .collect(),
    }
}

fn router_of_keepalived(instance: &keepalived::InstanceStatus) -> VirtualRouter {
    let ipv4 = instance.addresses.iter().any(|it| it.address.is_ipv4());
    let unknown: IpAddr =
        if ipv4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = instance.source.unwrap_or(unknown);
    VirtualRouter {
        name: instance.name.clone(),
        interface: instance.interface.clone(),
        virtual_router_id: instance.virtual_router_id,
        version: instance.version,
        source,
        virtual_ips: instance.addresses.iter().map(ToString::to_string).collect(),
        state: instance.state.name(),
        since_ms: milliseconds(instance.since.elapsed()),
        changed_at: instance.transitions.last().map(|last| last.time),
        reason: instance
            .transitions
            .last()
            .map_or_else(String::new, |last| last.transition.reason.clone()),
        holder: (instance.state == State::Active).then_some(source),
        priority: instance.priority.0,
        configured_priority: instance.priority.1,
        transition_count: instance.transition_count,
        became_active: instance.became_active,
        transitions: instance
            .transitions
            .iter()
            .map(|past| Transition {
                time: time(past.time),
                from: past.transition.from.name(),
                to: past.transition.to.name(),
                reason: past.transition.reason.clone(),
            })
            .collect(),
        // Whatever moves them together is keepalived's.
        follows: None,
        // keepalived keeps what it hears to itself.
        peers: Vec::new(),
        foreign: Vec::new(),
        checksum: None,
        checksums_received: BTreeMap::new(),
        advertisements_sent: 0,
        advertisements_received: 0,
        packets_dropped: BTreeMap::new(),
        address_mismatches: 0,
    }
}

/// The name that the configuration gives a form of checksum, where it has one.
fn dialect(label: &'static str) -> &'static str {
    if label == Checksum::PseudoHeader.label() {
        "keepalived"
    } else if label == Checksum::MessageOnly.label() {
        "rfc9568"
    } else {
        label
    }
}

fn apiserver(backend: &backends::Backend, snapshot: &Snapshot, stats: &proxy::Stats) -> Apiserver {
    let seen = stats.backends.iter().find(|seen| seen.address == backend.address);
    let count = |of: fn(&proxy::BackendStats) -> u64| seen.map_or(0, of);
    let failures = BTreeMap::from([
        ("refused", count(|seen| seen.refused)),
        ("unreachable", count(|seen| seen.unreachable)),
        ("timeout", count(|seen| seen.timeouts)),
        ("silent", count(|seen| seen.silent)),
        ("reset", count(|seen| seen.resets)),
    ]);
    Apiserver {
        address: backend.address,
        health: backend.health.to_string(),
        usable: snapshot.usable.contains(&backend.address),
        reason: backend.reason.clone(),
        since_ms: milliseconds(backend.since.elapsed().unwrap_or_default()),
        latency_ms: backend.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
        mean_connect_ms: seen
            .and_then(|seen| seen.mean_connect)
            .map(|mean| mean.as_secs_f64() * 1_000.0),
        connect_latency: seen.map(|seen| histogram(&seen.connect_latency)).unwrap_or_default(),
        open: seen.map_or(0, |seen| seen.open),
        connects: count(|seen| seen.connects),
        retries: count(|seen| seen.retries),
        failures: failures.values().sum(),
        failures_by_reason: failures,
        bytes_up: count(|seen| seen.bytes_up),
        bytes_down: count(|seen| seen.bytes_down),
    }
}

fn histogram(of: &proxy::LatencyHistogram) -> Histogram {
    let milliseconds = |duration: Duration| duration.as_micros() as f64 / 1_000.0;
    let bucket = |(bound, count): &(Duration, u64)| Bucket {
        at_most_ms: milliseconds(*bound),
        count: *count,
    };
    Histogram {
        buckets: of.buckets.iter().map(bucket).collect(),
        count: of.count,
        sum_ms: milliseconds(of.sum),
        p50_ms: of.quantile(0.5).map(milliseconds),
        p99_ms: of.quantile(0.99).map(milliseconds),
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn time(time: SystemTime) -> String {
    let milliseconds = |time: Timestamp| format!("{time:.3}");
    Timestamp::try_from(time).map_or_else(|_| String::new(), milliseconds)
}
