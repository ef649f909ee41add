//! A watch held open through the virtual IP, as every controller and kubelet has one: when it is cut, and how soon it is back.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::{Log, Options, handshaken};
use crate::Error;

/// Between two attempts to establish the watch.
const PAUSE: Duration = Duration::from_millis(100);
/// How long an attempt may take until the first event.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// A watch of the one object that everybody has.
const PATH: &str =
    "/api/v1/namespaces/default/endpoints?watch=true&fieldSelector=metadata.name%3Dkubernetes";

/// The held watch was established or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WatchChange {
    /// Since the origin, in seconds and nanoseconds.
    pub at: Duration,
    /// Whether events flow from now on.
    pub established: bool,
}

pub(super) fn connector(
    options: &Options,
    (certificate, key): &(String, String),
) -> Result<TlsConnector, Error> {
    let unusable = |error: rustls::pki_types::pem::Error| Error::Pem {
        path: "client certificate".into(),
        reason: error.to_string(),
    };
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(unusable)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unusable)?;
    super::connector(&options.authority, Some((vec![certificate], key)))
}

pub(super) async fn hold(
    connector: TlsConnector,
    address: SocketAddr,
    log: Arc<Log>,
) -> Infallible {
    loop {
        // Why an attempt failed is the business of the requests beside it, which count failures.
        let _cut = watch(&connector, address, &log).await;
        note(&log, false);
        sleep(PAUSE).await;
    }
}

async fn watch(
    connector: &TlsConnector,
    address: SocketAddr,
    log: &Log,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = timeout(ATTEMPT_LIMIT, async {
        handshaken(connector, TcpStream::connect(address).await?).await
    });
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream.await??)).await?;
    let request = Request::get(PATH).header("host", "kubernetes").body(Empty::<Bytes>::new())?;
    let events = async {
        let response = timeout(ATTEMPT_LIMIT, sender.send_request(request)).await??;
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
            note(log, true);
        }
        Ok(())
    };
    tokio::select! {
        outcome = events => outcome,
        closed = connection => Ok(closed?),
    }
}

fn note(log: &Log, established: bool) {
    let at = log.now();
    let mut entries = log.lock();
    let before = entries.watch.last().is_some_and(|last| last.established);
    if before != established {
        entries.watch.push(WatchChange { at, established });
    }
}
