//! Telling the link that an address now lives here: gratuitous ARP and unsolicited neighbour
//! advertisements.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netdevice::index_to_name;
use socket2::{Domain, Socket, Type};

use crate::link::Mac;
use crate::{Error, frame, sys};

/// Sends announcements on one link from one hardware address.
#[derive(Debug)]
pub struct Announcer {
    socket: Socket,
    link_index: u32,
    mac: Mac,
}

impl Announcer {
    /// Opens a packet socket that receives nothing, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW, [`Error::System`] when there is no such link.
    pub fn open(link_index: u32, mac: Mac) -> Result<Self, Error> {
        let open = || {
            let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
            socket.bind(&sys::packet_address(link_index, 0))?;
            Ok(Self { socket, link_index, mac })
        };
        open().map_err(|error: io::Error| {
            Error::privileged(
                "CAP_NET_RAW",
                format!("open a packet socket on link {link_index}"),
                error,
            )
        })
    }

    /// Announces an address of either family once, the way keepalived does: by an ARP request or a
    /// neighbour advertisement.
    ///
    /// # Errors
    /// What send(2) says, `NetworkDown` while the link is down.
    pub fn announce(&self, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => self.gratuitous_arp(address),
            IpAddr::V6(address) => self.neighbour_advertisement(address),
        }
    }

    /// Broadcasts an ARP request of `address` for itself.
    ///
    /// # Errors
    /// As [`Announcer::announce`].
    pub fn gratuitous_arp(&self, address: Ipv4Addr) -> io::Result<()> {
        self.send(&frame::gratuitous_arp_request(self.mac, address))
    }

    /// Broadcasts an unasked ARP reply, for the few devices that learn from replies alone.
    ///
    /// # Errors
    /// As [`Announcer::announce`].
    pub fn gratuitous_arp_reply(&self, address: Ipv4Addr) -> io::Result<()> {
        self.send(&frame::gratuitous_arp_reply(self.mac, address))
    }

    /// Tells all nodes on the link the hardware address of `address`, overriding what they know.
    ///
    /// Whether it comes from a router is told as the kernel tells it of this link when asked: a
    /// neighbour that heard now this and now that would drop routes (RFC 4861 section 7.2.5).
    ///
    /// # Errors
    /// As [`Announcer::announce`].
    pub fn neighbour_advertisement(&self, address: Ipv6Addr) -> io::Result<()> {
        self.send(&frame::neighbour_advertisement(self.mac, address, self.forwards_ipv6()))
    }

    /// What the calling thread's network namespace says of the link.
    fn forwards_ipv6(&self) -> bool {
        let Ok(name) = index_to_name(&self.socket, self.link_index) else { return false };
        let setting = fs::read(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"));
        setting.is_ok_and(|setting| !setting.starts_with(b"0"))
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
