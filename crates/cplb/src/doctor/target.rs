//! What is to be well here: from the document, or else what the daemon runs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use config::{Interface, VrrpInstance, VrrpVersion};
use kernel::address::{Found, VirtualAddress};
use kernel::link::{self, Link, Mac, Selector};
use kernel::netlink::{Protocol, Socket};
use vrrp::{Authentication, Version};

use super::{Daemon, Finding};

#[cfg(test)]
mod tests;

const CHECK: &str = "interface";

/// Virtual routers, and the ports around them.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) routers: Vec<Router>,
    /// Where this host's apiserver is reached.
    pub(crate) apiserver: SocketAddr,
    /// Where the proxy listens; `None` without one.
    pub(crate) proxy_port: Option<u16>,
    /// Whether IPVS is to balance.
    pub(crate) ipvs: bool,
}

/// A virtual router on an interface of this host.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    pub(crate) link: Link,
    pub(crate) id: u8,
    pub(crate) version: Version,
    pub(crate) addresses: Vec<VirtualAddress>,
    /// What only the document says.
    pub(crate) agreed: Option<Agreed>,
}

/// What all nodes have to agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) interval: Duration,
    pub(crate) authentication: Authentication,
}

impl Target {
    /// From the document; interfaces that cannot be found are findings.
    pub(crate) fn of_document(
        settings: &config::Settings,
        findings: &mut Vec<Finding>,
    ) -> Result<Self, kernel::Error> {
        let api = &settings.api;
        let address = api.address.filter(|_| api.only_bind_to_address);
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let mut target = Self {
            routers: Vec::new(),
            apiserver: SocketAddr::new(address, api.port),
            proxy_port: None,
            ipvs: false,
        };
        let Some(block) = settings.control_plane_load_balancing.as_ref().filter(|it| it.enabled)
        else {
            return Ok(target);
        };
        target.ipvs = !block.virtual_servers.is_empty();
        target.proxy_port = (!block.disable_load_balancer && !target.ipvs)
            .then_some(block.user_space_proxy_bind_port);
        let mut socket = Socket::open(Protocol::Route)?;
        for (index, instance) in block.vrrp_instances.iter().enumerate() {
            match link::find(&mut socket, &selector(&instance.interface)) {
                Ok(link) => target.routers.extend(Router::of_instance(&link, instance)),
                Err(error) => findings.push(
                    Finding::error(CHECK, format!("cplb-vip-{index}: {error}"))
                        .because("a virtual IP needs an interface to live on"),
                ),
            }
        }
        Ok(target)
    }

    /// From what the daemon runs.
    pub(crate) fn of_daemon(daemon: &Daemon) -> Result<Self, kernel::Error> {
        let links = link::list(&mut Socket::open(Protocol::Route)?)?;
        let status = &daemon.status;
        let router = |router: &super::daemon::VirtualRouter| {
            Some(Router {
                link: links.iter().find(|link| link.name == router.interface)?.clone(),
                id: router.virtual_router_id,
                version: if router.version == 2 { Version::V2 } else { Version::V3 },
                addresses: router.virtual_addresses(),
                agreed: None,
            })
        };
        let listen = status.load_balancer.as_ref().and_then(|balancer| balancer.listen.first());
        Ok(Self {
            routers: status.virtual_routers.iter().filter_map(router).collect(),
            apiserver: SocketAddr::from((Ipv4Addr::LOCALHOST, 6443)),
            proxy_port: listen.map(SocketAddr::port),
            ipvs: false,
        })
    }

    /// Nothing in particular.
    pub(crate) fn nothing() -> Self {
        let apiserver = SocketAddr::from((Ipv4Addr::LOCALHOST, 6443));
        Self { routers: Vec::new(), apiserver, proxy_port: None, ipvs: false }
    }

    /// Every virtual address.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.routers.iter().flat_map(Router::addresses).collect()
    }

    /// How long to listen, so that every Active router is heard at least twice.
    pub(crate) fn listening_time(&self) -> Duration {
        let intervals = self.routers.iter().filter_map(|it| Some(it.agreed?.interval));
        let slowest = intervals.max().unwrap_or(Duration::from_secs(1));
        (slowest * 3 + MARGIN).clamp(LEAST, MOST)
    }
}

const MARGIN: Duration = Duration::from_millis(500);
const LEAST: Duration = Duration::from_millis(3_500);
const MOST: Duration = Duration::from_secs(30);

impl Router {
    /// One router per family, as on the wire.
    fn of_instance<'a>(
        link: &'a Link,
        instance: &'a VrrpInstance,
    ) -> impl Iterator<Item = Self> + 'a {
        [true, false].into_iter().filter_map(move |ipv4| {
            let addresses: Vec<VirtualAddress> = instance
                .virtual_ips
                .iter()
                .filter(|cidr| cidr.address.is_ipv4() == ipv4)
                .map(|cidr| VirtualAddress {
                    address: cidr.address,
                    prefix_length: cidr.prefix_length,
                })
                .collect();
            let version = match instance.version {
                VrrpVersion::V2 if ipv4 => Version::V2,
                _ => Version::V3,
            };
            let authentication = match version {
                Version::V2 => Authentication::password(&instance.auth_pass),
                Version::V3 => Authentication::None,
            };
            (!addresses.is_empty()).then(|| Self {
                link: link.clone(),
                id: instance.virtual_router_id,
                version,
                addresses,
                agreed: Some(Agreed { interval: instance.advert_interval, authentication }),
            })
        })
    }

    /// Its virtual addresses, without prefix lengths.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.addresses.iter().map(|address| address.address).collect()
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.addresses.iter().all(|address| address.address.is_ipv4())
    }
}

/// Whether the router can live on its interface. `found` are the addresses of this host.
pub(crate) fn check(router: &Router, found: &[Found]) -> Option<Finding> {
    let Link { name, index, up, .. } = &router.link;
    if !up {
        return Some(
            Finding::error(CHECK, format!("{name} is down or has no carrier"))
                .because("no virtual IP can be held on it")
                .advise(format!(
                    "`ip link set {name} up`, and look at the cable or the hypervisor"
                )),
        );
    }
    // Over IPv6, routers speak from their link-local addresses (RFC 9568 section 5.1.2.1).
    let speaks = |address: IpAddr| match address {
        IpAddr::V4(_) => router.is_ipv4(),
        IpAddr::V6(address) => !router.is_ipv4() && address.is_unicast_link_local(),
    };
    let own = |it: &&Found| it.link_index == *index && !it.ours && speaks(it.address);
    let mut own = found.iter().filter(own).map(|it| it.address);
    if own.any(|address| !router.addresses().contains(&address)) {
        return None;
    }
    let family = if router.is_ipv4() { "IPv4" } else { "IPv6 link-local" };
    Some(
        Finding::error(CHECK, format!("{name} has no {family} address of its own"))
            .because("VRRP is spoken from such an address, and the daemon refuses to start")
            .advise("give the interface one, or name another interface in the document"),
    )
}

fn selector(interface: &Interface) -> Selector {
    match interface {
        Interface::DefaultRoute => Selector::DefaultRoute,
        Interface::Name(name) => Selector::Name(name.clone()),
        Interface::Mac(mac) => Selector::Mac(Mac(*mac)),
    }
}
