//! IPVS messages (linux/ip_vs.h) to bytes and back.
//!
//! Numbers are in the byte order of the host, ports in that of the network.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use netlink_packet_core::NLM_F_ACK;

use super::{Change, Destination, Forwarding, FoundDestination, Info, Persistence, Service};
use crate::netlink::{Message, Received, attributes};

/// The number under which the kernel knows IPVS until its module is unloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family(pub(super) u16);

/// `struct genlmsghdr`, before the attributes of every message.
const HEADER_BYTES: usize = 4;
const VERSION: u8 = 1;

const IPVS_CMD_NEW_SERVICE: u8 = 1;
const IPVS_CMD_SET_SERVICE: u8 = 2;
const IPVS_CMD_DEL_SERVICE: u8 = 3;
const IPVS_CMD_GET_SERVICE: u8 = 4;
const IPVS_CMD_NEW_DEST: u8 = 5;
const IPVS_CMD_SET_DEST: u8 = 6;
const IPVS_CMD_DEL_DEST: u8 = 7;
const IPVS_CMD_GET_DEST: u8 = 8;
const IPVS_CMD_GET_INFO: u8 = 15;

const IPVS_CMD_ATTR_SERVICE: u16 = 1;
const IPVS_CMD_ATTR_DEST: u16 = 2;

const IPVS_SVC_ATTR_AF: u16 = 1;
const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
const IPVS_SVC_ATTR_ADDR: u16 = 3;
const IPVS_SVC_ATTR_PORT: u16 = 4;
const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
const IPVS_SVC_ATTR_FLAGS: u16 = 7;
const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
const IPVS_SVC_ATTR_NETMASK: u16 = 9;
const IP_VS_SVC_F_PERSISTENT: u32 = 0x1;
const IP_VS_SVC_F_HASHED: u32 = 0x2;

const IPVS_DEST_ATTR_ADDR: u16 = 1;
const IPVS_DEST_ATTR_PORT: u16 = 2;
const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;

const IPVS_INFO_ATTR_VERSION: u16 = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

/// Asks the controller of generic netlink for IPVS.
pub(super) fn find_family() -> Message {
    let mut body = Body::new(libc::CTRL_CMD_GETFAMILY as u8);
    body.bytes(libc::CTRL_ATTR_FAMILY_NAME as u16, b"IPVS\0");
    Message { kind: libc::GENL_ID_CTRL as u16, flags: 0, body: body.0 }
}

pub(super) fn read_family(received: &Received<'_>) -> Option<Family> {
    let listed = received.body.get(HEADER_BYTES..)?;
    Some(Family(u16_of(find(listed, libc::CTRL_ATTR_FAMILY_ID as u16)?)?))
}

impl Family {
    pub(super) fn get_info(self) -> Message {
        self.message(Body::new(IPVS_CMD_GET_INFO))
    }

    pub(super) fn list_services(self) -> Message {
        self.message(Body::new(IPVS_CMD_GET_SERVICE))
    }

    pub(super) fn find_service(self, service: SocketAddr) -> Message {
        let mut body = Body::new(IPVS_CMD_GET_SERVICE);
        body.nested(IPVS_CMD_ATTR_SERVICE, |nested| write_key(nested, service));
        self.message(body)
    }

    pub(super) fn list_destinations(self, service: SocketAddr) -> Message {
        let mut body = Body::new(IPVS_CMD_GET_DEST);
        body.nested(IPVS_CMD_ATTR_SERVICE, |nested| write_key(nested, service));
        self.message(body)
    }

    /// A change, acknowledged by itself.
    pub(super) fn change(self, change: &Change) -> Message {
        let mut body = Body::new(match change {
            Change::AddService(_) => IPVS_CMD_NEW_SERVICE,
            Change::SetService(_) => IPVS_CMD_SET_SERVICE,
            Change::RemoveService(_) => IPVS_CMD_DEL_SERVICE,
            Change::AddDestination(..) => IPVS_CMD_NEW_DEST,
            Change::SetDestination(..) => IPVS_CMD_SET_DEST,
            Change::RemoveDestination(..) => IPVS_CMD_DEL_DEST,
        });
        body.nested(IPVS_CMD_ATTR_SERVICE, |nested| match change {
            Change::AddService(service) | Change::SetService(service) => {
                write_service(nested, service);
            }
            _ => write_key(nested, change.service()),
        });
        match change {
            Change::AddDestination(_, destination) | Change::SetDestination(_, destination) => {
                body.nested(IPVS_CMD_ATTR_DEST, |nested| write_destination(nested, destination));
            }
            Change::RemoveDestination(_, address) => {
                body.nested(IPVS_CMD_ATTR_DEST, |nested| write_destination_key(nested, *address));
            }
            Change::AddService(_) | Change::SetService(_) | Change::RemoveService(_) => {}
        }
        Message { flags: NLM_F_ACK, ..self.message(body) }
    }

