use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use config::{ControlPlaneLoadBalancing, Interface, VrrpInstance, VrrpVersion};
use kernel::address::VirtualAddress;
use kernel::link::{self, Link, Mac, Selector};
use kernel::netlink::{Protocol, Socket};
use vrrp::{Checksum, ChecksumChoice};

use crate::error::Error;

/// An instance of the document, with its interface found.
#[derive(Clone, Debug)]
pub(super) struct Instance<'a> {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) wanted: &'a VrrpInstance,
}

/// The instances of the document on this machine.
pub(super) fn on_this_machine(
    cplb: &ControlPlaneLoadBalancing,
) -> Result<Vec<Instance<'_>>, Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let found = cplb.vrrp_instances.iter().enumerate().map(|(index, wanted)| {
        let link = link::find(&mut socket, &selector(&wanted.interface))?;
        Ok(Instance { name: format!("cplb-vip-{index}"), link, wanted })
    });
    found.collect()
}

/// The virtual routers, one per family of each instance.
pub(super) fn virtual_routers(
    instances: &[Instance<'_>],
    virtual_addresses: &[IpAddr],
) -> Result<Vec<vip::Instance>, Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut virtual_routers = Vec::new();
    for Instance { name, link, wanted } in instances {
        for ipv4 in [true, false] {
            if wanted.virtual_ips.iter().any(|cidr| cidr.address.is_ipv4() == ipv4) {
                let source = source(&mut socket, name, link, wanted, ipv4, virtual_addresses)?;
                virtual_routers.push(virtual_router(name, link, wanted, source));
            }
        }
    }
    Ok(virtual_routers)
}

/// Keep virtual IPv6 addresses from being source addresses.
pub(super) fn address_labels(cplb: &ControlPlaneLoadBalancing) -> BTreeMap<Ipv6Addr, u32> {
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
        preempt_delay: instance.preempt_delay,
        startup_delay: instance.startup_delay,
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
