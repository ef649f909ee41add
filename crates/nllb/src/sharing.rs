//! Listening at the address of a pod while it or another takes its place.
//!
//! `SO_REUSEPORT` lets several sockets listen at one address if all have it and all belong to one user,
//! which is the owner of the socket's inode. So ours is given to the pods' user, and taken back when it
//! need not be shared any more: whoever has that user could listen as well meanwhile.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Uid, fchown};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen, socket_with,
    sockopt,
};
use rustix::process::geteuid;

use crate::pod;

/// Clients that may wait to be accepted; the kernel takes less (`net.core.somaxconn`).
const BACKLOG: i32 = 65_535;

/// Lets a pod listen at the address of this listening socket.
///
/// # Errors
/// What the system says, where this is not root.
pub fn share(socket: impl AsFd) -> io::Result<()> {
    fchown(&socket, Some(Uid::from_raw(pod::USER)), None)?;
    Ok(sockopt::set_socket_reuseport(&socket, true)?)
}

/// Lets nobody else listen there any more; who does so already goes on.
///
/// # Errors
/// What the system says.
pub fn keep(socket: impl AsFd) -> io::Result<()> {
    sockopt::set_socket_reuseport(&socket, false)?;
    fchown(&socket, Some(geteuid()), None)?;
    forget_sharing(SocketAddr::try_from(getsockname(&socket)?)?.port());
    Ok(())
}

/// The kernel remembers of a port that the last socket bound there shares it, and with whom, and asks
/// no further (`fastreuseport` in its `inet_connection_sock.c`). So another is bound that does not, at an
/// address that nobody uses. Where that cannot be, it forgets when the port's last socket has gone.
fn forget_sharing(port: u16) {
    let unused = SocketAddr::from(([127, 0, 0, 2], port));
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    );
    let _ = socket.and_then(|socket| bind(&socket, &unused));
}

/// Listens where a pod may listen as well.
///
/// # Errors
/// What the system says: among others that the pod does not share the address.
pub fn listen_beside(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    share(&socket)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    keep(&socket)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
