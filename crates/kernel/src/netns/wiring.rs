//! Interfaces, addresses and routes of the calling thread's network namespace.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Namespace;
use crate::Error;
use crate::address::{VirtualAddress, bare_message};
use crate::link::{Selector, find};
use crate::netlink::{Message, Protocol, Socket};

/// Makes an Ethernet bridge that passes every multicast on, down at first.
pub fn create_bridge(name: &str) -> Result<(), Error> {
    let mut link = named(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Bridge),
        LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
    ]));
    create(link, format_args!("make the bridge {name}"))
}

/// Makes a virtual cable, both ends down: `name` here, `peer_name` in the other namespace.
pub fn create_veth(name: &str, peer_name: &str, peer_namespace: &Namespace) -> Result<(), Error> {
    let mut peer = named(peer_name);
    peer.attributes.push(LinkAttribute::NetNsFd(peer_namespace.as_fd().as_raw_fd()));
    let mut link = named(name);
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    create(link, format_args!("make the cable from {name} to {peer_name}"))
}

/// Switches an interface on.
pub fn set_up(name: &str) -> Result<(), Error> {
    set_flags(name, LinkFlags::Up, format_args!("switch on the interface {name}"))
}

/// Switches an interface off; its routes and IPv6 addresses go.
pub fn set_down(name: &str) -> Result<(), Error> {
    set_flags(name, LinkFlags::empty(), format_args!("switch off the interface {name}"))
}

/// Makes an interface a port of a bridge.
pub fn set_master(name: &str, master: &str) -> Result<(), Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut link = existing(&mut socket, name)?;
    let master_index = index(&mut socket, master)?;
    link.attributes.push(LinkAttribute::Controller(master_index));
    socket.request(
        &Message::typed(&RouteNetlinkMessage::SetLink(link), 0),
        format_args!("make the interface {name} a port of {master}"),
    )
}

/// Gives an interface an address for good, usable at once.
pub fn add_address(name: &str, address: &VirtualAddress) -> Result<(), Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut message = bare_message(index(&mut socket, name)?, address);
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    socket.request(
        &Message::typed(&RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL),
        format_args!("add the address {address} to the interface {name}"),
    )
}

/// Adds a default route by a gateway on one of the connected subnets.
pub fn add_default_route(gateway: IpAddr) -> Result<(), Error> {
    let (family, via) = match gateway {
        IpAddr::V4(address) => (AddressFamily::Inet, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, RouteAddress::Inet6(address)),
    };
    let mut route = RouteMessage::default();
    route.header.address_family = family;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes.push(RouteAttribute::Gateway(via));
    Socket::open(Protocol::Route)?.request(
        &Message::typed(&RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL),
        format_args!("add the default route by {gateway}"),
    )
}

/// Removes an interface; of a virtual cable both ends go.
pub fn delete_link(name: &str) -> Result<(), Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let link = existing(&mut socket, name)?;
    socket.request(
        &Message::typed(&RouteNetlinkMessage::DelLink(link), 0),
        format_args!("remove the interface {name}"),
    )
}

/// Lets IPv6 addresses of interfaces made from now on be usable at once (`accept_dad`).
pub fn disable_duplicate_address_detection() -> Result<(), Error> {
    for scope in ["all", "default"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/accept_dad"), "0") {
            // No IPv6 in this kernel, so nothing to detect.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome
                .map_err(|error| Error::system("switch off duplicate address detection", error))?,
        }
    }
    Ok(())
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn create(link: LinkMessage, purpose: impl std::fmt::Display) -> Result<(), Error> {
    let message = RouteNetlinkMessage::NewLink(link);
    let message = Message::typed(&message, NLM_F_CREATE | NLM_F_EXCL);
    Socket::open(Protocol::Route)?.request(&message, purpose)
}

fn set_flags(name: &str, flags: LinkFlags, purpose: impl std::fmt::Display) -> Result<(), Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut link = existing(&mut socket, name)?;
    link.header.flags = flags;
    link.header.change_mask = LinkFlags::Up;
    socket.request(&Message::typed(&RouteNetlinkMessage::SetLink(link), 0), purpose)
}

fn existing(socket: &mut Socket, name: &str) -> Result<LinkMessage, Error> {
    let mut link = LinkMessage::default();
    link.header.index = index(socket, name)?;
    Ok(link)
}

fn index(socket: &mut Socket, name: &str) -> Result<u32, Error> {
    Ok(find(socket, &Selector::Name(name.to_owned()))?.index)
}
