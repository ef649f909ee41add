use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use backends::Snapshot;
use serde::Serialize;

/// The whole status. Durations are in milliseconds, times in RFC 3339.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) version: &'static str,
    pub(crate) node: String,
    pub(crate) pid: u32,
    pub(crate) started: String,
    #[serde(skip)]
    pub(crate) started_at: SystemTime,
    pub(crate) uptime_ms: u64,
    pub(crate) ready: bool,
    pub(crate) leaving: bool,
    pub(crate) realtime: bool,
    /// What somebody should look at, each a sentence.
    pub(crate) warnings: Vec<String>,
    /// The keepalived that moves the virtual IPs, where this process does not do it itself.
    pub(crate) keepalived: Option<Keepalived>,
    pub(crate) virtual_routers: Vec<VirtualRouter>,
    pub(crate) load_balancer: Option<LoadBalancer>,
    /// What a worker node serves; of controllers `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) worker: Option<Worker>,
}

/// A worker node: how its kubelet comes to the apiservers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Worker {
    /// Builtin, EnvoyProxy or Traefik.
    pub(crate) balancer: String,
    /// The image of the static pod, if it is one.
    pub(crate) image: Option<String>,
    /// Where the apiservers are served.
    pub(crate) doors: Vec<SocketAddr>,
    /// Where the konnectivity servers are served.
    pub(crate) konnectivity_doors: Vec<SocketAddr>,
    /// Why no apiserver answers through the balancer; `None` while one does.
    pub(crate) unreached: Option<String>,
    /// The kubeconfigs that lead through the balancer.
    pub(crate) kubeconfigs: Vec<PathBuf>,
    /// Connections still open on ports that a reload closed.
    pub(crate) draining: usize,
    /// The second service of the built-in balancer.
    pub(crate) konnectivity: Option<LoadBalancer>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct VirtualRouter {
    pub(crate) name: String,
    pub(crate) interface: String,
    pub(crate) virtual_router_id: u8,
    pub(crate) version: u8,
    pub(crate) source: IpAddr,
    pub(crate) virtual_ips: Vec<String>,
    /// The router of this node that it moves with: that of IPv4, by its address.
    pub(crate) follows: Option<IpAddr>,
    /// Initialize, Backup or Active.
    pub(crate) state: &'static str,
    pub(crate) since_ms: u64,
    /// When the state last changed.
    #[serde(skip)]
    pub(crate) changed_at: Option<SystemTime>,
    /// Why it is in this state.
    pub(crate) reason: String,
    /// The address of the node that holds the virtual IPs, as far as is known here.
    pub(crate) holder: Option<IpAddr>,
    pub(crate) priority: u8,
    pub(crate) configured_priority: u8,
    pub(crate) peers: Vec<Peer>,
    /// Routers heard on this identifier that seem to be none of ours.
    pub(crate) foreign: Vec<Foreign>,
    /// The form of checksum sent, `keepalived` or `rfc9568`; of version 3 over IPv4 alone.
    pub(crate) checksum: Option<&'static str>,
    /// Accepted advertisements of version 3 over IPv4, by the form of their checksum.
    pub(crate) checksums_received: BTreeMap<&'static str, u64>,
    pub(crate) advertisements_sent: u64,
    pub(crate) advertisements_received: u64,
    /// By reason.
    pub(crate) packets_dropped: BTreeMap<&'static str, u64>,
    pub(crate) became_active: u64,
    pub(crate) address_mismatches: u64,
    /// All that there were.
    pub(crate) transition_count: u64,
    /// The last of them, oldest first.
    pub(crate) transitions: Vec<Transition>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) priority: u8,
    pub(crate) heard_ms: u64,
}

/// A router that speaks for our identifier and seems to be none of ours.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Foreign {
    pub(crate) address: IpAddr,
    /// What sets it apart, and what to change.
    pub(crate) difference: String,
    /// The virtual addresses that it advertises.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) packets: u64,
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
    /// Where the kernel balances (IPVS) and not the proxy.
    pub(crate) virtual_servers: Vec<VirtualServer>,
    /// Why the kernel does not balance as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ipvs_error: Option<String>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) open: usize,
    /// Most connections open at once.
    pub(crate) limit: usize,
    pub(crate) accepted: u64,
    /// Reset right after they were accepted.
    pub(crate) rejected: u64,
    pub(crate) rejected_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) accept_errors: u64,
    pub(crate) unserved: u64,
    /// Ended before an apiserver served them.
    pub(crate) gone: u64,
    pub(crate) retries: u64,
    /// Further apiservers tried beside one that had not accepted yet.
    pub(crate) raced: u64,
    /// Further apiservers tried beside one that stayed silent.
    pub(crate) hedges: u64,
    pub(crate) replays: u64,
    pub(crate) resets: u64,
    /// Ended for the sake of an apiserver that had come back.
    pub(crate) rebalanced: u64,
    pub(crate) apiservers: Vec<Apiserver>,
    /// Further ports of the same hosts; of those themselves empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra_ports: Vec<ExtraPort>,
    /// Where the list of apiservers is from, and how its reading goes.
    pub(crate) discovery: Snapshot,
}

