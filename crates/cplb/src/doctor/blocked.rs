//! Does this host throw away advertisements that reach it? A packet socket sees them before the
//! firewall and the reverse path filter do, the routers' sockets after.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::Finding;
use super::target::Router;
use crate::scan::Speaker;

#[cfg(test)]
mod tests;

const CHECK: &str = "protocol-112";

/// Advertisements that reached this host: how many of each virtual router and sender.
pub(crate) type Arrived = BTreeMap<(u8, IpAddr), u64>;

/// Judges which of the arrivals were not heard.
pub(crate) fn check(routers: &[Router], arrived: &Arrived, heard: &[Speaker]) -> Vec<Finding> {
    let heard: BTreeSet<(u8, IpAddr)> =
        heard.iter().map(|speaker| (speaker.virtual_router_id, speaker.source)).collect();
    let concerns = |id: u8, source: IpAddr| {
        routers.iter().any(|router| router.id == id && router.is_ipv4() == source.is_ipv4())
    };
    let blocked: Vec<Finding> = arrived
        .iter()
        // A single one may have come as listening began or ended.
        .filter(|((id, source), count)| {
            **count > 1 && concerns(*id, *source) && !heard.contains(&(*id, *source))
        })
        .map(|((id, source), _)| {
            Finding::error(
                CHECK,
                format!("advertisements of {source} for virtual router {id} arrive here and are dropped by this host"),
            )
            .because("this node does not know that another one is Active, and becomes Active too")
            .advise(
                "let IP protocol 112 in (nft: `ip protocol 112 accept`, `ip6 nexthdr 112 accept`; \
                 firewalld: --add-protocol=vrrp; ufw: allow proto vrrp in before.rules), and set \
                 net.ipv4.conf.*.rp_filter to 2 or 0 if the sender is not in a subnet of the interface",
            )
        })
        .collect();
    if blocked.is_empty() {
        return vec![Finding::ok(CHECK, "this host drops no advertisement that reaches it")];
    }
    blocked
}

/// Collects what arrives for this long, on every interface.
///
/// # Errors
/// `PermissionDenied` without CAP_NET_RAW.
pub(crate) fn tap(time: Duration, own: &[IpAddr]) -> io::Result<Arrived> {
    let sockets = [
        packet_socket(ethernet(0x0800), &filter(IPV4_PROTOCOL))?,
        packet_socket(ethernet(0x86dd), &filter(IPV6_NEXT_HEADER))?,
    ];
    let mut arrived = Arrived::new();
    let mut buffer = [0; 2_048];
    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        let left = Timespec::try_from(left).unwrap_or_default();
        let mut descriptors = sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        // Interrupted or not, both are looked at.
        let _ = poll(&mut descriptors, Some(&left));
        for socket in &sockets {
            drain(socket, &mut buffer, own, &mut arrived)?;
        }
    }
    Ok(arrived)
}

fn drain(
    socket: &Socket,
    buffer: &mut [u8],
    own: &[IpAddr],
    arrived: &mut Arrived,
) -> io::Result<()> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => {
                if let Some(key) = read(&buffer[..length], own) {
                    *arrived.entry(key).or_default() += 1;
                }
            }
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::NETDOWN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Virtual router and sender of an IP packet that is an advertisement to this host.
fn read(packet: &[u8], own: &[IpAddr]) -> Option<(u8, IpAddr)> {
    let (source, destination, message): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<20>()?;
            let length = usize::from(header[0] & 0x0f) * 4;
            let address = |at: usize| -> Option<Ipv4Addr> {
                Some(header.get(at..at + 4)?.first_chunk::<4>().copied()?.into())
            };
            (header[9] == vrrp::PROTOCOL).then_some(())?;
            (address(12)?.into(), address(16)?.into(), packet.get(length..)?)
        }
        6 => {
            let header = packet.first_chunk::<40>()?;
            let address = |at: usize| -> Option<Ipv6Addr> {
                Some(header.get(at..at + 16)?.first_chunk::<16>().copied()?.into())
            };
            (header[6] == vrrp::PROTOCOL).then_some(())?;
            (address(8)?.into(), address(24)?.into(), packet.get(40..)?)
        }
        _ => return None,
    };
    // Switches also flood what is meant for others.
    let for_us = destination.is_multicast() || own.contains(&destination);
    (for_us && !own.contains(&source)).then_some((*message.get(1)?, source))
}

/// Where the header says what follows it.
const IPV4_PROTOCOL: u32 = 9;
const IPV6_NEXT_HEADER: u32 = 6;

/// Classic BPF: passes packets whose byte at this place is 112. A packet socket of datagrams shows
/// its filter the network header first.
const fn filter(place: u32) -> [SockFilter; 4] {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, place),
        SockFilter::new(JUMP_EQUAL, 0, 1, vrrp::PROTOCOL as u32),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// packet(7): the Ethernet type in network byte order.
fn ethernet(ethernet_type: u16) -> Protocol {
    Protocol::from(i32::from(ethernet_type.to_be()))
}

/// A packet socket on all interfaces that hears what comes in, not what goes out. What slips in
/// before the filter is there, [`read`] refuses.
fn packet_socket(protocol: Protocol, filter: &[SockFilter]) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::PACKET, kind, Some(protocol))?;
    socket.attach_filter(filter)?;
    Ok(socket)
}
