//! Network interfaces: which there are, and which one a configuration means.

mod mac;
mod select;

use std::fmt;
use std::str::FromStr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

pub use self::mac::{Mac, MacError};
use crate::Error;
use crate::address::{self, Found};
use crate::netlink::{Message, Received, Socket, attributes};

/// A network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The number of the interface, never reused while it exists.
    pub index: u32,
    /// Its name, "eth0".
    pub name: String,
    /// Its Ethernet address; loopback and tunnels have none.
    pub mac: Option<Mac>,
    /// Administratively up, and with a carrier.
    pub up: bool,
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The kind of a virtual interface: "veth", "bond", "vlan", "bridge".
    pub kind: Option<String>,
    /// The index of the bond or bridge that it is a port of.
    pub master: Option<u32>,
    /// The index of the interface below it, as with a VLAN or macvlan.
    pub lower: Option<u32>,
}

/// How a configuration names an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// By its name.
    Name(String),
    /// By its Ethernet address.
    Mac(Mac),
    /// The interface that the default route leaves by.
    DefaultRoute,
}

/// Finds the interface that the selector means.
///
/// - The default route is a route to everything (prefix length 0) in the main table; the lowest
///   metric wins, IPv4 before IPv6.
/// - A bond and its ports, or an interface and its VLANs, share a MAC address. Of these it is the
///   one with addresses; where several have some, or none has, the bond, or the interface below the
///   VLANs. A port is never meant.
pub fn find(socket: &mut Socket, selector: &Selector) -> Result<Link, Error> {
    select::find(socket, selector)
}

/// Every interface of the socket's network namespace.
pub fn list(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
    socket.dump(&Message::typed(&message, 0), "list the interfaces", |received| {
        Ok(Link::parse(received))
    })
}

/// The addresses of one interface.
pub fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Found>, Error> {
    let mut found = address::list(socket)?;
    found.retain(|found| found.link_index == index);
    Ok(found)
}

impl Link {
    /// Reads RTM_NEWLINK. Only the attributes of interest are looked at, so that one that a newer
    /// kernel has changed does no harm.
    ///
    /// `None` for messages about something else: a bridge speaks of its ports (AF_BRIDGE), a
    /// wireless driver of its events (no MTU).
    pub(crate) fn parse(received: &Received<'_>) -> Option<Self> {
        let header = Header::parse(received.body)?;
        if received.kind != libc::RTM_NEWLINK {
            return None;
        }
        let mut link = Self {
            index: header.index,
            name: String::new(),
            mac: None,
            up: header.flags & UP_WITH_CARRIER == UP_WITH_CARRIER,
            mtu: 0,
            kind: None,
            master: None,
            lower: None,
        };
        for (attribute, value) in received.attributes(Header::BYTES) {
            match attribute {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_ADDRESS if header.hardware == libc::ARPHRD_ETHER => {
                    link.mac = value.try_into().ok().map(Mac);
                }
                libc::IFLA_MTU => link.mtu = number(value)?,
                libc::IFLA_MASTER => link.master = number(value),
                libc::IFLA_LINK => link.lower = number(value).filter(|lower| *lower != 0),
                libc::IFLA_LINKINFO => link.kind = kind(value),
                _ => {}
            }
        }
        (link.mtu != 0 && !link.name.is_empty()).then_some(link)
    }

    /// Reads RTM_DELLINK: index and name of an interface that is no more.
    pub(crate) fn parse_gone(received: &Received<'_>) -> Option<(u32, String)> {
        let header = Header::parse(received.body)?;
        if received.kind != libc::RTM_DELLINK {
            return None;
        }
        let name = received
            .attributes(Header::BYTES)
            .find(|(attribute, _)| *attribute == libc::IFLA_IFNAME)
            .map(|(_, name)| text(name))?;
        Some((header.index, name))
    }
}

impl FromStr for Selector {
    type Err = std::convert::Infallible;

    /// An empty text means the default route, a MAC address in any spelling that address, any
    /// other text a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::DefaultRoute);
        }
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Mac))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Mac(mac) => mac.fmt(formatter),
            Self::DefaultRoute => formatter.write_str("the interface of the default route"),
        }
    }
}

/// `ifi_flags`: IFF_UP is the administrator's word, IFF_LOWER_UP the carrier (netdevice(7)).
const UP_WITH_CARRIER: u32 = (libc::IFF_UP | libc::IFF_LOWER_UP) as u32;

/// The parts of `struct ifinfomsg` that matter here.
struct Header {
    hardware: u16,
    index: u32,
    flags: u32,
}

impl Header {
    const BYTES: usize = 16;

    /// `None` for a short message and for one of a family's own (AF_BRIDGE).
    fn parse(body: &[u8]) -> Option<Self> {
        let header = body.get(..Self::BYTES)?;
        if i32::from(header[0]) != libc::AF_UNSPEC {
            return None;
        }
        Some(Self {
            hardware: u16::from_ne_bytes([header[2], header[3]]),
            index: number(&header[4..8])?,
            flags: number(&header[8..12])?,
        })
    }
}

/// IFLA_INFO_KIND inside IFLA_LINKINFO.
fn kind(nested: &[u8]) -> Option<String> {
    const IFLA_INFO_KIND: u16 = 1;
    attributes(nested)
        .find(|(attribute, _)| *attribute == IFLA_INFO_KIND)
        .map(|(_, name)| text(name))
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests;