    fn message(self, body: Body) -> Message {
        Message { kind: self.0, flags: 0, body: body.0 }
    }
}

pub(super) fn read_info(received: &Received<'_>) -> Option<Info> {
    let listed = received.body.get(HEADER_BYTES..)?;
    let [_, major, minor, patch] = u32_of(find(listed, IPVS_INFO_ATTR_VERSION)?)?.to_be_bytes();
    let table_size = u32_of(find(listed, IPVS_INFO_ATTR_CONN_TAB_SIZE)?)?;
    Some(Info { version: [major, minor, patch], table_size })
}

/// `None` for what is no TCP service at an address, and for what is damaged.
pub(super) fn read_service(received: &Received<'_>) -> Option<Service> {
    let listed = find(received.body.get(HEADER_BYTES..)?, IPVS_CMD_ATTR_SERVICE)?;
    let family = u16_of(find(listed, IPVS_SVC_ATTR_AF)?)?;
    let protocol = u16_of(find(listed, IPVS_SVC_ATTR_PROTOCOL)?)?;
    if i32::from(protocol) != libc::IPPROTO_TCP {
        return None;
    }
    let ip = address_of(family, find(listed, IPVS_SVC_ATTR_ADDR)?)?;
    let port = port_of(find(listed, IPVS_SVC_ATTR_PORT)?)?;
    // struct ip_vs_flags: the flags, and a mask for changes.
    let flags = u32_of(find(listed, IPVS_SVC_ATTR_FLAGS)?.get(..4)?)?;
    let timeout = Duration::from_secs(u32_of(find(listed, IPVS_SVC_ATTR_TIMEOUT)?)?.into());
    let netmask = u32_of(find(listed, IPVS_SVC_ATTR_NETMASK)?)?;
    let prefix_length = match ip {
        IpAddr::V4(_) => netmask.count_ones() as u8,
        IpAddr::V6(_) => u8::try_from(netmask).ok()?,
    };
    Some(Service {
        address: SocketAddr::new(ip, port),
        scheduler: text(find(listed, IPVS_SVC_ATTR_SCHED_NAME)?),
        flags: flags & !(IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_HASHED),
        persistence: (flags & IP_VS_SVC_F_PERSISTENT != 0)
            .then_some(Persistence { timeout, prefix_length }),
    })
}

