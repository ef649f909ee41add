//! One check, on a connection of its own: a GET over TLS, the handshake, or the connect alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::health::Outcome;
use crate::tls;

const READYZ: &str = "/readyz";

/// A failing `/readyz` lists its checks in less than this many bytes.
const LARGEST_BODY: usize = 16 * 1024;

/// Asks the apiserver at `address` whether it is ready, for no longer than `timeout`.
pub(crate) async fn probe(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    timeout: Duration,
) -> Outcome {
    let begin = Instant::now();
    let shows_certificate = tls.client_auth_cert_resolver.has_certs();
    match answer(address, tls, timeout).await {
        Ok((StatusCode::OK, _)) => Outcome::Ready(begin.elapsed()),
        Ok((status, body)) => Outcome::NotReady(explain(status, &body, shows_certificate)),
        Err(outcome) => outcome,
    }
}

/// Whether somebody takes a connection at `address` within `timeout`.
pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> Outcome {
    let begin = Instant::now();
    match timeout_at(begin + timeout, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Outcome::Ready(begin.elapsed()),
        Ok(Err(error)) => connect_failure(&error),
        Err(_) => hung(timeout, "connect"),
    }
}

/// Whether the server at `address` takes part in a TLS handshake within `timeout`.
///
/// One that wants to see a certificate ends the handshake for want of it (up to TLS 1.2; in TLS 1.3
/// the client is through by then). Having asked for it, it has shown that it is well.
pub(crate) async fn handshake(address: SocketAddr, timeout: Duration) -> Outcome {
    let begin = Instant::now();
    let asked = Arc::new(Asked::default());
    let mut tls = tls::anonymous();
    tls.client_auth_cert_resolver = Arc::clone(&asked) as _;
    // Servers that speak but one of these refuse a client that offers nothing.
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    match secure(address, Arc::new(tls), begin + timeout, timeout).await {
        Err(Outcome::NotReady(_)) if asked.0.load(Relaxed) => Outcome::Ready(begin.elapsed()),
        Ok(_) => Outcome::Ready(begin.elapsed()),
        Err(outcome) => outcome,
    }
}

/// Whether the server at `address` answers GET `path` with `status` within `timeout`.
pub(crate) async fn get(
    address: SocketAddr,
    path: &str,
    status: u16,
    timeout: Duration,
) -> Outcome {
    let begin = Instant::now();
    match answer_to(path, address, Arc::new(tls::anonymous()), timeout).await {
        Ok((found, _)) if found.as_u16() == status => Outcome::Ready(begin.elapsed()),
        Ok((found, _)) => Outcome::NotReady(format!("GET {path}: {found} rather than {status}")),
        Err(outcome) => outcome,
    }
}

/// What the server at `address` says to GET `/readyz`, or why it says nothing.
pub(crate) async fn answer(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), Outcome> {
    answer_to(READYZ, address, tls, timeout).await
}

async fn answer_to(
    path: &str,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    timeout: Duration,
) -> Result<(StatusCode, Bytes), Outcome> {
    let deadline = Instant::now() + timeout;
    let request = request(path, address)
        .map_err(|error| Outcome::NotReady(format!("GET {path}: {error}")))?;
    let stream = secure(address, tls, deadline, timeout).await?;
    timeout_at(deadline, ask(request, stream))
        .await
        .map_err(|_| hung(timeout, &format!("GET {path}")))?
        .map_err(|error| Outcome::NotReady(format!("GET {path}: {error}")))
}

/// Connects, and shakes hands.
async fn secure(
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    deadline: Instant,
    timeout: Duration,
) -> Result<TlsStream<TcpStream>, Outcome> {
    let stream = timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| hung(timeout, "connect"))?
        .map_err(|error| connect_failure(&error))?;
    let handshake = TlsConnector::from(tls).connect(address.ip().into(), stream);
    timeout_at(deadline, handshake)
        .await
        .map_err(|_| hung(timeout, "the TLS handshake"))?
        .map_err(|error| Outcome::NotReady(format!("TLS handshake: {error}")))
}

/// Has no certificate to show, and remembers whether it was asked for one.
#[derive(Debug, Default)]
struct Asked(AtomicBool);

impl ResolvesClientCert for Asked {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.store(true, Relaxed);
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn hung(timeout: Duration, stage: &str) -> Outcome {
    Outcome::Silent(format!("no answer within {} ms: {stage} hangs", timeout.as_millis()))
}

/// Refused or no way there: certain. Anything else may pass.
fn connect_failure(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Absent("connection refused".into()),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => Outcome::Absent(error.to_string()),
        _ => Outcome::NotReady(format!("connect: {error}")),
    }
}

fn request(path: &str, address: SocketAddr) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    Request::get(path)
        .header(HOST, address.to_string())
        .header(USER_AGENT, concat!("cplb/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::new())
}

async fn ask(
    request: Request<Empty<Bytes>>,
    stream: TlsStream<TcpStream>,
) -> Result<(StatusCode, Bytes), hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        Ok((response.status(), body(response).await))
    };
    tokio::select! {
        answer = exchange => answer,
        Err(error) = connection => Err(error),
    }
}

/// The body of a failure; of a success only the status counts.
async fn body(response: Response<Incoming>) -> Bytes {
    if response.status() == StatusCode::OK {
        return Bytes::new();
    }
    // The status says enough where the body does not arrive in full.
    let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
    body.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

fn explain(status: StatusCode, body: &[u8], shows_certificate: bool) -> String {
    let code = status.as_u16();
    if status == StatusCode::UNAUTHORIZED && shows_certificate {
        return format!("{code}: the client certificate of the kubeconfig is not accepted");
    }
    if status == StatusCode::UNAUTHORIZED {
        return format!(
            "{code}: anonymous requests are off (--anonymous-auth=false), so a kubeconfig with a \
             client certificate is needed"
        );
    }
    if status == StatusCode::FORBIDDEN {
        return format!("{code}: it is still starting, or its RBAC rules withhold /readyz");
    }
    // "[-]etcd failed: reason withheld", one line for each failing check.
    let body = String::from_utf8_lossy(body);
    let failing: Vec<_> = body
        .lines()
        .filter_map(|line| line.strip_prefix("[-]")?.split_whitespace().next())
        .collect();
    if failing.is_empty() {
        return format!("{code} {}", status.canonical_reason().unwrap_or("(not ready)"));
    }
    format!("{code}: failing: {}", failing.join(", "))
}

#[cfg(test)]
mod tests;
