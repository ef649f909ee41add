//! Is an address answered by somebody else on the link?

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, SockFilter, Socket, Type};

use crate::link::Mac;
use crate::{Error, frame, sys};

/// A whole frame of ARP or of a neighbour advertisement; longer ones are none.
pub(crate) const FRAME_BUFFER: usize = 1514;

/// A neighbour advertisement right after the IPv6 header: all other IPv6 traffic is refused in the
/// kernel.
const ONLY_NEIGHBOUR_ADVERTISEMENTS: [SockFilter; 6] = {
    const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const NEXT_HEADER: u32 = frame::NETWORK_HEADER as u32 + 6;
    const ICMPV6_TYPE: u32 = frame::ICMPV6_HEADER as u32;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, NEXT_HEADER),
        SockFilter::new(JUMP_EQUAL, 0, 3, frame::NEXT_HEADER_ICMPV6 as u32),
        SockFilter::new(LOAD_BYTE, 0, 0, ICMPV6_TYPE),
        SockFilter::new(JUMP_EQUAL, 0, 1, frame::NEIGHBOUR_ADVERTISEMENT as u32),
        SockFilter::new(RETURN, 0, 0, FRAME_BUFFER as u32),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

/// Asks one link who has an address and collects the answers. Meant to be short-lived.
///
/// The questions carry no sender address, so nobody's cache changes: ARP probes (RFC 5227 section
/// 2.1.1) and the solicitations of duplicate address detection (RFC 4862 section 5.4.2).
#[derive(Debug)]
pub struct Probe {
    arp: Socket,
    neighbour_discovery: Socket,
    /// Readable when either socket is.
    either: OwnedFd,
    mac: Mac,
    asked: BTreeSet<IpAddr>,
}

/// Somebody who says to have an address that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The address asked for.
    pub address: IpAddr,
    /// Who has it.
    pub mac: Mac,
}

impl Probe {
    /// Opens the probe in the network namespace of the calling thread; `mac` is the link's own.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW, [`Error::System`] when there is no such link.
    pub fn open(link_index: u32, mac: Mac) -> Result<Self, Error> {
        Self::open_unnamed(link_index, mac).map_err(|error| {
            Error::privileged(
                "CAP_NET_RAW",
                format!("open a packet socket on link {link_index}"),
                error,
            )
        })
    }

    fn open_unnamed(link_index: u32, mac: Mac) -> io::Result<Self> {
        let arp = packet_socket(link_index, frame::PROTOCOL_ARP, &[])?;
        let neighbour_discovery =
            packet_socket(link_index, frame::PROTOCOL_IPV6, &ONLY_NEIGHBOUR_ADVERTISEMENTS)?;
        let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for socket in [&arp, &neighbour_discovery] {
            epoll::add(&either, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        Ok(Self { arp, neighbour_discovery, either, mac, asked: BTreeSet::new() })
    }

    /// Asks the link once for `address`; answers come within milliseconds, but a frame may be lost:
    /// ask again.
    ///
    /// # Errors
    /// What send(2) says, `NetworkDown` while the link is down.
    pub fn ask(&mut self, address: IpAddr) -> io::Result<()> {
        self.asked.insert(address);
        match address {
            IpAddr::V4(address) => self.arp.send(&frame::arp_probe(self.mac, address))?,
            IpAddr::V6(address) => {
                self.neighbour_discovery.send(&frame::neighbour_solicitation(self.mac, address))?
            }
        };
        Ok(())
    }

    /// What has come in since: each claim of an address asked for, by any other hardware address,
    /// repeated as often as it was heard.
    ///
    /// # Errors
    /// What recv(2) says, `NetworkDown` when the link went down.
    pub fn answers(&mut self) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::new();
        collect(&self.arp, frame::arp_sender, &mut answers)?;
        collect(&self.neighbour_discovery, frame::advertised_neighbour, &mut answers)?;
        answers.retain(|answer| answer.mac != self.mac && self.asked.contains(&answer.address));
        Ok(answers)
    }
}

impl AsFd for Probe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }
}

/// The filter is there before the protocol is bound, so that nothing else slips in.
pub(crate) fn packet_socket(
    link_index: u32,
    protocol: u16,
    filter: &[SockFilter],
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    socket.bind(&sys::packet_address(link_index, protocol))?;
    Ok(socket)
}

pub(crate) fn collect<A: Into<IpAddr>>(
    socket: &Socket,
    parse: impl Fn(&[u8]) -> Option<(A, Mac)>,
    answers: &mut Vec<Answer>,
) -> io::Result<()> {
    let mut buffer = [0; FRAME_BUFFER];
    loop {
        let length = match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if let Some((address, mac)) = parse(&buffer[..length]) {
            answers.push(Answer { address: address.into(), mac });
        }
    }
}

#[cfg(test)]
mod tests;
