use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use kernel::address::VirtualAddress;
use vrrp::Version;

/// What keepalived is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// keepalived's program; looked for on PATH where absent.
    pub program: Option<PathBuf>,
    /// Runs [`crate::watch`] with its standard input when called with `keepalived-watchdog` and the
    /// run directory. Without, a frozen process keeps the addresses.
    pub watchdog: Option<PathBuf>,
    /// Holds keepalived's configuration and everything else that it shares with us.
    pub run_dir: PathBuf,
    /// The virtual routers.
    pub instances: Vec<Instance>,
    /// IPVS services; without any, keepalived only moves addresses.
    pub virtual_servers: Vec<VirtualServer>,
    /// TCP port of the kube-apiservers and of every virtual server, 1..=65535.
    pub api_server_port: u16,
    /// A Go template instead of [`crate::VRRP_TEMPLATE`].
    pub vrrp_template: Option<PathBuf>,
    /// A Go template instead of [`crate::VIRTUAL_SERVERS_TEMPLATE`].
    pub virtual_servers_template: Option<PathBuf>,
}

/// One entry of `vrrpInstances`. With addresses of both families, IPv4 alone is advertised and the
/// IPv6 addresses go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Names it in keepalived's configuration and log. Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The name of the interface.
    pub interface: String,
    /// 1..=255.
    pub virtual_router_id: u8,
    /// Of the IPv4 addresses; IPv6 exists in version 3 only.
    pub version: Version,
    /// 1..=254.
    pub priority: u8,
    /// Version 2: whole seconds, 1 s to 255 s; version 3: 10 ms to 40.95 s.
    pub advert_interval: Duration,
    /// Take over from a router of lower priority.
    pub preempt: bool,
    /// At most 8 bytes, sent with version 2 only. Empty for none.
    pub auth_pass: String,
    /// Where unicast advertisements come from.
    pub unicast_source: Option<IpAddr>,
    /// The other routers; multicast where there are none.
    pub unicast_peers: Vec<IpAddr>,
    /// Offered to templates; it is not keepalived that sets it.
    pub address_label: u32,
    /// The virtual addresses with the prefix length they get on the interface.
    pub addresses: Vec<VirtualAddress>,
}

/// One IPVS service, on [`Settings::api_server_port`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// One of the virtual addresses.
    pub address: IpAddr,
    /// The scheduler as ipvsadm(8) names it.
    pub lb_algo: String,
    /// `NAT`, `DR` or `TUN`.
    pub lb_kind: String,
    /// Time between health checks, at least 1 microsecond.
    pub delay_loop: Duration,
    /// How long a client stays with its server, in whole seconds.
    pub persistence_timeout: Duration,
}

/// One VRRP instance of keepalived.
///
/// VRRP has one family. Two instances bound to one another (`vrrp_sync_group`) would be two
/// elections: where equal nodes tie, one wins the first and another one the second, both give up
/// both, and all begin anew, for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Router<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) version: Version,
    /// Those advertised: IPv4 where there are any.
    pub(crate) addresses: Vec<VirtualAddress>,
    /// Those of the other family, which go wherever the others go.
    pub(crate) excluded: Vec<VirtualAddress>,
    pub(crate) unicast_source: Option<IpAddr>,
    pub(crate) unicast_peers: Vec<IpAddr>,
}

impl Settings {
    pub(crate) fn routers(&self) -> Vec<Router<'_>> {
        self.instances.iter().filter_map(Instance::router).collect()
    }
}

impl Instance {
    /// The instance for keepalived, `None` without addresses.
    fn router(&self) -> Option<Router<'_>> {
        let ipv4 = self.addresses.iter().any(|it| it.address.is_ipv4());
        let (addresses, excluded): (Vec<VirtualAddress>, Vec<VirtualAddress>) =
            self.addresses.iter().partition(|it| it.address.is_ipv4() == ipv4);
        let of_family = |address: &IpAddr| address.is_ipv4() == ipv4;
        (!addresses.is_empty()).then(|| Router {
            instance: self,
            version: if ipv4 { self.version } else { Version::V3 },
            addresses,
            excluded,
            unicast_source: self.unicast_source.filter(of_family),
            unicast_peers: self.unicast_peers.iter().copied().filter(of_family).collect(),
        })
    }
}
