//! A link of kind dummy that carries virtual addresses for good, so that this machine accepts what
//! an IPVS director sends it by direct routing or through a tunnel.
//!
//! The link is ours by its alias, [`ALIAS`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rustix::io::Errno;

use crate::address::{Found, MARK, VirtualAddress, bare_message};
use crate::link::{self, Link};
use crate::netlink::{Message, Protocol, Received, Socket};
use crate::{Error as KernelError, sysctl};

/// The mark of our links (IFLA_IFALIAS, `alias cplb` in `ip link`).
pub const ALIAS: &str = "cplb";

/// The link of one name in one network namespace.
///
/// Dropping it leaves the link where it is: [`Dummy::remove`] takes it away.
#[derive(Debug)]
pub struct Dummy {
    socket: Socket,
    name: String,
}

/// Why the link cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another program's interface has the name.
    #[error(
        "the interface {name} is not a dummy link{}: rename it or remove it with `ip link del {name}`",
        kind.as_ref().map_or(String::new(), |kind| format!(" but of kind {kind}"))
    )]
    NotADummy {
        /// The name.
        name: String,
        /// What it is, where it is a virtual interface.
        kind: Option<String>,
    },

    /// The kernel cannot make dummy links.
    #[error(
        "this kernel cannot make the link {name} of kind dummy: run `modprobe dummy`; where that fails, the kernel was built without CONFIG_DUMMY"
    )]
    NoDummyLinks {
        /// The name.
        name: String,
    },

    /// The kernel refused or could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl Dummy {
    /// Opens a netlink socket in the network namespace of the calling thread. `name` is at most 15
    /// bytes.
    pub fn open(name: &str) -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Protocol::Route)?, name: name.to_owned() })
    }

    /// Brings about the link, up, with just the `wanted` addresses, each as /32 or /128. What is
    /// right already stays untouched. Says whether anything had to be changed.
    ///
    /// A dummy link of this name that another program left is taken over. IPv4 addresses have the
    /// scope "host", IPv6 addresses the preferred lifetime 0: so none is chosen as the source of a
    /// connection to somebody else.
    pub fn reconcile(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<bool, Error> {
        let (link, mut changed) = match self.find()? {
            Some(found) => {
                self.check_kind(&found.link)?;
                let right = found.alias.as_deref() == Some(ALIAS) && found.up;
                (found.link, !right)
            }
            None => (self.create()?, true),
        };
        if changed {
            self.mark_and_switch_on(link.index)?;
        }
        let found = link::addresses(&mut self.socket, link.index)?;
        for surplus in found.iter().filter(|found| !is_wanted(found, wanted)) {
            remove_address(&mut self.socket, surplus)?;
            changed = true;
        }
        for address in wanted {
            let there = |found: &Found| found.address == *address && is_wanted(found, wanted);
            if !found.iter().any(there) {
                add_for_good(&mut self.socket, &link, *address)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Removes the link if it carries our mark; `false` when there is none of ours.
    pub fn remove(&mut self) -> Result<bool, Error> {
        let Some(found) = self.find()? else { return Ok(false) };
        if found.alias.as_deref() != Some(ALIAS) || found.link.kind.as_deref() != Some("dummy") {
            return Ok(false);
        }
        let mut message = LinkMessage::default();
        message.header.index = found.link.index;
        let outcome = self.socket.request(
            &Message::typed(&RouteNetlinkMessage::DelLink(message), 0),
            format_args!("remove the link {}", self.name),
        );
        match outcome {
            Err(error) if error.errno() == Some(Errno::NODEV) => Ok(false),
            outcome => Ok(outcome.map(|()| true)?),
        }
    }

    fn find(&mut self) -> Result<Option<FoundLink>, Error> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links =
            self.socket.dump(&Message::typed(&message, 0), "list the interfaces", |received| {
                Ok(FoundLink::parse(received))
            })?;
        Ok(links.into_iter().find(|found| found.link.name == self.name))
    }

    fn check_kind(&self, link: &Link) -> Result<(), Error> {
        if link.kind.as_deref() == Some("dummy") {
            return Ok(());
        }
        Err(Error::NotADummy { name: self.name.clone(), kind: link.kind.clone() })
    }

    fn create(&mut self) -> Result<Link, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(self.name.clone()));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]));
        let message =
            Message::typed(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL);
        self.socket.request(&message, format_args!("make the link {}", self.name)).map_err(
            |source| match source.errno() {
                Some(Errno::OPNOTSUPP) => Error::NoDummyLinks { name: self.name.clone() },
                _ => Error::Kernel(source),
            },
        )?;
        // Without a link-local address of its own: just the wanted addresses, also while it is up.
        sysctl::write(&format!("net/ipv6/conf/{}/addr_gen_mode", self.name), "1")?;
        let found = self.find()?.ok_or_else(|| Error::NoDummyLinks { name: self.name.clone() })?;
        Ok(found.link)
    }

    fn mark_and_switch_on(&mut self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes.push(LinkAttribute::IfAlias(ALIAS.to_owned()));
        Ok(self.socket.request(
            &Message::typed(&RouteNetlinkMessage::SetLink(message), 0),
            format_args!("switch on the link {}", self.name),
        )?)
    }
}

