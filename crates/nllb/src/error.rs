//! What can go wrong.

use std::io;
use std::path::PathBuf;

/// Why the files of a balancer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or directory cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory of the kubelet's manifests does not exist.
    #[error("the manifest directory {} does not exist: it is what staticPodPath of the kubelet's configuration names (kubeadm: /etc/kubernetes/manifests)", path.display())]
    NoManifestDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest cannot be served.
    #[error("cannot serve the manifest on {address}: {source}; choose another --manifest-listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something is no kubeconfig, or its current context leads nowhere.
    #[error("{}: {reason}; `kubectl --kubeconfig {} config view --minify` should show one cluster and one user", path.display(), path.display())]
    Kubeconfig {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }
}
