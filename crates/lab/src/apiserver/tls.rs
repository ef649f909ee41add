//! The TLS side of the stand-in: client certificates welcome, never demanded.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::Options;
use crate::Error;

pub(super) fn acceptor(options: &Options) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut authorities = RootCertStore::empty();
    for authority in certificates(&options.client_ca)? {
        authorities.add(authority)?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|error| pem_error(&options.client_ca, &error))?;
    let key = PrivateKeyDer::from_pem_file(&options.key)
        .map_err(|error| pem_error(&options.key, &error))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&options.certificate)?, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| pem_error(path, &error))
}

fn pem_error(path: &Path, error: &impl ToString) -> Error {
    Error::Pem { path: path.to_owned(), reason: error.to_string() }
}
