//! Virtual addresses that take themselves away: each has a short lifetime in the kernel and stays
//! only as long as somebody alive renews it.

mod cidr;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

pub use self::cidr::{CidrError, VirtualAddress};
use crate::Error;
use crate::netlink::{Message, Protocol, Received, Socket};

/// The mark of our addresses (IFA_PROTO, `proto 203` in `ip address`). It is in nobody's use: not
/// in rt_protos, and keepalived takes 18.
pub const MARK: u8 = 203;

/// Puts virtual addresses on interfaces of one network namespace, and takes them off.
///
/// Dropping it leaves the addresses to their lifetime.
#[derive(Debug)]
pub struct Addresses {
    socket: Socket,
    held: HashSet<(u32, VirtualAddress)>,
}

/// An address of an interface, as found in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The index of the interface.
    pub link_index: u32,
    /// The address itself.
    pub address: IpAddr,
    /// 0 to 32, or 0 to 128.
    pub prefix_length: u8,
    /// It carries [`MARK`]. Never so on kernels before 5.18, which know no IFA_PROTO.
    pub ours: bool,
    /// What is left of its lifetime, in whole seconds; `None` for ever.
    pub valid_for: Option<Duration>,
    /// IPv4: an older address of the interface is in the same subnet.
    pub secondary: bool,
    /// IPv6: not usable yet, duplicate address detection is under way.
    pub tentative: bool,
    /// IPv6: another host has it, duplicate address detection found out.
    pub dad_failed: bool,
}

