use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use backends::Snapshot;
use jiff::Timestamp;
use serde::Serialize;
use vrrp::State;

use crate::balancer::Parts;
use crate::controller;

/// Ways to what the parts of the daemon know, none of which waits for them.
pub(crate) struct View {
    pub(crate) started: SystemTime,
    pub(crate) vip: Arc<ArcSwap<vip::Status>>,
    pub(crate) balancer: Option<Arc<ArcSwap<Parts>>>,
    pub(crate) state: Arc<controller::State>,
}

/// The whole status. Durations are in milliseconds, times in RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) node: String,
    pub(crate) pid: u32,
    pub(crate) started: String,
    pub(crate) uptime_ms: u64,
    pub(crate) ready: bool,
    pub(crate) leaving: bool,
    pub(crate) realtime: bool,
    pub(crate) virtual_routers: Vec<VirtualRouter>,
    pub(crate) load_balancer: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct VirtualRouter {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) virtual_router_id: u8,
    pub(crate) version: u8,
    pub(crate) source: IpAddr,
    pub(crate) virtual_ips: Vec<String>,
    /// Initialize, Backup or Active.
    pub(crate) state: &'static str,
    pub(crate) since_ms: u64,
    /// Why it is in this state.
    pub(crate) reason: String,
    /// The address of the node that holds the virtual IPs, as far as is known here.
    pub(crate) holder: Option<IpAddr>,
    pub(crate) priority: u8,
    pub(crate) configured_priority: u8,
    pub(crate) peers: Vec<Peer>,
    pub(crate) advertisements_sent: u64,
    pub(crate) advertisements_received: u64,
    /// By reason.
    pub(crate) packets_dropped: BTreeMap<&'static str, u64>,
    pub(crate) became_active: u64,
    pub(crate) address_mismatches: u64,
    pub(crate) transitions: Vec<Transition>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) priority: u8,
    pub(crate) heard_ms: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Transition {
    pub(crate) time: String,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LoadBalancer {
    pub(crate) listen: Vec<SocketAddr>,
    /// Such as "10.0.0.100:6443 to 6444".
    pub(crate) redirects: Vec<String>,
    pub(crate) open: usize,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) unserved: u64,
    pub(crate) retries: u64,
    pub(crate) replays: u64,
    pub(crate) apiservers: Vec<Apiserver>,
    /// Where the list of apiservers is from, and how its reading goes.
    pub(crate) discovery: Snapshot,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Apiserver {
    pub(crate) address: SocketAddr,
    pub(crate) health: String,
    pub(crate) usable: bool,
    pub(crate) reason: String,
    pub(crate) since_ms: u64,
    pub(crate) latency_ms: Option<f64>,
    pub(crate) open: usize,
    pub(crate) connects: u64,
    pub(crate) failures: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

impl View {
    /// Whether this node is ready to hold the virtual IPs.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.ready.load(Relaxed) && !self.state.leaving.load(Relaxed)
    }

    /// Everything, as it is now.
    pub(crate) fn status(&self) -> Report {
        let vip = self.vip.load();
        Report {
            version: env!("CARGO_PKG_VERSION"),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started: time(self.started),
            uptime_ms: milliseconds(self.started.elapsed().unwrap_or_default()),
            ready: self.is_ready(),
            leaving: self.state.leaving.load(Relaxed),
            realtime: vip.realtime,
            virtual_routers: vip.instances.iter().map(virtual_router).collect(),
            load_balancer: self.load_balancer(),
        }
    }

    fn load_balancer(&self) -> Option<LoadBalancer> {
        let parts = self.balancer.as_ref()?.load();
        let stats = parts.proxy.stats();
        let snapshot = Snapshot::clone(&parts.snapshots.borrow());
        let rejected = stats.rejected;
        Some(LoadBalancer {
            listen: stats.listeners.iter().map(|listener| listener.address).collect(),
            redirects: parts.redirects.iter().map(ToString::to_string).collect(),
            open: stats.open,
            accepted: stats.listeners.iter().map(|listener| listener.accepted).sum(),
            rejected: rejected.no_backend + rejected.limit + rejected.descriptors,
            unserved: stats.unserved,
            retries: stats.retries,
            replays: stats.replays,
            apiservers: snapshot.backends.iter().map(|b| apiserver(b, &snapshot, &stats)).collect(),
            discovery: snapshot,
        })
    }
}

fn virtual_router(instance: &vip::InstanceStatus) -> VirtualRouter {
    let holder = match instance.state {
        State::Active => Some(instance.source),
        State::Backup => instance.active_router.map(|(address, _)| address),
        State::Initialize => None,
    };
    VirtualRouter {
        name: instance.name.clone(),
        interface: instance.interface.clone(),
        virtual_router_id: instance.virtual_router_id,
        version: instance.version,
        source: instance.source,
        virtual_ips: instance.addresses.iter().map(ToString::to_string).collect(),
        state: instance.state.name(),
        since_ms: milliseconds(vip::age(instance.since)),
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
        advertisements_sent: instance.counters.sent,
        advertisements_received: instance.counters.received,
        packets_dropped: instance.counters.dropped.clone(),
        became_active: instance.counters.became_active,
        address_mismatches: instance.counters.address_mismatch,
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

fn apiserver(backend: &backends::Backend, snapshot: &Snapshot, stats: &proxy::Stats) -> Apiserver {
    let seen = stats.backends.iter().find(|seen| seen.address == backend.address);
    Apiserver {
        address: backend.address,
        health: backend.health.to_string(),
        usable: snapshot.usable.contains(&backend.address),
        reason: backend.reason.clone(),
        since_ms: milliseconds(backend.since.elapsed().unwrap_or_default()),
        latency_ms: backend.latency.map(|latency| latency.as_secs_f64() * 1_000.0),
        open: seen.map_or(0, |seen| seen.open),
        connects: seen.map_or(0, |seen| seen.connects),
        failures: seen.map_or(0, |seen| {
            seen.refused + seen.unreachable + seen.timeouts + seen.silent + seen.resets
        }),
        bytes_up: seen.map_or(0, |seen| seen.bytes_up),
        bytes_down: seen.map_or(0, |seen| seen.bytes_down),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn time(time: SystemTime) -> String {
    let milliseconds = |time: Timestamp| format!("{time:.3}");
    Timestamp::try_from(time).map_or_else(|_| String::new(), milliseconds)
}
