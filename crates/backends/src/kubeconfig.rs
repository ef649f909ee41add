//! The credentials: read, judged, and made into clients and TLS settings.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::http::uri::InvalidUri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{Kubeconfig, KubeconfigError, LoadDataError};
use kube::{Client, Config};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tower::{BoxError, ServiceExt};
use tracing::warn;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::Error;
use crate::tls::{self, AnyName, Unverified};

mod files;

use files::Files;

/// The name the serving certificate of every apiserver carries.
const SERVICE_NAME: &str = "kubernetes.default.svc";
/// An apiserver that takes longer to accept is not the one to read from.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A watch may be quiet for a minute; probes tell earlier that the host has lost its power.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What a kubeconfig says, read once.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    path: PathBuf,
    config: Config,
    authority: Option<Arc<WebPkiServerVerifier>>,
    health: Arc<ClientConfig>,
    server: (String, u16),
    files: Files,
}

impl Credentials {
    /// The TLS settings of health checks: nothing verified, the client certificate shown.
    pub(crate) fn health(&self) -> Arc<ClientConfig> {
        self.health.clone()
    }

    /// Host and port of the kubeconfig's own server.
    pub(crate) fn server(&self) -> (&str, u16) {
        (&self.server.0, self.server.1)
    }

    /// The address of that server, if it is given by address rather than by name.
    pub(crate) fn server_address(&self) -> Option<SocketAddr> {
        let ip = self.server.0.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), self.server.1))
    }

    /// The kubeconfig itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The state of the files this was read from, as it was then.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// A client that reaches the apiserver at `address` and no other, directly.
    ///
    /// May block: where the kubeconfig names a credential plugin, it is run.
    pub(crate) fn client(&self, address: SocketAddr) -> Result<Client, kube::Error> {
        let mut config = self.config.clone();
        let url = format!("https://{address}");
        config.cluster_url =
            url.parse().map_err(|error: InvalidUri| kube::Error::HttpError(error.into()))?;

        let names = self.names(address);
        let mut tls = config.rustls_client_config()?;
        // A resumed session can lose the identity the client certificate gave: sporadic 401.
        tls.resumption = Resumption::disabled();
        let first = names.first().cloned().unwrap_or_else(|| address.ip().into());
        if let Some(authority) = &self.authority {
            let verifier = AnyName::new(authority.clone(), names);
            tls.dangerous().set_certificate_verifier(Arc::new(verifier));
        }

        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE / 2));
        tcp.set_keepalive_retries(Some(3));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .with_server_name_resolver(FixedServerNameResolver::new(first))
            .enable_http1()
            .wrap_connector(tcp);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .build::<_, Body>(connector)
            .map_err(BoxError::from);

        let stack = ClientBuilder::new(http, config.default_namespace.clone())
            .with_layer(&config.base_uri_layer())
            .with_layer(&config.extra_headers_layer()?);
        Ok(match config.auth_layer()? {
            Some(auth) => stack.with_layer(&auth).build(),
            None => stack.build(),
        })
    }

    /// The names by which the apiserver at `address` may show itself.
    fn names(&self, address: SocketAddr) -> Vec<ServerName<'static>> {
        let own = self.config.tls_server_name.as_deref();
        if let Some(name) = own.and_then(|it| ServerName::try_from(it.to_owned()).ok()) {
            return vec![name];
        }
        let names = [SERVICE_NAME, &self.server.0].map(|it| ServerName::try_from(it.to_owned()));
        let mut names: Vec<_> = names.into_iter().flatten().collect();
        names.push(address.ip().into());
        names
    }
}

/// Which of the two is to be read: a node has only that of its bootstrap token before it is
/// registered, and the kubelet writes the other one then.
pub(crate) fn current<'a>(kubeconfig: &'a Path, bootstrap: Option<&'a Path>) -> &'a Path {
    match bootstrap {
        Some(bootstrap) if !kubeconfig.exists() && bootstrap.exists() => bootstrap,
        _ => kubeconfig,
    }
}

/// Reads the kubeconfig at `path` and judges it as of `now`.
pub(crate) fn load(path: &Path, now: SystemTime) -> Result<Credentials, Error> {
    tls::install_provider();
    let mut files = Files::default();
    files.note(path);
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| invalid(path, error))?;
    files.note_named_by(&kubeconfig);
    let config = direct_config(path, kubeconfig)?;
    let server = server(path, &config)?;
    let authority = authority(path, &config, now)?;
    let health = Arc::new(health_tls(path, &config, now)?);
    Ok(Credentials { path: path.to_owned(), config, authority, health, server, files })
}

/// The current context's configuration, without any proxy: apiservers are reached directly.
fn direct_config(path: &Path, mut kubeconfig: Kubeconfig) -> Result<Config, Error> {
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|it| it.cluster.as_mut()) {
        if let Some(proxy) = cluster.proxy_url.as_deref().filter(|it| !it.is_empty()) {
            let path = path.display();
            warn!(%path, proxy, "the kubeconfig's proxy-url is ignored: apiservers are reached directly");
        }
        // Where none is set, kube takes the one of the environment. It is taken out again below.
        cluster.proxy_url = Some("http://unused.invalid".into());
    }
    let mut config = Config::try_from(kubeconfig).map_err(|error| invalid(path, error))?;
    config.proxy_url = None;
    Ok(config)
}

