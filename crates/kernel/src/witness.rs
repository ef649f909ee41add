//! Who else on the link says to have an address?

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;
use socket2::SockFilter;

use crate::link::Mac;
use crate::probe::{Answer, FRAME_BUFFER, collect, packet_socket};
use crate::{Error, frame};

/// Hears every ARP frame and neighbour advertisement in which another host says to have one of
/// these addresses. It asks nothing.
#[derive(Debug)]
pub struct Witness {
    arp: socket2::Socket,
    neighbour_discovery: socket2::Socket,
    /// Readable when either socket is.
    either: OwnedFd,
    mac: Mac,
    addresses: Vec<IpAddr>,
}

impl Witness {
    /// Opens it in the network namespace of the calling thread; `mac` is the link's own.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without CAP_NET_RAW, [`Error::System`] when there is no such link or
    /// there are more than 255 addresses.
    pub fn open(link_index: u32, mac: Mac, addresses: &[IpAddr]) -> Result<Self, Error> {
        let open = || {
            let of_ipv4 = addresses.iter().filter(|address| address.is_ipv4());
            let of_ipv6 = addresses.iter().filter(|address| address.is_ipv6());
            let arp = Filter { ends: of_ipv4.map(end).collect(), at: ARP_SENDER, icmpv6: None };
            let neighbour_discovery = Filter {
                ends: of_ipv6.map(end).collect(),
                at: ADVERTISED,
                icmpv6: Some(frame::NEIGHBOUR_ADVERTISEMENT),
            };
            let arp = packet_socket(link_index, frame::PROTOCOL_ARP, &arp.compile())?;
            let neighbour_discovery =
                packet_socket(link_index, frame::PROTOCOL_IPV6, &neighbour_discovery.compile())?;
            let either = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            for socket in [&arp, &neighbour_discovery] {
                epoll::add(&either, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
            }
            Ok(Self { arp, neighbour_discovery, either, mac, addresses: addresses.to_vec() })
        };
        open().map_err(|error: io::Error| {
            Error::privileged(
                "CAP_NET_RAW",
                format!("open a packet socket on link {link_index}"),
                error,
            )
        })
    }

    /// What was heard since, repeated as often as it was heard.
    ///
    /// # Errors
    /// What recv(2) says, `NetworkDown` when the link went down.
    pub fn heard(&self) -> io::Result<Vec<Answer>> {
        let mut heard = Vec::new();
        collect(&self.arp, frame::arp_sender, &mut heard)?;
        collect(&self.neighbour_discovery, frame::advertised_neighbour, &mut heard)?;
        heard.retain(|it| it.mac != self.mac && self.addresses.contains(&it.address));
        Ok(heard)
    }
}

impl AsFd for Witness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.as_fd()
    }
}

/// Where the last 32 bits are of the sender's address in ARP: after hardware addresses of 6 bytes.
const ARP_SENDER: u32 = frame::NETWORK_HEADER as u32 + 14;

/// Where they are of the target address of a neighbour advertisement (RFC 4861 section 4.4).
const ADVERTISED: u32 = frame::ICMPV6_HEADER as u32 + 8 + 12;

/// Passes frames with one of these words at an offset: all others must not even wake us.
struct Filter {
    ends: Vec<u32>,
    at: u32,
    icmpv6: Option<u8>,
}

impl Filter {
    fn compile(&self) -> Vec<SockFilter> {
        const LOAD: u32 = libc::BPF_LD | libc::BPF_ABS;
        let load_byte = |at| SockFilter::new((LOAD | libc::BPF_B) as u16, 0, 0, at);
        let load_word = |at| SockFilter::new((LOAD | libc::BPF_W) as u16, 0, 0, at);
        let give = |bytes| SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, bytes);
        // The next instruction if it is the value, otherwise the one after it.
        let equal = |value| {
            SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, value)
        };
        // The other way round.
        let unequal = |value| {
            SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 1, 0, value)
        };
        let mut program = vec![];
        if let Some(kind) = self.icmpv6 {
            program.extend([
                load_byte(frame::NETWORK_HEADER as u32 + 6),
                unequal(frame::NEXT_HEADER_ICMPV6.into()),
                give(0),
                load_byte(frame::ICMPV6_HEADER as u32),
                unequal(kind.into()),
                give(0),
            ]);
        }
        program.push(load_word(self.at));
        for end in &self.ends {
            program.extend([equal(*end), give(FRAME_BUFFER as u32)]);
        }
        program.push(give(0));
        program
    }
}

fn end(address: &IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => address.to_bits() as u32,
    }
}

#[cfg(test)]
mod tests;
