use std::io;

/// Why the benchmark could not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The kernel refused a namespace, a link or an address.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),

    /// A file, a socket or a thread was refused.
    #[error("the system refused {what}: {source}")]
    System { what: &'static str, source: io::Error },

    /// A peer is not installed.
    #[error(
        "cannot run {program}: install it with --install, or leave the peer out with --without"
    )]
    Missing { program: String },

    /// A command of the installation failed.
    #[error("`{0}` failed: run it by hand and look")]
    Installation(String),

    /// A proxy ended, or never listened.
    #[error("{proxy} does not serve: {why}")]
    NotServing { proxy: &'static str, why: String },

    /// The load did not end in time.
    #[error("the load did not end within {0} s")]
    Stuck(u64),
}

impl Error {
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }
}