fn server(path: &Path, config: &Config) -> Result<(String, u16), Error> {
    let url = &config.cluster_url;
    let https = url.scheme_str() == Some("https");
    let (true, Some(host)) = (https, url.host()) else {
        return Err(Error::ServerUrl { path: path.to_owned(), url: url.to_string() });
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port_u16().unwrap_or(443)))
}

/// The verifier by the cluster's CA; `None` where the kubeconfig leaves it to the system's.
fn authority(
    path: &Path,
    config: &Config,
    now: SystemTime,
) -> Result<Option<Arc<WebPkiServerVerifier>>, Error> {
    let what = "the CA certificate";
    let Some(certificates) = config.root_cert.as_ref().filter(|_| !config.accept_invalid_certs)
    else {
        return Ok(None);
    };
    let unusable = |reason: String| Error::Certificate { what, path: path.to_owned(), reason };
    if certificates.is_empty() {
        return Err(unusable("it holds no certificate".into()));
    }
    let mut roots = RootCertStore::empty();
    let mut verdict = Ok(());
    let mut any_valid = false;
    for certificate in certificates {
        // Of several CAs, as during a rotation, one that is valid suffices.
        match judge_validity(what, path, certificate, now) {
            Ok(()) => any_valid = true,
            Err(error) => verdict = verdict.and(Err(error)),
        }
        let certificate = CertificateDer::from(certificate.clone());
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if !any_valid {
        verdict?;
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build();
    verifier.map(Some).map_err(|error| unusable(error.to_string()))
}

/// The TLS settings of health checks, and with them the verdict on the client certificate.
fn health_tls(path: &Path, config: &Config, now: SystemTime) -> Result<ClientConfig, Error> {
    let what = "the client certificate";
    let mut config = config.clone();
    // A credential plugin may ask for anything; it is run when discovery needs it, not before.
    config.auth_info.exec = None;
    // Finds a token file that cannot be read.
    config.auth_layer().map_err(|error| unusable(path, error))?;
    let mut tls = config.rustls_client_config().map_err(|error| unusable(path, error))?;
    let shown = tls.client_auth_cert_resolver.resolve(&[], &[SignatureScheme::ED25519]);
    if let Some(leaf) = shown.as_ref().and_then(|it| it.cert.first()) {
        let inline = config.auth_info.client_certificate_data.is_some();
        let file = config.auth_info.client_certificate.as_deref().filter(|_| !inline);
        judge_validity(what, file.map_or(path, Path::new), leaf, now)?;
    }
    tls.dangerous().set_certificate_verifier(Arc::new(Unverified::new()));
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

fn judge_validity(
    what: &'static str,
    path: &Path,
    certificate: &[u8],
    now: SystemTime,
) -> Result<(), Error> {
    let path = path.to_owned();
    let (_, certificate) = match X509Certificate::from_der(certificate) {
        Ok(parsed) => parsed,
        Err(error) => return Err(Error::Certificate { what, path, reason: error.to_string() }),
    };
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::MAX);
    let [begin, end] = [certificate.validity.not_before, certificate.validity.not_after]
        .map(|it| Timestamp::from_second(it.timestamp()).unwrap_or(Timestamp::MAX));
    if now < begin {
        return Err(Error::NotYetValid { what, path, at: begin, now });
    }
    if now > end {
        let advice = renewal(&path);
        return Err(Error::Expired { what, path, at: end, advice });
    }
    Ok(())
}

/// How a certificate found at `path` is renewed.
fn renewal(path: &Path) -> String {
    let name = path.file_name().and_then(|it| it.to_str());
    match name.filter(|it| path.starts_with("/etc/kubernetes") && it.ends_with(".conf")) {
        Some(name) => format!("renew it with `kubeadm certs renew {name}`"),
        None => "renew it where it was issued (kubeadm: `kubeadm certs renew admin.conf`; k0s: \
                 `k0s kubeconfig admin`), or name another file by --kubeconfig"
            .into(),
    }
}

fn invalid(path: &Path, error: KubeconfigError) -> Error {
    match error {
        KubeconfigError::ReadConfig(source, file) => unreadable(path, file, source),
        KubeconfigError::LoadCertificateAuthority(LoadDataError::ReadFile(source, file))
        | KubeconfigError::LoadClientCertificate(LoadDataError::ReadFile(source, file))
        | KubeconfigError::LoadClientKey(LoadDataError::ReadFile(source, file)) => {
            unreadable(path, file, source)
        }
        other => {
            Error::KubeconfigInvalid { path: path.to_owned(), reason: one_line(&other.to_string()) }
        }
    }
}

fn unreadable(kubeconfig: &Path, file: PathBuf, source: io::Error) -> Error {
    if file == kubeconfig && source.kind() == io::ErrorKind::NotFound {
        return Error::KubeconfigMissing { path: file };
    }
    Error::Unreadable { path: file, source }
}

fn unusable(path: &Path, error: kube::Error) -> Error {
    match error {
        kube::Error::InferKubeconfig(error) => invalid(path, error),
        other => {
            let what = "the client certificate, its key or the token";
            Error::Certificate { what, path: path.to_owned(), reason: one_line(&other.to_string()) }
        }
    }
}

/// Parse errors come with a picture of the lines around them, which could show a key.
fn one_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
