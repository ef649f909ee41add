//! From a checked document and this machine to what is wanted here.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::{ControlPlaneKind, ControlPlaneLoadBalancing, Interface, VrrpInstance, VrrpVersion};
use kernel::address::VirtualAddress;
use kernel::link::{self, Link, Mac, Selector};
use kernel::netlink::{Protocol, Socket};
use kernel::redirect::{Method, Rule};
use vrrp::{Checksum, ChecksumChoice};

use crate::cli::{Controller, VrrpEngine};
use crate::error::Error;

/// Everything a controller is to bring about on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The virtual routers, one per family of each instance.
    pub(crate) virtual_routers: Vec<vip::Instance>,
    /// Keep virtual IPv6 addresses from being source addresses.
    pub(crate) address_labels: BTreeMap<Ipv6Addr, u32>,
    /// Other control plane nodes that the document names.
    pub(crate) peers: Vec<IpAddr>,
    /// How long a hand-over waits for an heir.
    pub(crate) patience: Duration,
    /// `None` where the user brings a load balancer.
    pub(crate) balancer: Option<BalancerPlan>,
}

/// The load balancer behind the virtual addresses.
#[derive(Clone, Debug)]
pub(crate) struct BalancerPlan {
    pub(crate) proxy: proxy::Settings,
    pub(crate) backends: backends::Settings,
    /// Empty where the document wants no redirect.
    pub(crate) redirects: Vec<Rule>,
    pub(crate) redirect_by: Method,
    pub(crate) drain: Duration,
}

impl Plan {
    /// Looks up interfaces and addresses, and refuses what cannot be done here. Changes nothing.
    pub(crate) fn new(settings: &config::Settings, arguments: &Controller) -> Result<Self, Error> {
        let cplb = wanted(settings, arguments)?;
        let virtual_addresses: Vec<IpAddr> = cplb
            .vrrp_instances
            .iter()
            .flat_map(|instance| &instance.virtual_ips)
            .map(|cidr| cidr.address)
            .collect();

        let mut socket = Socket::open(Protocol::Route)?;
        let mut virtual_routers = Vec::new();
        for (index, instance) in cplb.vrrp_instances.iter().enumerate() {
            let link = link::find(&mut socket, &selector(&instance.interface))?;
            let name = format!("cplb-vip-{index}");
            for ipv4 in [true, false] {
                if instance.virtual_ips.iter().any(|cidr| cidr.address.is_ipv4() == ipv4) {
                    let source =
                        source(&mut socket, &name, &link, instance, ipv4, &virtual_addresses)?;
                    virtual_routers.push(virtual_router(&name, &link, instance, source));
                }
            }
        }

        let slowest = cplb.vrrp_instances.iter().map(|i| i.advert_interval).max();
        Ok(Self {
            virtual_routers,
            address_labels: address_labels(cplb),
            peers: cplb.vrrp_instances.iter().flat_map(|i| i.unicast_peers.clone()).collect(),
            // A heir that follows the RFC to the letter waits for its down interval.
            patience: slowest.unwrap_or_default() * 4 + Duration::from_secs(1),
            balancer: (!cplb.disable_load_balancer)
                .then(|| balancer(settings, cplb, arguments, virtual_addresses)),
        })
    }
}

/// The block to bring about, or what stands against it.
fn wanted<'a>(
    settings: &'a config::Settings,
    arguments: &Controller,
) -> Result<&'a ControlPlaneLoadBalancing, Error> {
    let file = arguments.config.display();
    let unsupported = |text: String| Err(Error::Unsupported(text));
    let Some(cplb) = settings.control_plane_load_balancing.as_ref().filter(|cplb| cplb.enabled)
    else {
        return unsupported(format!(
            "{file}: controlPlaneLoadBalancing is not enabled, so there is nothing to do: set enabled: true in spec.network.controlPlaneLoadBalancing"
        ));
    };
    let engine = arguments.vrrp.unwrap_or(match cplb.kind {
        ControlPlaneKind::Builtin => VrrpEngine::Builtin,
        ControlPlaneKind::Keepalived => VrrpEngine::Keepalived,
    });
    if engine == VrrpEngine::Keepalived {
        return unsupported(format!(
            "{file}: this version does not run keepalived: use --vrrp builtin or `type: Builtin`, which is the same on the wire and needs nothing installed"
        ));
    }
    if !cplb.virtual_servers.is_empty() {
        return unsupported(format!(
            "{file}: this version does not balance by IPVS: take the section virtualServers out, and the built-in proxy balances port {}",
            settings.api.port
        ));
    }
    Ok(cplb)
}

fn address_labels(cplb: &ControlPlaneLoadBalancing) -> BTreeMap<Ipv6Addr, u32> {
    let labels = cplb.vrrp_instances.iter().flat_map(|instance| {
        instance.virtual_ips.iter().map(|cidr| (cidr.address, instance.address_label))
    });
    let of_ipv6 = |(address, label)| match address {
        IpAddr::V6(address) => Some((address, label)),
        IpAddr::V4(_) => None,
    };
    labels.filter_map(of_ipv6).collect()
}

