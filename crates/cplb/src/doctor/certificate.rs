//! Does the apiserver's certificate carry the virtual IPs, and is it valid?

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Finding;

#[cfg(test)]
mod tests;

const CHECK: &str = "certificate";
const PATIENCE: Duration = Duration::from_secs(3);
/// A certificate that ends sooner is worth a warning.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What a certificate says that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) not_after: Timestamp,
}

/// Judges the certificate that the apiserver at `server` shows.
pub(crate) fn check(
    certificate: &Certificate,
    server: SocketAddr,
    virtual_addresses: &[IpAddr],
    distribution: Option<Distribution>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let missing: Vec<IpAddr> = virtual_addresses
        .iter()
        .filter(|address| !certificate.addresses.contains(address))
        .copied()
        .collect();
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        findings.push(
            Finding::error(
                CHECK,
                format!("the certificate of the apiserver at {server} is not for {}", names.join(", ")),
            )
            .because("every client that connects to the virtual IP refuses it (x509: certificate is valid for ..., not ...)")
            .advise(Distribution::how_to_add(distribution, missing[0])),
        );
    }
    let end = certificate.not_after;
    if end < now {
        findings.push(
            Finding::error(
                CHECK,
                format!("the certificate of the apiserver at {server} has expired on {end}"),
            )
            .because("clients refuse it")
            .advise("renew it, and see whether this host's clock is right"),
        );
    } else if end.duration_since(now) < SOON {
        findings.push(
            Finding::warning(
                CHECK,
                format!("the certificate of the apiserver at {server} expires on {end}"),
            )
            .because("clients refuse it from then on")
            .advise("renew it in time"),
        );
    }
    if findings.is_empty() {
        let names: Vec<String> = virtual_addresses.iter().map(ToString::to_string).collect();
        let seen = format!("the apiserver at {server} has one for {}", names.join(", "));
        findings.push(Finding::ok(CHECK, seen));
    }
    findings
}

/// Who installed the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distribution {
    K0s,
    K3s,
    Rke2,
    Kubeadm,
}

impl Distribution {
    /// Told by the files each leaves.
    pub(crate) fn of_this_host() -> Option<Self> {
        let marks = [
            ("/var/lib/k0s/pki", Self::K0s),
            ("/var/lib/rancher/rke2/server", Self::Rke2),
            ("/var/lib/rancher/k3s/server", Self::K3s),
            ("/etc/kubernetes/manifests/kube-apiserver.yaml", Self::Kubeadm),
        ];
        marks.iter().find(|(mark, _)| Path::new(mark).exists()).map(|(_, it)| *it)
    }

    fn how_to_add(this: Option<Self>, address: IpAddr) -> String {
        match this {
            Some(Self::K0s) => format!(
                "add {address} to spec.api.sans of k0s.yaml on every controller and restart k0scontroller: it issues the certificate anew"
            ),
            Some(Self::K3s) => format!(
                "add `tls-san: [{address}]` to /etc/rancher/k3s/config.yaml on every server and restart k3s"
            ),
            Some(Self::Rke2) => format!(
                "add `tls-san: [{address}]` to /etc/rancher/rke2/config.yaml on every server and restart rke2-server"
            ),
            Some(Self::Kubeadm) => format!(
                "add {address} to apiServer.certSANs of the ClusterConfiguration (`kubectl -n kube-system edit configmap kubeadm-config`), then on every control plane node move /etc/kubernetes/pki/apiserver.crt and .key away, run `kubeadm init phase certs apiserver --config FILE` and restart the kube-apiserver"
            ),
            None => format!(
                "have the certificate issued anew with {address} on every node (k0s: spec.api.sans; kubeadm: apiServer.certSANs and `kubeadm init phase certs apiserver`; k3s, RKE2: tls-san)"
            ),
        }
    }
}

impl Certificate {
    /// Reads DER; `None` for what is no certificate.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let extension = certificate.subject_alternative_name().ok()?;
        let names = extension.map(|it| it.value.general_names.clone()).unwrap_or_default();
        let address = |name: &GeneralName<'_>| match name {
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        };
        Some(Self {
            addresses: names.iter().filter_map(address).collect(),
            not_after: Timestamp::from_second(certificate.validity.not_after.timestamp()).ok()?,
        })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The certificate that the server shows, or why there is none to see.
pub(crate) async fn shown_by(server: SocketAddr) -> Result<Certificate, String> {
    let witness = Arc::new(Witness::default());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let handshake = async {
        let stream = TcpStream::connect(server).await?;
        TlsConnector::from(Arc::new(config)).connect(server.ip().into(), stream).await
    };
    let outcome = timeout(PATIENCE, handshake).await;
    // A server that wants a client certificate ends the connection after it has shown its own.
    if let Some(der) = witness.seen.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Certificate::parse(&der).ok_or_else(|| "its certificate cannot be read".to_owned());
    }
    match outcome {
        Ok(Ok(_)) => Err("it showed no certificate".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// Accepts any certificate and remembers it: nothing is sent that is secret.
#[derive(Debug)]
struct Witness {
    provider: CryptoProvider,
    seen: Mutex<Option<Vec<u8>>>,
}

impl Default for Witness {
    fn default() -> Self {
        Self { provider: ring::default_provider(), seen: Mutex::default() }
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
