//! The manifest over HTTP, for a kubelet whose `staticPodURL` leads here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::Error;

/// The path that answers, as at k0s.
const PATH: &str = "/manifests";
/// Out of descriptors: the next attempt fails alike for a while.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// The manifests that are offered, by their pods' names. Served until dropped, if at all.
#[derive(Debug, Default)]
pub struct Manifests {
    offered: watch::Sender<BTreeMap<String, Value>>,
    server: Option<Server>,
}

#[derive(Debug)]
struct Server {
    address: SocketAddr,
    task: AbortHandle,
}

impl Manifests {
    /// Serves a `PodList` at `http://ADDRESS/manifests`, on the current tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn serve(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let offered = watch::Sender::default();
        let task = tokio::spawn(accept(listener, offered.subscribe())).abort_handle();
        Ok(Self { offered, server: Some(Server { address, task }) })
    }

    /// What the kubelet's `staticPodURL` should say, if this is served.
    pub fn url(&self) -> Option<String> {
        self.server.as_ref().map(|it| format!("http://{}{PATH}", it.address))
    }

    pub(crate) fn offer(&self, pod: String, manifest: Value) {
        self.offered.send_modify(|offered| drop(offered.insert(pod, manifest)));
    }

    pub(crate) fn withdraw(&self, pod: &str) {
        self.offered.send_modify(|offered| drop(offered.remove(pod)));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, offered: watch::Receiver<BTreeMap<String, Value>>) {
    let offered = Arc::new(offered);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_BACK_OFF).await;
            continue;
        };
        let offered = Arc::clone(&offered);
        let service = service_fn(move |request| {
            let response = answer(&request, &offered.borrow());
            async move { Ok::<_, Infallible>(response) }
        });
        // A peer that breaks off in the middle is its own affair.
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

fn answer(
    request: &Request<Incoming>,
    manifests: &BTreeMap<String, Value>,
) -> Response<Full<Bytes>> {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, PATH) => {
            (StatusCode::OK, "application/json", pod_list(manifests).to_string())
        }
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, plain, format!("there is {PATH}\n"))
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, plain, "only GET is answered\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// The kubelet takes an empty body for an error, and an empty list for what it says.
fn pod_list(manifests: &BTreeMap<String, Value>) -> Value {
    let items: Vec<&Value> = manifests.values().collect();
    json!({ "apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items })
}

#[cfg(test)]
mod tests;
