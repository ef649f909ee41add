use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use kernel::{dummy, ipvs};

/// Why the kernel does not balance as it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two virtual servers have the same address.
    #[error("two virtual servers have the address {address}: leave one out")]
    Twice {
        /// The address.
        address: SocketAddr,
    },

    /// Packets are not forwarded by this machine, which NAT takes.
    #[error(
        "{service} has lbKind NAT, and this machine forwards no packets: set {parameter}=1, or choose DR"
    )]
    NotForwarding {
        /// The virtual server.
        service: SocketAddr,
        /// As sysctl(8) writes it.
        parameter: &'static str,
    },

    /// IPVS refused or is not there.
    #[error(transparent)]
    Ipvs(#[from] ipvs::Error),

    /// The link with the virtual addresses cannot be had.
    #[error(transparent)]
    Link(#[from] dummy::Error),

    /// A kernel parameter or an interface cannot be changed.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),

    /// What has to be undone cannot be kept.
    #[error(
        "cannot write {}, without which a crash could leave things behind: {source}",
        path.display()
    )]
    State {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },

    /// The thread cannot be started, or does not answer.
    #[error("the thread that keeps the IPVS services cannot be used: {0}")]
    Thread(io::Error),
}