/// Puts a virtual address on a link for good, for itself alone (/32 or /128), marked as ours.
pub(crate) fn add_for_good(
    socket: &mut Socket,
    link: &Link,
    address: IpAddr,
) -> Result<(), KernelError> {
    let address = host_address(address);
    let mut message = bare_message(link.index, &address);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    if address.address.is_ipv4() {
        message.header.scope = AddressScope::Host;
    } else {
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
        let mut lifetimes = CacheInfo::default();
        lifetimes.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
    }
    let message = RouteNetlinkMessage::NewAddress(message);
    socket.request(
        &Message::typed(&message, NLM_F_CREATE | NLM_F_EXCL),
        format_args!("add the address {address} to the link {}", link.name),
    )
}

/// Takes an address off a link; no error where it is gone already.
pub(crate) fn remove_address(socket: &mut Socket, found: &Found) -> Result<(), KernelError> {
    let address = found.virtual_address();
    let message = RouteNetlinkMessage::DelAddress(bare_message(found.link_index, &address));
    let outcome = socket.request(
        &Message::typed(&message, 0),
        format_args!("remove the address {address} from link {}", found.link_index),
    );
    match outcome {
        Err(error) if error.errno() == Some(Errno::ADDRNOTAVAIL) => Ok(()),
        outcome => outcome,
    }
}

/// A wanted address in the form that it is wanted in, whoever put it there.
fn is_wanted(found: &Found, wanted: &BTreeSet<IpAddr>) -> bool {
    wanted.contains(&found.address)
        && found.valid_for.is_none()
        && found.virtual_address() == host_address(found.address)
}

fn host_address(address: IpAddr) -> VirtualAddress {
    let prefix_length = if address.is_ipv4() { 32 } else { 128 };
    VirtualAddress { address, prefix_length }
}

/// A link with what only this module asks of it.
struct FoundLink {
    link: Link,
    alias: Option<String>,
    /// Administratively.
    up: bool,
}

impl FoundLink {
    fn parse(received: &Received<'_>) -> Option<Self> {
        let link = Link::parse(received)?;
        /// `struct ifinfomsg`.
        const HEADER_BYTES: usize = 16;
        let flags = received.body.get(8..12)?.try_into().ok().map(u32::from_ne_bytes)?;
        let alias = received
            .attributes(HEADER_BYTES)
            .find(|(kind, _)| *kind == libc::IFLA_IFALIAS)
            .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        Some(Self { link, alias, up: flags & libc::IFF_UP as u32 != 0 })
    }
}

#[cfg(test)]
mod tests;
