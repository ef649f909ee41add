//! What can be wrong with the settings.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;

/// Why the settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig does not exist.
    #[error("the kubeconfig {} does not exist; start the cluster first (`kubeadm init`, `k0s kubeconfig admin`), or name the right file by --kubeconfig", path.display())]
    KubeconfigMissing {
        /// The kubeconfig.
        path: PathBuf,
    },
    /// The kubeconfig, or a file it names, cannot be read.
    #[error("{} cannot be read: {source}; run as a user who may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The kubeconfig is no kubeconfig, or its current context leads nowhere.
    #[error("the kubeconfig {} cannot be used: {reason}; `kubectl --kubeconfig {} config view --minify` should show one cluster and one user", path.display(), path.display())]
    KubeconfigInvalid {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster's URL is no https URL.
    #[error("the kubeconfig {} names the server {url:?}; it must be of the form https://HOST:PORT", path.display())]
    ServerUrl {
        /// The kubeconfig.
        path: PathBuf,
        /// The URL found there.
        url: String,
    },
    /// A certificate or key cannot be parsed, or the two do not belong together.
    #[error("{what} in {} cannot be used: {reason}; fetch the kubeconfig anew from its cluster", path.display())]
    Certificate {
        /// Which certificate or key.
        what: &'static str,
        /// The file it is in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate has expired.
    #[error("{what} in {} expired at {at}; {advice}", path.display())]
    Expired {
        /// Which certificate.
        what: &'static str,
        /// The file it is in.
        path: PathBuf,
        /// When it expired.
        at: Timestamp,
        /// How to renew it.
        advice: String,
    },
    /// A certificate is not valid yet.
    #[error("{what} in {} is not valid before {at}, and this machine's clock says {now}; set the clock (`timedatectl`)", path.display())]
    NotYetValid {
        /// Which certificate.
        what: &'static str,
        /// The file it is in.
        path: PathBuf,
        /// When it becomes valid.
        at: Timestamp,
        /// The time here.
        now: Timestamp,
    },
    /// A static server cannot be a backend.
    #[error("{server} cannot be used as an apiserver: {reason}; name the apiserver's own address")]
    StaticServer {
        /// The server.
        server: SocketAddr,
        /// Why.
        reason: &'static str,
    },
    /// Only the virtual IP leads to an apiserver, which is what is to be made to work.
    #[error("the kubeconfig {} names the server {server}, which cannot be used: {reason}; give an apiserver's own address by --apiserver HOST:PORT", path.display())]
    OnlyVirtual {
        /// The kubeconfig.
        path: PathBuf,
        /// Its server.
        server: SocketAddr,
        /// Why it cannot be used.
        reason: &'static str,
    },
    /// Intervals or counts of the health check are zero.
    #[error("the health check's interval, timeout, fall and rise must all be more than zero")]
    Health,
    /// Nothing leads to an apiserver.
    #[error("no apiserver is known: give --kubeconfig, or --apiserver HOST:PORT at least once")]
    Nowhere,
}