fn selector(interface: &Interface) -> Selector {
    match interface {
        Interface::DefaultRoute => Selector::DefaultRoute,
        Interface::Name(name) => Selector::Name(name.clone()),
        Interface::Mac(mac) => Selector::Mac(Mac(*mac)),
    }
}

/// The address that the router speaks from: the interface's own, never a virtual one.
fn source(
    socket: &mut Socket,
    name: &str,
    link: &Link,
    instance: &VrrpInstance,
    ipv4: bool,
    virtual_addresses: &[IpAddr],
) -> Result<IpAddr, Error> {
    if let Some(source) = instance.unicast_source_ip.filter(|source| source.is_ipv4() == ipv4) {
        return Ok(source);
    }
    // Over IPv6, routers speak from their link-local addresses (RFC 9568 section 5.1.2.1).
    let speaks = |address: IpAddr| match address {
        IpAddr::V4(_) => ipv4,
        IpAddr::V6(address) => !ipv4 && address.is_unicast_link_local(),
    };
    link::addresses(socket, link.index)?
        .iter()
        .filter(|found| !found.secondary && !found.ours)
        .map(|found| found.address)
        .find(|address| speaks(*address) && !virtual_addresses.contains(address))
        .ok_or_else(|| Error::NoSource {
            instance: name.to_owned(),
            interface: link.name.clone(),
            family: if ipv4 { "IPv4" } else { "IPv6 link-local" },
        })
}

fn virtual_router(
    name: &str,
    link: &Link,
    instance: &VrrpInstance,
    source: IpAddr,
) -> vip::Instance {
    let of_family = |address: &IpAddr| address.is_ipv4() == source.is_ipv4();
    let addresses: Vec<VirtualAddress> = instance
        .virtual_ips
        .iter()
        .filter(|cidr| of_family(&cidr.address))
        .map(|cidr| VirtualAddress { address: cidr.address, prefix_length: cidr.prefix_length })
        .collect();
    // IPv6 exists in version 3 only, and version 3 has no passwords.
    let version = match instance.version {
        VrrpVersion::V2 if source.is_ipv4() => vrrp::Version::V2,
        _ => vrrp::Version::V3,
    };
    let router = vrrp::Settings {
        virtual_router_id: instance.virtual_router_id,
        version,
        priority: instance.priority,
        interval: instance.advert_interval,
        preempt: instance.preempt,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        authentication: match version {
            vrrp::Version::V2 => vrrp::Authentication::password(&instance.auth_pass),
            vrrp::Version::V3 => vrrp::Authentication::None,
        },
        checksum: match instance.checksum {
            config::Checksum::Auto => ChecksumChoice::Auto,
            config::Checksum::Keepalived => ChecksumChoice::Fixed(Checksum::PseudoHeader),
            config::Checksum::Rfc9568 => ChecksumChoice::Fixed(Checksum::MessageOnly),
        },
        source,
        unicast_peers: instance.unicast_peers.iter().copied().filter(of_family).collect(),
        addresses: addresses.iter().map(|address| address.address).collect(),
    };
    vip::Instance { name: name.to_owned(), link: link.clone(), router, addresses }
}

fn balancer(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    arguments: &Controller,
    virtual_addresses: Vec<IpAddr>,
) -> BalancerPlan {
    let port = cplb.user_space_proxy_bind_port;
    let health = cplb.load_balancer.health_check;
    let local = match settings.api.address.filter(|_| settings.api.only_bind_to_address) {
        Some(address) => address,
        None => Ipv4Addr::LOCALHOST.into(),
    };
    let redirects = match cplb.load_balancer.redirect {
        config::Redirect::None => Vec::new(),
        _ => virtual_addresses
            .iter()
            .map(|vip| Rule { vip: *vip, port: settings.api.port, to: port })
            .collect(),
    };
    let defaults = proxy::Settings::default();
    BalancerPlan {
        proxy: proxy::Settings {
            listen: vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
            max_connections: cplb
                .load_balancer
                .max_connections
                .map_or(defaults.max_connections, |most| most as usize),
            ..defaults
        },
        backends: backends::Settings {
            kubeconfig: arguments.kubeconfig.clone(),
            kubeconfig_may_appear: arguments.wait_for_kubeconfig,
            static_servers: arguments.apiservers.clone(),
            local: Some(SocketAddr::new(local, settings.api.port)),
            cache: Some(arguments.state_dir.join("apiservers.json")),
            virtual_addresses,
            proxy_port: port,
            health: backends::HealthSettings {
                interval: health.interval,
                timeout: health.timeout,
                fall: health.fall,
                rise: health.rise,
            },
        },
        redirects,
        redirect_by: match cplb.load_balancer.redirect {
            config::Redirect::Auto | config::Redirect::None => Method::Auto,
            config::Redirect::Nftables => Method::Nftables,
            config::Redirect::Iptables => Method::Iptables,
        },
        drain: cplb.load_balancer.drain_timeout,
    }
}
