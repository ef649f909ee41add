//! What can go wrong while a lab is built and run.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the lab could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a namespace, a link or an address.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),

    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),

    /// A TLS setting was refused.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),

    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file concerned.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// A PEM file holds no usable certificate or key.
    #[error("{}: {reason}: give a PEM file that holds one", path.display())]
    Pem {
        /// The file concerned.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },

    /// The apiserver's address is taken or not allowed.
    #[error("cannot listen on {address}: {source}: stop what listens there or choose another port")]
    Listen {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system answered.
        source: io::Error,
    },

    /// A process could not be started.
    #[error("cannot start {program} for {name}: {source}")]
    Start {
        /// The process in the lab, such as `controller-1`.
        name: String,
        /// The program file.
        program: String,
        /// What the system answered.
        source: io::Error,
    },

    /// A process was asked to start while it still runs.
    #[error("{0} still runs: wait until it has ended, then start it")]
    StillRunning(String),

    /// A signal could not be sent.
    #[error("cannot signal {name}: {source}")]
    Signal {
        /// The process in the lab.
        name: String,
        /// What the system answered.
        source: io::Error,
    },

    /// A thread, a pipe or a runtime was refused.
    #[error("the system refused {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it answered.
        source: io::Error,
    },

    /// The cluster's document cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    NoSuchDocument {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// The cluster's document has errors.
    #[error("the configuration has errors:\n{0}")]
    Config(String),

    /// The cluster's document gives the lab nothing to show.
    #[error(
        "the configuration has no virtual IP: enable controlPlaneLoadBalancing and give it virtualIPs"
    )]
    NoVirtualAddress,

    /// The document asks for an interface by its MAC address.
    #[error(
        "the lab's interfaces have no MAC address known beforehand: name the interface instead, or leave it out"
    )]
    InterfaceByMac,

    /// The subnet of the virtual IP is too small for the nodes.
    #[error(
        "{subnet} has no room for {nodes} nodes, a client and a gateway beside the virtual IPs: use a larger prefix"
    )]
    SubnetTooSmall {
        /// The subnet.
        subnet: String,
        /// How many controllers were asked for.
        nodes: usize,
    },

    /// The scenario is neither built in nor a file that can be read.
    #[error(
        "cannot read the scenario {name}: {source}; name a file, or {built_in}, which are built in"
    )]
    NoSuchScenario {
        /// The name or file asked for.
        name: String,
        /// The names of those that are there always.
        built_in: String,
        /// What the system answered.
        source: io::Error,
    },

    /// The scenario is not understood.
    #[error(transparent)]
    Scenario(#[from] crate::scenario::ParseError),

    /// The scenario names a node that is not there.
    #[error("there is no node {number}: the lab has nodes 1 to {nodes}")]
    NoSuchNode {
        /// The number asked for.
        number: usize,
        /// How many there are.
        nodes: usize,
    },

    /// The cluster did not come to rest.
    #[error("the cluster was not steady within {limit:?}: {missing}\n{logs}")]
    NotSteady {
        /// How long it was given.
        limit: Duration,
        /// What was still missing.
        missing: String,
        /// The last log lines of each process concerned.
        logs: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { path: path.into(), source }
    }
}