/// A further port that is balanced.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ExtraPort {
    pub(crate) port: u16,
    /// Such as "tls".
    pub(crate) check: String,
    /// Its `apiservers` are the servers at that port.
    #[serde(flatten)]
    pub(crate) balancer: LoadBalancer,
}

/// A keepalived process.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Keepalived {
    pub(crate) version: String,
    pub(crate) pid: Option<u32>,
    pub(crate) restarts: u32,
}

/// An IPVS service.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VirtualServer {
    pub(crate) address: SocketAddr,
    /// As ipvsadm(8) names it.
    pub(crate) scheduler: String,
    /// NAT, DR or TUN.
    pub(crate) forwarding: &'static str,
    pub(crate) persistence_seconds: Option<u64>,
    /// Whether this node has the service now: the holder of its address does, the others would.
    pub(crate) here: bool,
    pub(crate) real_servers: Vec<RealServer>,
}

/// An apiserver behind an IPVS service.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RealServer {
    pub(crate) address: SocketAddr,
    /// `None` where the kernel does not have it.
    #[serde(flatten)]
    pub(crate) in_kernel: Option<InKernel>,
    /// Why it gets no new connections.
    pub(crate) left_out: Option<LeftOut>,
    /// The same for people; empty where it gets some.
    pub(crate) reason: &'static str,
}

/// What the kernel says of a real server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct InKernel {
    /// 0 gives it no new connections; those it has go on.
    pub(crate) weight: u32,
    /// Established connections.
    pub(crate) active: u32,
    /// Connections not established yet, or not any more.
    pub(crate) inactive: u32,
}

/// Why an apiserver gets no new connections by an IPVS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LeftOut {
    /// Its checks say so.
    Unhealthy,
    /// The cluster names it no more.
    Gone,
    /// Its node does not carry the virtual address.
    Absent,
    /// The service is IPv4 and this one IPv6, or the other way round.
    OtherFamily,
    /// Only NAT can change the port.
    OtherPort,
    /// The kernel does not have it, for a reason of keepalived's.
    Missing,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: u64,
    /// Reset right after they were accepted.
    pub(crate) rejected_by_reason: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Apiserver {
    pub(crate) address: SocketAddr,
    pub(crate) health: String,
    pub(crate) usable: bool,
    pub(crate) reason: String,
    pub(crate) since_ms: u64,
    /// How long the last good health check took.
    pub(crate) latency_ms: Option<f64>,
    /// Moving average of the time that clients' connects took.
    pub(crate) mean_connect_ms: Option<f64>,
    /// All of them by the time they took.
    pub(crate) connect_latency: Histogram,
    pub(crate) open: usize,
    pub(crate) connects: u64,
    /// Those of them that were begun because another apiserver had failed.
    pub(crate) retries: u64,
    pub(crate) failures: u64,
    pub(crate) failures_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// How often something took how long. Each count includes those of the smaller bounds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Histogram {
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) count: u64,
    pub(crate) sum_ms: f64,
    /// Half of them took no longer, 99 of 100; `None` of none. The last bound stands for more.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

/// How often it took at most so long.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Bucket {
    pub(crate) at_most_ms: f64,
    pub(crate) count: u64,
}

/// Who was not heard for so long is gone: 10 minutes, more than two intervals of the slowest
/// router there can be (255 s, RFC 3768 section 5.3.7).
const GONE_AFTER_MS: u64 = 600_000;

impl Foreign {
    /// Whether it was heard lately.
    pub(crate) const fn is_present(&self) -> bool {
        self.heard_ms < GONE_AFTER_MS
    }
}

impl RealServer {
    pub(crate) fn new(
        address: SocketAddr,
        in_kernel: Option<InKernel>,
        left_out: Option<LeftOut>,
    ) -> Self {
        Self { address, in_kernel, left_out, reason: left_out.map_or("", LeftOut::sentence) }
    }
}

impl LeftOut {
    /// As metrics and JSON name it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Unhealthy => "unhealthy",
            Self::Gone => "gone",
            Self::Absent => "absent",
            Self::OtherFamily => "other_family",
            Self::OtherPort => "other_port",
            Self::Missing => "missing",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Unhealthy => "not healthy",
            Self::Gone => "no apiserver of the cluster any more",
            Self::Absent => "its node does not carry the virtual IP: is cplb running there?",
            Self::OtherFamily => "of the other address family, which IPVS cannot reach",
            Self::OtherPort => "at another port, which only lbKind NAT can reach",
            Self::Missing => "not in the kernel: keepalived's own check of it may fail",
        }
    }
}