impl Addresses {
    /// Opens a netlink socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Protocol::Route)?, held: HashSet::new() })
    }

    /// Takes an address for ours that another process of ours has held until now, mark or no mark:
    /// [`Addresses::hold`] renews it.
    pub fn adopt(&mut self, link_index: u32, address: &VirtualAddress) {
        self.held.insert((link_index, *address));
    }

    /// Puts the address on the interface, or renews it, for `lifetime` from now.
    ///
    /// The kernel counts whole seconds: a fraction is cut off, and less than one second is one. It
    /// looks for outlived addresses in its own time, at least a second apart. Measured (Linux 6.18,
    /// both families), the address is gone after `lifetime` and up to 0.65 s more where all
    /// addresses are renewed together, and up to 1.2 s more where others end shortly before. So a
    /// lifetime of one second is needed to be rid of the address within three in every case.
    ///
    /// Renewing takes about 20 microseconds, unless other programs change the network at that
    /// time: the kernel makes all changes one after the other.
    ///
    /// The address can be used at once (IPv6: no duplicate address detection), but is never chosen
    /// as the source of a connection where there is another (preferred lifetime 0). An IPv6 address
    /// adds no route to its prefix; an IPv4 address does when it is the first one in its subnet.
    ///
    /// [`Error::AddressNotOurs`] when the interface has the address already and without our mark.
    /// Kernels before 5.18 keep no mark: there an address that an earlier process has left is in
    /// the way until its lifetime ends.
    pub fn hold(
        &mut self,
        link_index: u32,
        address: &VirtualAddress,
        lifetime: Duration,
    ) -> Result<(), Error> {
        let key = (link_index, *address);
        if self.held.contains(&key) {
            return self.set(link_index, address, lifetime, NLM_F_REPLACE);
        }
        match self.set(link_index, address, lifetime, NLM_F_EXCL) {
            Err(error) if error.errno() == Some(Errno::EXIST) => {
                if !self.is_ours(link_index, address)? {
                    return Err(Error::AddressNotOurs { address: address.to_string(), link_index });
                }
                self.set(link_index, address, lifetime, NLM_F_REPLACE)?;
            }
            outcome => outcome?,
        }
        self.held.insert(key);
        Ok(())
    }

    /// Takes the address off the interface at once; `false` when it was not there or is not ours.
    ///
    /// IPv4: should it be the first address in its subnet, the kernel takes the later ones along
    /// unless `net.ipv4.conf.*.promote_secondaries` is 1, which systemd sets.
    pub fn release(&mut self, link_index: u32, address: &VirtualAddress) -> Result<bool, Error> {
        if !self.held.remove(&(link_index, *address)) && !self.is_ours(link_index, address)? {
            return Ok(false);
        }
        self.delete(link_index, address)
    }

    /// Takes an address off the interface that another program has put there; `false` when it was
    /// not there.
    pub fn remove(&mut self, link_index: u32, address: &VirtualAddress) -> Result<bool, Error> {
        self.delete(link_index, address)
    }

    /// Every address of every interface.
    pub fn list(&mut self) -> Result<Vec<Found>, Error> {
        list(&mut self.socket)
    }

    /// Takes off every address that carries [`MARK`], and says which these were: the clean-up
    /// after a crash.
    pub fn release_ours(&mut self) -> Result<Vec<Found>, Error> {
        let mut released = Vec::new();
        for found in self.list()?.into_iter().filter(|found| found.ours) {
            let address = found.virtual_address();
            self.held.remove(&(found.link_index, address));
            if self.delete(found.link_index, &address)? {
                released.push(found);
            }
        }
        Ok(released)
    }

    fn set(
        &mut self,
        link_index: u32,
        address: &VirtualAddress,
        lifetime: Duration,
        flags: u16,
    ) -> Result<(), Error> {
        let mut message = bare_message(link_index, address);
        let seconds = lifetime.as_secs().clamp(1, u64::from(u32::MAX) - 1);
        let mut cache_info = CacheInfo::default();
        cache_info.ifa_valid = seconds as u32;
        message.attributes.push(AddressAttribute::CacheInfo(cache_info));
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
        if address.address.is_ipv6() {
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let message = RouteNetlinkMessage::NewAddress(message);
        self.socket.request(
            &Message::typed(&message, NLM_F_CREATE | flags),
            format_args!("add the address {address} to interface {link_index}"),
        )
    }

    fn delete(&mut self, link_index: u32, address: &VirtualAddress) -> Result<bool, Error> {
        let message = RouteNetlinkMessage::DelAddress(bare_message(link_index, address));
        let outcome = self.socket.request(
            &Message::typed(&message, 0),
            format_args!("remove the address {address} from interface {link_index}"),
        );
        match outcome {
            Ok(()) => Ok(true),
            Err(error) => match error.errno() {
                Some(Errno::ADDRNOTAVAIL | Errno::NODEV) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Whether the address that is in the way carries our mark.
    fn is_ours(&mut self, link_index: u32, address: &VirtualAddress) -> Result<bool, Error> {
        let found = self.list()?.into_iter().find(|found| {
            found.link_index == link_index
                && found.address == address.address
                // The kernel tells IPv6 addresses apart by the address alone.
                && (found.address.is_ipv6() || found.prefix_length == address.prefix_length)
        });
        Ok(found.is_some_and(|found| found.ours))
    }
}

/// Every address in the socket's network namespace.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<Found>, Error> {
    let message = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    socket.dump(&Message::typed(&message, 0), "list the addresses", |received| {
        Ok(Found::parse(received))
    })
}

impl Found {
    /// Reads RTM_NEWADDR and RTM_DELADDR; `None` for families other than IPv4 and IPv6.
    pub(crate) fn parse(received: &Received<'_>) -> Option<Self> {
        let message = AddressMessage::parse(received.body).ok()?;
        let mut found = Self {
            link_index: message.header.index,
            address: IpAddr::from([0; 4]),
            prefix_length: message.header.prefix_len,
            ours: false,
            valid_for: None,
            secondary: false,
            tentative: false,
            dad_failed: false,
        };
        let (mut local, mut peer) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Local(address) => local = Some(address),
                AddressAttribute::Address(address) => peer = Some(address),
                AddressAttribute::Protocol(protocol) => found.ours = u8::from(protocol) == MARK,
                AddressAttribute::CacheInfo(info) if info.ifa_valid != u32::MAX => {
                    found.valid_for = Some(Duration::from_secs(info.ifa_valid.into()));
                }
                AddressAttribute::Flags(flags) => {
                    found.secondary = flags.contains(AddressFlags::Secondary);
                    found.tentative = flags.contains(AddressFlags::Tentative);
                    found.dad_failed = flags.contains(AddressFlags::Dadfailed);
                }
                _ => {}
            }
        }
        // On a point-to-point link IFA_ADDRESS is the other end (linux/if_addr.h).
        found.address = local.or(peer)?;
        Some(found)
    }

    /// The address with its prefix length.
    pub fn virtual_address(&self) -> VirtualAddress {
        VirtualAddress { address: self.address, prefix_length: self.prefix_length }
    }
}

/// What identifies an address, for adding and for removing it.
pub(crate) fn bare_message(link_index: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_length;
    message.header.index = link_index;
    message.attributes =
        vec![AddressAttribute::Local(address.address), AddressAttribute::Address(address.address)];
    message
}

#[cfg(test)]
mod tests;
