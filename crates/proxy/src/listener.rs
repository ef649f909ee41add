//! Listening sockets.
//!
//! One socket per address, shared by all threads through `EPOLLEXCLUSIVE`. With a socket per
//! thread (`SO_REUSEPORT`) the kernel would spread clients by a hash, leave some waiting behind a
//! busy thread, and reset those queued on a socket that closes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;
use crate::settings::Settings;
use crate::socket::prepare;
use crate::stats::ListenerStats;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The socket.
    pub(crate) socket: OwnedFd,
    /// What came in; outlives the socket.
    pub(crate) arrivals: Arc<Arrivals>,
}

/// What came in at one listen address.
#[derive(Debug)]
pub(crate) struct Arrivals {
    address: SocketAddr,
    /// Clients accepted.
    pub(crate) accepted: AtomicU64,
}

impl Arrivals {
    /// The counters.
    pub(crate) fn stats(&self) -> ListenerStats {
        ListenerStats { address: self.address, accepted: self.accepted.load(Relaxed) }
    }
}

/// Why no client was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// Nobody is waiting, or another thread was quicker.
    Nobody,
    /// That client is gone or its network failed; the next one may be well.
    ThisClient,
    /// The process or the system has no descriptor left.
    Descriptors,
    /// The kernel is short of something else.
    Kernel(Errno),
}

/// Clients that may wait to be accepted; the kernel takes less (`net.core.somaxconn`).
pub(crate) const BACKLOG: i32 = 65_535;

impl Listener {
    /// Listens on `address`.
    pub(crate) fn bind(address: SocketAddr, settings: &Settings) -> Result<Self, BindError> {
        let socket = match Self::listen(address, settings) {
            Err(error) if address.ip().is_unspecified() && address.is_ipv6() && no_ipv6(&error) => {
                tracing::warn!(%address, "no IPv6 in this kernel, listening on 0.0.0.0");
                Self::listen((Ipv4Addr::UNSPECIFIED, address.port()).into(), settings)
            }
            listening => listening,
        };
        let socket = socket.map_err(|source| refusal(address, source))?;
        let local = socket.local_addr().and_then(|local| {
            local.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
        });
        let address = local.map_err(|source| refusal(address, source))?;
        let arrivals = Arc::new(Arrivals { address, accepted: AtomicU64::new(0) });
        Ok(Self { socket: socket.into(), arrivals })
    }

    /// Takes one waiting client.
    pub(crate) fn accept(&self) -> Result<OwnedFd, AcceptError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let client = accept_with(&self.socket, flags).map_err(AcceptError::from)?;
        self.arrivals.accepted.fetch_add(1, Relaxed);
        Ok(client)
    }

    fn listen(address: SocketAddr, settings: &Settings) -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        prepare(&socket, settings, settings.client_user_timeout)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    }
}

impl From<Errno> for AcceptError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::Nobody,
            // accept(2) passes on what the network did to the client that is taken off the queue.
            Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::PERM
            | Errno::TIMEDOUT
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH => Self::ThisClient,
            Errno::MFILE | Errno::NFILE => Self::Descriptors,
            other => Self::Kernel(other),
        }
    }
}

fn no_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno == Some(Errno::AFNOSUPPORT) || errno == Some(Errno::ADDRNOTAVAIL)
}

fn refusal(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::PermissionDenied => BindError::Permission { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address },
        _ => BindError::Listen { address, source },
    }
}

#[cfg(test)]
mod tests;
