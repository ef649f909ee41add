//! Raw sockets of IP protocol 112 as VRRP wants them, bound to one link.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};

use crate::{Error, sys};

/// The groups of RFC 9568 section 5.1.1.2 and 5.1.2.2.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// See [`GROUP_V4`].
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// Bytes that hold the largest datagram [`VrrpSocket::receive`] can meet: the longest IPv4 header,
/// or 255 IPv6 addresses.
pub const LARGEST_DATAGRAM: usize = 60 + 8 + 255 * 16;

const PROTOCOL_VRRP: u8 = 112;
/// RFC 9568 sections 5.1.1.3 and 5.1.2.3: receivers drop anything else.
const HOPS: u8 = 255;
/// DSCP CS6, internetwork control, as keepalived sets it.
const TRAFFIC_CLASS: u8 = 0xc0;
/// TC_PRIO_CONTROL of linux/pkt_sched.h: ahead of bulk traffic in our own queue.
const PRIORITY_CONTROL: u32 = 7;
/// Bytes asked for to outlast a stall of ours; the kernel cuts it to net.core.rmem_max, still
/// hundreds of adverts.
const RECEIVE_BUFFER: usize = 1 << 20;
const IPV4_HEADER: usize = 20;

/// Which protocol a socket speaks: IPv4 and IPv6 routers are apart in VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4, RFC 3768 and RFC 9568.
    V4,
    /// IPv6, RFC 9568.
    V6,
}

/// How adverts reach the other routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Through the VRRP group of the family.
    Multicast,
    /// To listed peers. Only datagrams to `source` are received.
    Unicast {
        /// Our own address on the link.
        source: IpAddr,
    },
}

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// The link's index.
    pub link_index: u32,
    /// The link's name, which must belong to the index.
    pub link_name: String,
    /// The protocol; that of a unicast source must be the same.
    pub family: Family,
    /// Multicast or unicast.
    pub mode: Mode,
}

/// A non-blocking raw socket that sends and receives VRRP messages on one link.
///
/// Messages pass unchanged, checksum included, in both directions and for both families: the kernel
/// neither fills nor checks it, so that a wrong one can be reported.
#[derive(Debug)]
pub struct VrrpSocket {
    socket: Socket,
    options: OpenOptions,
    /// Identification of the last IPv4 packet sent.
    identification: u16,
}

/// One received VRRP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// The group or our own address.
    pub destination: IpAddr,
    /// TTL or hop limit as it arrived; 255 unless a router was in between.
    pub hop_limit: u8,
    /// The VRRP message, without IP header and padding.
    pub payload: &'a [u8],
}

impl VrrpSocket {
    /// Opens the socket in the network namespace of the calling thread and joins the group.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW; [`Error::System`] when the link is gone or a
    /// unicast source is not an address of this host.
    pub fn open(options: &OpenOptions) -> Result<Self, Error> {
        let purpose = || match options.mode {
            Mode::Multicast => format!("open a VRRP socket on {}", options.link_name),
            Mode::Unicast { source } => {
                format!("open a VRRP socket on {} for its address {source}", options.link_name)
            }
        };
        Self::open_unnamed(options)
            .map_err(|error| Error::privileged("CAP_NET_RAW", purpose(), error))
    }

    fn open_unnamed(options: &OpenOptions) -> io::Result<Self> {
        let domain = match options.family {
            Family::V4 => Domain::IPV4,
            Family::V6 => Domain::IPV6,
        };
        let protocol = Protocol::from(i32::from(PROTOCOL_VRRP));
        let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
        socket.bind_device(Some(options.link_name.as_bytes()))?;
        socket.set_priority(PRIORITY_CONTROL)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        match options.family {
            Family::V4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
                // Otherwise groups joined by any other program on this host reach this socket too.
                socket.set_multicast_all_v4(false)?;
            }
            Family::V6 => {
                socket.set_unicast_hops_v6(u32::from(HOPS))?;
                socket.set_multicast_hops_v6(u32::from(HOPS))?;
                socket.set_tclass_v6(u32::from(TRAFFIC_CLASS))?;
                socket.set_multicast_loop_v6(false)?;
                // Linux before 4.20 does not know it; a message to a strange group is then the
                // caller's to drop.
                socket.set_multicast_all_v6(false).ok();
                socket.set_multicast_if_v6(options.link_index)?;
                socket.set_recv_hoplimit_v6(true)?;
                sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
        }
        let socket = Self { socket, options: options.clone(), identification: 0 };
        match options.mode {
            Mode::Multicast => socket.join()?,
            Mode::Unicast { source } => socket.socket.bind(&socket.socket_address(source))?,
        }
        Ok(socket)
    }

