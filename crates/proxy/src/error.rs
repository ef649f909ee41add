//! Why the proxy could not begin.

use std::io;
use std::net::SocketAddr;

/// Why a proxy could not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The settings name no address.
    #[error("no listen address: give at least one, such as [::]:6444")]
    NoAddress,
    /// Another socket listens there already.
    #[error(
        "{address} is in use: find its owner with `ss -ltnp 'sport = :{port}'`, stop it, or listen on another port",
        port = address.port()
    )]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The kernel does not let this user listen there.
    #[error(
        "no permission to listen on {address}: ports below 1024 need CAP_NET_BIND_SERVICE; run as root or take a higher port"
    )]
    Permission {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The machine does not have the address.
    #[error("{address} is no address of this machine: see `ip address`, or listen on [::]:{port}", port = address.port())]
    NotLocal {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was handed over is of no use.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// No pipes for bulk transfers, most often for want of descriptors.
    #[error("cannot create {pipes} pipes: {source}; raise the descriptor limit (ulimit -n)")]
    Pipes {
        /// How many were asked for.
        pipes: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why a descriptor could not be taken over as a listening socket.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is something else.
    #[error("the descriptor handed over is no listening TCP socket")]
    NoListener,
    /// It is one, but refuses the options of ours.
    #[error("cannot take over a listening socket: {source}")]
    Refused {
        /// What the kernel said.
        source: io::Error,
    },
}

/// Why the threads could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No epoll instance or wake-up descriptor.
    #[error("cannot set up the event loop: {0}; raise the descriptor limit (ulimit -n)")]
    EventLoop(#[source] io::Error),
    /// No further thread.
    #[error("cannot start a proxy thread: {0}; raise the process limit (ulimit -u, TasksMax)")]
    Thread(#[source] io::Error),
}
