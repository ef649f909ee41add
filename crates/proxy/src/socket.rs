//! What every socket of the proxy gets, and the little that is asked of one.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, connect, getpeername, getsockname, socket_with,
};

use crate::settings::Settings;

/// A connect to `address` that is under way, or why there can be none.
///
/// It has none of what [`prepare`] sets: a connection that is over at once needs nothing of that.
pub(crate) fn begin_connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // The last step of the handshake travels with the client's first bytes, if they come soon: one
    // packet less, and the backend wakes once instead of twice (tcp(7), TCP_QUICKACK).
    sockopt::set_tcp_quickack(&socket, false)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Sets what connections of both sides have; accepted ones inherit it from their listener.
pub(crate) fn prepare(
    socket: impl AsFd,
    settings: &Settings,
    user_timeout: Duration,
) -> Result<(), Errno> {
    let socket = socket.as_fd();
    let user_timeout = u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, settings.keepalive_idle)?;
    sockopt::set_tcp_keepintvl(socket, settings.keepalive_interval)?;
    sockopt::set_tcp_user_timeout(socket, user_timeout)
}

/// Makes the close that follows an RST, so that the other end knows at once (socket(7),
/// SO_LINGER with a time of 0).
pub(crate) fn close_by_reset(socket: &OwnedFd) {
    // Fails only for what is no socket, and then a plain close has to do.
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// The address and port that the client of an accepted connection connected to, before any
/// redirection.
pub(crate) fn original_destination(client: impl AsFd) -> Option<SocketAddr> {
    let client = client.as_fd();
    let local = canonical(SocketAddr::try_from(getsockname(client).ok()?).ok()?);
    // Without connection tracking there was no redirection either.
    let redirected = match local {
        SocketAddr::V4(_) => sockopt::ip_original_dst(client).map(SocketAddr::V4),
        SocketAddr::V6(_) => sockopt::ipv6_original_dst(client).map(SocketAddr::V6),
    };
    Some(redirected.unwrap_or(local))
}

/// Where the client of an accepted connection comes from. None once it has gone.
pub(crate) fn source(client: impl AsFd) -> Option<SocketAddr> {
    Some(canonical(SocketAddr::try_from(getpeername(client).ok()??).ok()?))
}

/// An IPv4 address mapped into IPv6 is an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
