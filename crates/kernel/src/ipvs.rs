//! The kernel's own TCP load balancer, IPVS, through generic netlink (`linux/ip_vs.h`, ipvsadm(8)).
//!
//! Services belong to a network namespace and carry no mark: whoever sets one up has to remember
//! which are his.

mod error;
mod last_will;
mod message;
mod tunnel_end;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;

pub use self::error::Error;
pub use self::last_will::LastWill;
use self::message::Family;
pub use self::tunnel_end::TunnelEnd;
use crate::netlink::{Message, Protocol, Socket};

/// Asks the IPVS of one network namespace, and changes it.
#[derive(Debug)]
pub struct Ipvs {
    socket: Socket,
    family: Family,
}

/// A virtual service over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The virtual address and port: what identifies the service.
    pub address: SocketAddr,
    /// The scheduler, as ipvsadm(8) names it: "rr".
    pub scheduler: String,
    /// IP_VS_SVC_F_*, without the two that are told otherwise (persistent) or the kernel's own
    /// (hashed): options of the scheduler, like [`FALLBACK`].
    pub flags: u32,
    /// Whether a client stays with its real server.
    pub persistence: Option<Persistence>,
}

/// Which clients stay with their real server, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// Since its last connection ended, in whole seconds, at least one.
    pub timeout: Duration,
    /// Clients whose addresses agree in so many bits are one: 32 or 128 tells all apart.
    pub prefix_length: u8,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its own address and port: what identifies it within the service.
    pub address: SocketAddr,
    /// How packets reach it.
    pub forwarding: Forwarding,
    /// Its share of the connections; 0 gives it no new ones, those it has go on.
    pub weight: u32,
    /// It gets no new connections from this number on; 0 for no limit.
    pub upper_threshold: u32,
    /// It gets new ones again below this number; 0 for three quarters of the upper one.
    pub lower_threshold: u32,
}

/// How packets reach a real server, the "packet-forwarding-method" of ipvsadm(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarding {
    /// Their destination is rewritten, and the source of the answers: NAT.
    Masquerading,
    /// They are delivered on this machine. Only the kernel chooses it.
    Local,
    /// As they are, inside IP packets to the real server (IPIP): TUN.
    Tunnel,
    /// As they are, in Ethernet frames to the real server: DR.
    DirectRouting,
    /// A method that this program does not know.
    Other(u32),
}

/// A real server as the kernel lists it, with what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDestination {
    /// The real server.
    pub destination: Destination,
    /// Connections that are established.
    pub active: u32,
    /// Connections that are not established yet or any more.
    pub inactive: u32,
}

/// The IPVS of the running kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Major, minor and patch level.
    pub version: [u8; 3],
    /// Buckets of the connection table.
    pub table_size: u32,
}

/// Schedulers sh and mh: where the server of a client may not be used, take another one instead of
/// refusing the connection (IP_VS_SVC_F_SCHED1, `sh-fallback` and `mh-fallback`).
pub const FALLBACK: u32 = 0x8;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a service.
    AddService(Service),
    /// Changes everything about a service but what identifies it.
    SetService(Service),
    /// Removes a service and its real servers.
    RemoveService(SocketAddr),
    /// Adds a real server to the service at the address.
    AddDestination(SocketAddr, Destination),
    /// Changes everything about a real server but what identifies it.
    SetDestination(SocketAddr, Destination),
    /// Removes a real server (the second address) from the service at the first.
    RemoveDestination(SocketAddr, SocketAddr),
}

impl Ipvs {
    /// Finds IPVS in the network namespace of the calling thread; the kernel loads the module
    /// `ip_vs` for that where it has to.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::open(Protocol::Generic)?;
        let family = socket
            .ask(&message::find_family(), "find IPVS", message::read_family)
            .map_err(|source| match source.errno() {
                Some(Errno::NOENT) => Error::NoIpvs,
                _ => Error::Kernel(source),
            })?;
        Ok(Self { socket, family })
    }

    /// What the kernel says of its IPVS.
    pub fn info(&mut self) -> Result<Info, Error> {
        let message = self.family.get_info();
        self.socket
            .ask(&message, "tell its version of IPVS", message::read_info)
            .map_err(Error::of_command)
    }

    /// The TCP services of the namespace. Those over other protocols and those by firewall mark
    /// are left out.
    pub fn services(&mut self) -> Result<Vec<Service>, Error> {
        let message = self.family.list_services();
        self.socket
            .dump(&message, "list the IPVS services", |received| {
                Ok(message::read_service(received))
            })
            .map_err(Error::of_command)
    }

    /// The service at the address; `None` when there is none.
    pub fn service(&mut self, address: SocketAddr) -> Result<Option<Service>, Error> {
        let message = self.family.find_service(address);
        let found = self
            .socket
            .ask(&message, format_args!("show the IPVS service {address}"), message::read_service)
            .map_err(Error::of_command);
        match found {
            Ok(service) => Ok(Some(service)),
            Err(error) if error.is_no_such_service() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The real servers of a service, the last added first; none where there is no such service.
    pub fn destinations(&mut self, service: SocketAddr) -> Result<Vec<FoundDestination>, Error> {
        let message = self.family.list_destinations(service);
        self.socket
            .dump(&message, format_args!("list the real servers of {service}"), |received| {
                Ok(message::read_destination(received))
            })
            .map_err(Error::of_command)
    }

    /// Makes changes, in their order. The first that is refused ends it; later ones may have been
    /// made nevertheless, so look again after an error.
    pub fn change(&mut self, changes: &[Change]) -> Result<(), Error> {
        // The socket's buffers hold some hundred messages and answers.
        for part in changes.chunks(64) {
            let messages: Vec<Message> =
                part.iter().map(|change| self.family.change(change)).collect();
            self.socket
                .batch(&messages, format_args!("{}", purpose(part)))
                .map_err(|source| Error::of_change(part, source))?;
        }
        Ok(())
    }

    /// Removes a service and its real servers; `false` where there is none.
    pub fn remove_service(&mut self, address: SocketAddr) -> Result<bool, Error> {
        match self.change(&[Change::RemoveService(address)]) {
            Ok(()) => Ok(true),
            Err(error) if error.is_no_such_service() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What is asked for, in the infinitive: all of it, since the answer may be about any part.
fn purpose(changes: &[Change]) -> String {
    let services: BTreeSet<SocketAddr> = changes.iter().map(Change::service).collect();
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    match changes {
        [Change::AddService(_)] => format!("add the IPVS service {}", services.join(", ")),
        [Change::RemoveService(_)] => format!("remove the IPVS service {}", services.join(", ")),
        _ => format!("change the IPVS services {}", services.join(", ")),
    }
}

impl Change {
    /// The service that it is about.
    pub fn service(&self) -> SocketAddr {
        match self {
            Self::AddService(service) | Self::SetService(service) => service.address,
            Self::RemoveService(service)
            | Self::AddDestination(service, _)
            | Self::SetDestination(service, _)
            | Self::RemoveDestination(service, _) => *service,
        }
    }
}

#[cfg(test)]
mod tests;