/// `None` for what is damaged.
pub(super) fn read_destination(received: &Received<'_>) -> Option<FoundDestination> {
    let listed = find(received.body.get(HEADER_BYTES..)?, IPVS_CMD_ATTR_DEST)?;
    let number = |kind| u32_of(find(listed, kind)?);
    let bytes = find(listed, IPVS_DEST_ATTR_ADDR)?;
    // Before Linux 3.18 a real server had the family of its service, and told none. The unused
    // rest of an IPv4 address is zero.
    let family = find(listed, IPVS_DEST_ATTR_ADDR_FAMILY).and_then(u16_of).unwrap_or_else(|| {
        let short = bytes.get(4..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
        if short { libc::AF_INET as u16 } else { libc::AF_INET6 as u16 }
    });
    let port = port_of(find(listed, IPVS_DEST_ATTR_PORT)?)?;
    let destination = Destination {
        address: SocketAddr::new(address_of(family, bytes)?, port),
        forwarding: Forwarding::from_number(number(IPVS_DEST_ATTR_FWD_METHOD)?),
        weight: number(IPVS_DEST_ATTR_WEIGHT)?,
        upper_threshold: number(IPVS_DEST_ATTR_U_THRESH)?,
        lower_threshold: number(IPVS_DEST_ATTR_L_THRESH)?,
    };
    Some(FoundDestination {
        destination,
        active: number(IPVS_DEST_ATTR_ACTIVE_CONNS)?,
        inactive: number(IPVS_DEST_ATTR_INACT_CONNS)?,
    })
}

impl Forwarding {
    /// IP_VS_CONN_F_*, masked by IP_VS_CONN_F_FWD_MASK.
    fn number(self) -> u32 {
        match self {
            Self::Masquerading => 0,
            Self::Local => 1,
            Self::Tunnel => 2,
            Self::DirectRouting => 3,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Masquerading,
            1 => Self::Local,
            2 => Self::Tunnel,
            3 => Self::DirectRouting,
            _ => Self::Other(number),
        }
    }
}

/// What identifies a service.
fn write_key(body: &mut Body, service: SocketAddr) {
    body.short(IPVS_SVC_ATTR_AF, family_of(service.ip()));
    body.short(IPVS_SVC_ATTR_PROTOCOL, libc::IPPROTO_TCP as u16);
    body.bytes(IPVS_SVC_ATTR_ADDR, &address_bytes(service.ip()));
    body.bytes(IPVS_SVC_ATTR_PORT, &service.port().to_be_bytes());
}

fn write_service(body: &mut Body, service: &Service) {
    let all = if service.address.is_ipv4() { 32 } else { 128 };
    let (persistent, timeout, prefix_length) = match service.persistence {
        Some(Persistence { timeout, prefix_length }) => {
            (IP_VS_SVC_F_PERSISTENT, timeout.as_secs(), prefix_length)
        }
        None => (0, 0, all),
    };
    let netmask = match service.address {
        // In the byte order of an address.
        SocketAddr::V4(_) => {
            u32::MAX.checked_shl(32 - u32::from(prefix_length)).unwrap_or(0).to_be()
        }
        SocketAddr::V6(_) => prefix_length.into(),
    };
    let mut scheduler = service.scheduler.as_bytes().to_vec();
    scheduler.push(0);
    let mut flags = (service.flags | persistent).to_ne_bytes().to_vec();
    flags.extend_from_slice(&u32::MAX.to_ne_bytes());

    write_key(body, service.address);
    body.bytes(IPVS_SVC_ATTR_SCHED_NAME, &scheduler);
    body.bytes(IPVS_SVC_ATTR_FLAGS, &flags);
    body.number(IPVS_SVC_ATTR_TIMEOUT, u32::try_from(timeout).unwrap_or(u32::MAX));
    body.number(IPVS_SVC_ATTR_NETMASK, netmask);
}

/// What identifies a real server within its service.
fn write_destination_key(body: &mut Body, address: SocketAddr) {
    body.short(IPVS_DEST_ATTR_ADDR_FAMILY, family_of(address.ip()));
    body.bytes(IPVS_DEST_ATTR_ADDR, &address_bytes(address.ip()));
    body.bytes(IPVS_DEST_ATTR_PORT, &address.port().to_be_bytes());
}

fn write_destination(body: &mut Body, destination: &Destination) {
    write_destination_key(body, destination.address);
    body.number(IPVS_DEST_ATTR_FWD_METHOD, destination.forwarding.number());
    body.number(IPVS_DEST_ATTR_WEIGHT, destination.weight);
    body.number(IPVS_DEST_ATTR_U_THRESH, destination.upper_threshold);
    body.number(IPVS_DEST_ATTR_L_THRESH, destination.lower_threshold);
}

fn family_of(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u16,
        IpAddr::V6(_) => libc::AF_INET6 as u16,
    }
}

/// `union nf_inet_addr`: an IPv4 address is followed by zeros.
fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn address_of(family: u16, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        libc::AF_INET => Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?)),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

fn u16_of(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

fn port_of(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// The attributes of a message, or of a nested attribute, being written.
struct Body(Vec<u8>);

impl Body {
    /// Begins with a `struct genlmsghdr`.
    fn new(command: u8) -> Self {
        Self(vec![command, VERSION, 0, 0])
    }

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = value.len() as u16 + 4;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn short(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let mut inner = Self(Vec::new());
        write(&mut inner);
        self.bytes(kind | libc::NLA_F_NESTED as u16, &inner.0);
    }
}

#[cfg(test)]
mod tests;
