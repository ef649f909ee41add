use std::io;
use std::time::Duration;

/// Why the benchmark could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refused a namespace, a link or a socket.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),

    /// The cluster could not be built or a process not be started.
    #[error(transparent)]
    Lab(#[from] lab::Error),

    /// A file, a socket or a thread was refused.
    #[error("the system refused {what}: {source}")]
    System { what: &'static str, source: io::Error },

    /// There is nothing to compare with.
    #[error("cannot run keepalived: {0}: install the package keepalived")]
    NoKeepalived(io::Error),

    /// Its file of process numbers is missing or is not one.
    #[error("keepalived did not tell the process that speaks VRRP in {0}")]
    NoProcessNumber(String),

    /// No name contains the pattern.
    #[error("--only matches no case; these are there:\n{}", .0.join("\n"))]
    NoSuchCase(Vec<String>),

    /// The lab's certificates cannot be used.
    #[error("no TLS for the clients: {0}")]
    Tls(String),

    /// `cplb status` says nothing, or not what is asked.
    #[error("{0} does not tell its status")]
    NoStatus(String),

    /// Nobody or several hold the virtual IP, or it does not answer.
    #[error("the cluster was not at rest within {limit:?}: {missing}\n{logs}")]
    Restless { limit: Duration, missing: String, logs: String },

    /// A stopped process did not end.
    #[error("{name} did not end within {limit:?}")]
    NotEnded { name: String, limit: Duration },

    /// Ctrl-C or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}
