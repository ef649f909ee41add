//! Why a turn failed, in words that help.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use kube::core::Status;

/// Why a turn failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API answered with an error.
    Api(Box<Status>),
    /// Anything that kept the API from answering.
    Transport(Box<kube::Error>),
    /// No answer came in time.
    Silent,
    /// The health checks found the apiserver unhealthy in the meantime.
    Unhealthy,
    /// The watch broke off for this reason, after the list had been read.
    Broken(Box<Self>),
    /// The credential plugin of the kubeconfig did not do its work in time.
    Plugin,
}

impl Failure {
    /// Whether the turn went well until it was broken off: another one follows without a pause.
    pub(super) fn interrupts(&self) -> bool {
        match self {
            Self::Unhealthy => true,
            // What the API refuses to do now it will refuse again.
            Self::Broken(reason) => !matches!(**reason, Self::Api(_)),
            _ => false,
        }
    }

    /// What went wrong at `via` with the kubeconfig at `path`, and what to do.
    pub(super) fn explain(&self, via: SocketAddr, path: &Path) -> String {
        let kubeconfig = path.display();
        match self {
            Self::Api(status) if status.code == 401 => format!(
                "{via} does not accept the credentials of {kubeconfig} (401); renew them \
                 (`kubeadm certs renew`, `k0s kubeconfig admin`)"
            ),
            Self::Api(status) if status.code == 403 => format!(
                "{via} does not let the user of {kubeconfig} read the endpoints (403); grant it \
                 get, list and watch of endpointslices.discovery.k8s.io and of endpoints in the \
                 namespace default"
            ),
            Self::Api(status) => format!("{via}: {} ({})", status.message, status.code),
            Self::Transport(error) => {
                let text = cause(error);
                // What rustls says of any certificate it does not accept.
                let advice = if text.contains("invalid peer certificate") {
                    format!(
                        "; {kubeconfig} is of another cluster, or the apiserver's certificate \
                         carries neither kubernetes.default.svc nor its address"
                    )
                } else {
                    String::new()
                };
                format!("{via}: {text}{advice}")
            }
            Self::Silent => format!("{via} falls silent"),
            Self::Unhealthy => format!("{via} has become unhealthy"),
            Self::Broken(reason) => format!("the watch broke off: {}", reason.explain(via, path)),
            Self::Plugin => format!("the credential plugin of {kubeconfig} does not answer"),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Api(status),
            other => Self::Transport(Box::new(other)),
        }
    }
}

/// The innermost cause: what lies around it names the layers of the client only.
fn cause(error: &kube::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
