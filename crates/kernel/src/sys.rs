//! The few socket calls that neither `socket2` nor `rustix` offers: link-layer addresses, and the
//! control messages that carry an IPv6 datagram's own addresses and hop limit.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage};

/// Room for the control messages of one datagram; both kinds together take 64 bytes.
const CONTROL_LENGTH: usize = 128;

/// A control message buffer, aligned as the kernel's `cmsghdr` wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL_LENGTH]);

/// One datagram of a raw IPv6 socket: how much was written into the buffer, and what its header
/// said.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReceivedV6 {
    pub(crate) length: usize,
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(crate) hop_limit: u8,
}

/// The address that binds a packet socket to a link and an Ethernet protocol (host byte order; 0
/// receives nothing).
pub(crate) fn packet_address(link_index: u32, protocol: u16) -> SockAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::sa_family_t,
        sll_protocol: protocol.to_be(),
        sll_ifindex: link_index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a plain C struct that begins with the address family, and view_as
    // checks that it fits the storage.
    unsafe { *storage.view_as::<libc::sockaddr_ll>() = address };
    // SAFETY: the storage holds an initialised address of exactly this length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Sets an option whose value is a C `int`.
pub(crate) fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks for an option whose value is `value`: a question goes in, its answer comes out.
///
/// # Errors
/// What getsockopt(2) says; `InvalidData` for an answer of another length.
pub(crate) fn ask_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: &mut [u8],
) -> io::Result<()> {
    let mut length = value.len() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, of which nothing else has a hold during
    // the call, and the kernel writes no more than the length.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if status == -1 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != value.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(())
}

/// Receives one datagram of a raw IPv6 socket that has IPV6_RECVPKTINFO and IPV6_RECVHOPLIMIT set
/// (RFC 3542 section 6).
///
/// # Errors
/// `WouldBlock` when there is none, `InvalidData` when the kernel left out a control message, else
/// what recvmsg(2) says.
pub(crate) fn receive_v6(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<ReceivedV6> {
    let mut control = Control([0; CONTROL_LENGTH]);
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero bytes are a valid value of both plain C structs.
    let (mut name, mut message): (libc::sockaddr_in6, libc::msghdr) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    message.msg_name = ptr::from_mut(&mut name).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LENGTH as _;

    // SAFETY: every pointer in `message` is to a live local of the length given beside it.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };

    let mut destination = None;
    let mut hop_limit = None;
    // SAFETY: recvmsg filled `message`; the CMSG functions stay inside the control length it wrote
    // back.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header inside `control`.
        let (level, kind, data) =
            unsafe { ((*header).cmsg_level, (*header).cmsg_type, libc::CMSG_DATA(header)) };
        match (level, kind) {
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: a message of this type carries an in6_pktinfo; CMSG_DATA may be unaligned
                // for it.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                // SAFETY: a message of this type carries an int; CMSG_DATA may be unaligned for it.
                let hops = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                hop_limit = u8::try_from(hops).ok();
            }
            _ => {}
        }
        // SAFETY: `header` came from this same message.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    let (Some(destination), Some(hop_limit)) = (destination, hop_limit) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel gave no destination or hop limit with the datagram",
        ));
    };
    Ok(ReceivedV6 {
        length,
        source: Ipv6Addr::from(name.sin6_addr.s6_addr),
        destination,
        hop_limit,
    })
}

/// Sends one datagram on an IPv6 socket from `source` out of the link `link_index` (IPV6_PKTINFO,
/// RFC 3542 section 6.2).
pub(crate) fn send_v6(
    socket: BorrowedFd<'_>,
    link_index: u32,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    payload: &[u8],
) -> io::Result<()> {
    let name = SockAddr::from(SocketAddrV6::new(destination, 0, 0, link_index));
    let info = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
        ipi6_ifindex: link_index,
    };
    const INFO_LENGTH: u32 = size_of::<libc::in6_pktinfo>() as u32;
    let mut control = Control([0; CONTROL_LENGTH]);
    let mut vector =
        libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.len();
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(INFO_LENGTH) } as _;
    // SAFETY: the control buffer has room for one header with an in6_pktinfo, so CMSG_FIRSTHDR is
    // not null, and CMSG_DATA points at that many bytes, perhaps unaligned for the struct.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::IPPROTO_IPV6;
        (*header).cmsg_type = libc::IPV6_PKTINFO;
        (*header).cmsg_len = libc::CMSG_LEN(INFO_LENGTH) as _;
        libc::CMSG_DATA(header).cast::<libc::in6_pktinfo>().write_unaligned(info);
    }
    // SAFETY: every pointer in `message` is to a live local of the length given beside it; sendmsg
    // does not write through them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    if sent == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
