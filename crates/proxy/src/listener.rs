//! Listening sockets.
//!
//! One socket per address, shared by all threads through `EPOLLEXCLUSIVE`. With a socket per
//! thread (`SO_REUSEPORT`) the kernel would spread clients by a hash, leave some waiting behind a
//! busy thread, and reset those queued on a socket that closes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{SocketFlags, SocketType, acceptfrom_with, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{AdoptError, BindError};
use crate::settings::Settings;
use crate::socket::prepare;
use crate::stats::{ListenerStats, Rejected};

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
    /// Those that were reset right away.
    pub(crate) rejected: Rejections,
}

/// Clients reset right after they were accepted, by reason.
#[derive(Debug, Default)]
pub(crate) struct Rejections {
    pub(crate) no_backend: AtomicU64,
    pub(crate) over_limit: AtomicU64,
    pub(crate) no_descriptors: AtomicU64,
    pub(crate) per_source: AtomicU64,
    pub(crate) foreign: AtomicU64,
}

impl Arrivals {
    /// The counters.
    pub(crate) fn stats(&self) -> ListenerStats {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let rejected = Rejected {
            no_backend: of(&self.rejected.no_backend),
            limit: of(&self.rejected.over_limit),
            descriptors: of(&self.rejected.no_descriptors),
            per_source: of(&self.rejected.per_source),
            foreign: of(&self.rejected.foreign),
        };
        ListenerStats { address: self.address, accepted: of(&self.accepted), rejected }
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
        Self::of(socket).map_err(|source| refusal(address, source))
    }

    /// Takes over a socket that listens already.
    pub(crate) fn adopt(socket: OwnedFd, settings: &Settings) -> Result<Self, AdoptError> {
        let is_stream = sockopt::socket_type(&socket).is_ok_and(|kind| kind == SocketType::STREAM);
        if !is_stream || !sockopt::socket_acceptconn(&socket).is_ok_and(|listens| listens) {
            return Err(AdoptError::NoListener);
        }
        let refused = |source: io::Error| AdoptError::Refused { source };
        let socket = Socket::from(socket);
        socket.set_nonblocking(true).map_err(refused)?;
        prepare(&socket, settings, settings.client_user_timeout)
            .map_err(|error| refused(error.into()))?;
        Self::of(socket).map_err(refused)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.arrivals.address
    }

    fn of(socket: Socket) -> io::Result<Self> {
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let (accepted, rejected) = (AtomicU64::new(0), Rejections::default());
        let arrivals = Arc::new(Arrivals { address, accepted, rejected });
        Ok(Self { socket: socket.into(), arrivals })
    }

    /// Takes one waiting client. Says where it comes from, too.
    pub(crate) fn accept(&self) -> Result<(OwnedFd, IpAddr), AcceptError> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (client, source) = acceptfrom_with(&self.socket, flags).map_err(AcceptError::from)?;
        self.arrivals.accepted.fetch_add(1, Relaxed);
        let source = source.and_then(|source| SocketAddr::try_from(source).ok());
        // TCP always tells.
        Ok((client, source.map_or(Ipv4Addr::UNSPECIFIED.into(), |source| source.ip())))
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
