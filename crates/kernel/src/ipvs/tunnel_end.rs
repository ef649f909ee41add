use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rustix::io::Errno;

use super::Error;
use crate::dummy;
use crate::link::{self, Link};
use crate::netlink::{Message, Protocol, Socket};

/// The interface that unpacks what a director sends by [`Tunnel`](super::Forwarding::Tunnel), for
/// every sender (ip-tunnel(8)). The kernel makes it with the module of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TunnelEnd {
    /// `tunl0`, IPv4 in IPv4.
    V4,
    /// `ip6tnl0`, IPv6 in IPv6.
    V6,
}

impl TunnelEnd {
    /// The one for real servers of the family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The name of the interface.
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "tunl0",
            Self::V6 => "ip6tnl0",
        }
    }

    /// Whether it is administratively up.
    pub fn is_on(self) -> Result<bool, Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        Ok(self.find(&mut socket)?.is_some_and(|link| link.up))
    }

    /// Has the kernel make it, where it is not there, and switches it on. Says whether anything
    /// had to be changed.
    ///
    /// Without any IPv4 address, a strict or loose check of sources (`rp_filter`) drops all that
    /// comes by an interface. Where it has none, it gets `address`, which is one of those that
    /// packets in the tunnel are sent to.
    pub fn switch_on(self, address: IpAddr) -> Result<bool, Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        let there = self.find(&mut socket)?;
        let was_on = there.as_ref().is_some_and(|link| link.up);
        let link = match there {
            Some(link) => link,
            None => self.create(&mut socket)?,
        };
        if !was_on {
            self.set_flags(LinkFlags::Up)?;
        }
        let has_one = self == Self::V6
            || link::addresses(&mut socket, link.index)?.iter().any(|it| it.address.is_ipv4());
        if !has_one {
            dummy::add_for_good(&mut socket, &link, address)?;
        }
        Ok(!was_on || !has_one)
    }

    /// Takes our address off it again; no error where it has none.
    pub fn take_address_off(self) -> Result<(), Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        let Some(link) = self.find(&mut socket)? else { return Ok(()) };
        for found in link::addresses(&mut socket, link.index)?.iter().filter(|it| it.ours) {
            dummy::remove_address(&mut socket, found)?;
        }
        Ok(())
    }

    /// Switches it off; no error where it is not there.
    pub fn switch_off(self) -> Result<(), Error> {
        match self.set_flags(LinkFlags::empty()) {
            Err(Error::Kernel(crate::Error::NoSuchLink { .. })) => Ok(()),
            outcome => outcome,
        }
    }

    fn find(self, socket: &mut Socket) -> Result<Option<Link>, Error> {
        Ok(link::list(socket)?.into_iter().find(|link| link.name == self.name()))
    }

    fn create(self, socket: &mut Socket) -> Result<Link, Error> {
        let kind = match self {
            Self::V4 => InfoKind::IpIp,
            Self::V6 => InfoKind::Ip6Tnl,
        };
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(self.name().to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        let message =
            Message::typed(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        let outcome = socket.request(&message, format_args!("make the interface {}", self.name()));
        match outcome.as_ref().map_err(crate::Error::errno) {
            // Asking for it loads the module, and that has it made already.
            Ok(()) | Err(Some(Errno::EXIST)) => {}
            Err(Some(Errno::OPNOTSUPP)) => return Err(Error::NoTunnel { end: self.name() }),
            Err(_) => outcome?,
        }
        self.find(socket)?.ok_or(Error::NoTunnel { end: self.name() })
    }

    fn set_flags(self, flags: LinkFlags) -> Result<(), Error> {
        let mut socket = Socket::open(Protocol::Route)?;
        let selector = link::Selector::Name(self.name().to_owned());
        let mut message = LinkMessage::default();
        message.header.index = link::find(&mut socket, &selector)?.index;
        message.header.flags = flags;
        message.header.change_mask = LinkFlags::Up;
        Ok(socket.request(
            &Message::typed(&RouteNetlinkMessage::SetLink(message), 0),
            format_args!("switch the interface {} on or off", self.name()),
        )?)
    }
}
