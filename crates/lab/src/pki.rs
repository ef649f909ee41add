//! Certificates of a cluster: an authority, serving certificates, an administrator, and the kubeconfig that names them.

use std::net::IpAddr;
use std::path::Path;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;

use crate::Error;

#[cfg(test)]
mod tests;

/// The names every distribution's serving certificate carries for clients inside the cluster.
const SERVICE_NAMES: [&str; 5] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
];

/// First address of the default service network: the `kubernetes` service itself.
const SERVICE_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1));

/// A certificate authority of one cluster, valid from yesterday for a week.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its private key.
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM (PKCS#8).
    pub key: String,
    /// The certificate, DER: what a TLS client sees of its peer.
    pub der: CertificateDer<'static>,
}

impl Authority {
    /// Makes a new authority with a fresh key.
    ///
    /// # Errors
    /// When no random key can be had.
    pub fn new() -> Result<Self, Error> {
        let key = KeyPair::generate()?;
        let mut params = params("kubernetes")?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        let certificate = params.self_signed(&key)?;
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// The authority's own certificate, DER.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A serving certificate for an apiserver called `name` at `addresses` (the virtual IPs among them);
    /// loopback, the service address and the in-cluster names are added.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn serving(&self, name: &str, addresses: &[IpAddr]) -> Result<Identity, Error> {
        let mut params = params(name)?;
        for service_name in SERVICE_NAMES {
            params.subject_alt_names.push(SanType::DnsName(service_name.try_into()?));
        }
        let loopback = [IpAddr::from([127, 0, 0, 1]), SERVICE_ADDRESS];
        for address in loopback.iter().chain(addresses) {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: user `name` in `group` (`system:masters` may do everything).
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn client(&self, name: &str, group: &str) -> Result<Identity, Error> {
        let mut params = params(name)?;
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity, Error> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        })
    }
}

/// A kubeconfig for `server` (`https://HOST:PORT`) that refers to its certificates by file.
#[must_use]
pub fn kubeconfig(server: &str, authority: &Path, certificate: &Path, key: &Path) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: lab
  cluster:
    server: {server}
    certificate-authority: {authority}
contexts:
- name: lab
  context:
    cluster: lab
    user: admin
current-context: lab
users:
- name: admin
  user:
    client-certificate: {certificate}
    client-key: {key}
",
        authority = authority.display(),
        certificate = certificate.display(),
        key = key.display(),
    )
}

fn params(common_name: &str) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let midnight = |date: Date| {
        let unsigned = |part: i8| part.unsigned_abs();
        rcgen::date_time_ymd(date.year().into(), unsigned(date.month()), unsigned(date.day()))
    };
    params.not_before = midnight(today.saturating_sub(1.day()));
    params.not_after = midnight(today.saturating_add(7.days()));
    Ok(params)
}