    /// Sends one VRRP message to the group or to a peer.
    ///
    /// # Errors
    /// What sendto(2) says, `InvalidInput` when the addresses are not of the socket's family. The
    /// message is then lost; the socket stays usable.
    pub fn send(&mut self, source: IpAddr, destination: IpAddr, message: &[u8]) -> io::Result<()> {
        match (self.options.family, source, destination) {
            (Family::V4, IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.send_v4(source, destination, message)
            }
            (Family::V6, IpAddr::V6(source), IpAddr::V6(destination)) => {
                let link = self.options.link_index;
                sys::send_v6(self.socket.as_fd(), link, source, destination, message)
            }
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{source} and {destination} do not belong on this VRRP socket"),
            )),
        }
    }

    fn send_v4(
        &mut self,
        source: Ipv4Addr,
        destination: Ipv4Addr,
        message: &[u8],
    ) -> io::Result<()> {
        // Zero would have the kernel choose one.
        self.identification = self.identification.checked_add(1).unwrap_or(1);
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut packet = ipv4_header(source, destination, self.identification, length).to_vec();
        packet.extend_from_slice(message);
        // The group is on the link: a routing table without a route for it must not matter.
        let flags = if destination.is_multicast() { libc::MSG_DONTROUTE } else { 0 };
        let destination = SockAddr::from(SocketAddrV4::new(destination, 0));
        self.socket.send_to_with_flags(&packet, &destination, flags)?;
        Ok(())
    }

    /// The next message, or `None` when there is none now.
    ///
    /// `buffer` should have [`LARGEST_DATAGRAM`] bytes; what does not fit is passed over.
    ///
    /// # Errors
    /// What recv(2) says.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Datagram<'b>>> {
        match self.options.family {
            Family::V4 => self.receive_v4(buffer),
            Family::V6 => self.receive_v6(buffer),
        }
    }

    fn receive_v4<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Datagram<'b>>> {
        loop {
            let length = match rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let Some(header) = parse_ipv4_header(&buffer[..length]) else { continue };
            return Ok(Some(Datagram {
                source: header.source.into(),
                destination: header.destination.into(),
                hop_limit: header.hop_limit,
                payload: &buffer[header.payload],
            }));
        }
    }

    fn receive_v6<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<Datagram<'b>>> {
        let received = match sys::receive_v6(self.socket.as_fd(), buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Datagram {
            source: received.source.into(),
            destination: received.destination.into(),
            hop_limit: received.hop_limit,
            payload: &buffer[..received.length],
        }))
    }

    /// Joins the group anew, which has the kernel report the membership to snooping switches again:
    /// for a link that was down.
    ///
    /// # Errors
    /// [`Error::System`] when the link is gone; one of the same name but another index needs a new
    /// socket.
    pub fn rejoin(&self) -> Result<(), Error> {
        if self.options.mode != Mode::Multicast {
            return Ok(());
        }
        // It fails where the kernel has dropped the membership itself, which is as good.
        self.leave().ok();
        self.join().map_err(|error| {
            Error::system(format!("join the VRRP group on {}", self.options.link_name), error)
        })
    }

    fn join(&self) -> io::Result<()> {
        let index = self.options.link_index;
        match self.options.family {
            Family::V4 => {
                self.socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))
            }
            Family::V6 => self.socket.join_multicast_v6(&GROUP_V6, index),
        }
    }

    fn leave(&self) -> io::Result<()> {
        let index = self.options.link_index;
        match self.options.family {
            Family::V4 => {
                self.socket.leave_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))
            }
            Family::V6 => self.socket.leave_multicast_v6(&GROUP_V6, index),
        }
    }

    fn socket_address(&self, address: IpAddr) -> SockAddr {
        let address = match address {
            IpAddr::V4(address) => SocketAddr::from((address, 0)),
            // A link-local address means nothing without its link.
            IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, self.options.link_index).into(),
        };
        address.into()
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The IPv4 header of a VRRP packet with `payload_length` bytes after it, checksum included, as
/// keepalived writes it: no options, may be fragmented, TTL 255, internetwork control.
pub fn ipv4_header(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    identification: u16,
    payload_length: u16,
) -> [u8; IPV4_HEADER] {
    let mut header = [0; IPV4_HEADER];
    header[0] = 0x45;
    header[1] = TRAFFIC_CLASS;
    let total_length = payload_length.saturating_add(IPV4_HEADER as u16);
    header[2..4].copy_from_slice(&total_length.to_be_bytes());
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[8] = HOPS;
    header[9] = PROTOCOL_VRRP;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let checksum = ipv4_checksum(&header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// RFC 791 section 3.1.
fn ipv4_checksum(header: &[u8; IPV4_HEADER]) -> u16 {
    let words =
        header.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let total: u32 = words.sum();
    let once = (total & 0xffff) + (total >> 16);
    !((once & 0xffff) as u16 + (once >> 16) as u16)
}

#[derive(Debug, PartialEq, Eq)]
struct Ipv4Header {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    hop_limit: u8,
    /// Where the message is: after the options, and without the padding of a short Ethernet frame.
    payload: Range<usize>,
}

fn parse_ipv4_header(packet: &[u8]) -> Option<Ipv4Header> {
    let fixed = packet.first_chunk::<IPV4_HEADER>()?;
    let header_length = usize::from(fixed[0] & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let is_whole = IPV4_HEADER <= header_length
        && header_length <= total_length
        && total_length <= packet.len();
    if fixed[0] >> 4 != 4 || !is_whole {
        return None;
    }
    Some(Ipv4Header {
        source: Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]),
        destination: Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]),
        hop_limit: fixed[8],
        payload: header_length..total_length,
    })
}

#[cfg(test)]
mod tests;
