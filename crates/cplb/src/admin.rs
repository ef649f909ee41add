//! The admin server: the status of this node over a unix socket, and over TCP where asked for.
//!
//! | path | answers |
//! |---|---|
//! | `/` | the status page |
//! | `/livez` | 200 while the process runs |
//! | `/readyz` | 200 while this node is ready to hold the virtual IPs, or reaches an apiserver as a worker, else 503 |
//! | `/status` | everything, as JSON |
//! | `/status.txt` | everything, for people; with `?colours` for a terminal |
//! | `/metrics` | everything that can be counted, for Prometheus |

use std::convert::Infallible;
use std::fmt::Display;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::error::Error;
use crate::metrics;
use crate::status::{self, Reporting};

/// Bound, but not served yet.
pub(crate) struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
}

impl Listeners {
    /// The caller holds the run directory's lock, so a socket that lies there is a dead one's.
    pub(crate) async fn bind(socket: &Path, tcp: Option<SocketAddr>) -> Result<Self, Error> {
        let refused = |address: String| move |source| Error::Admin { address, source };
        let _ = std::fs::remove_file(socket);
        let unix = UnixListener::bind(socket).map_err(refused(socket.display().to_string()))?;
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))
            .map_err(refused(socket.display().to_string()))?;
        let tcp = match tcp {
            Some(address) => {
                Some(TcpListener::bind(address).await.map_err(refused(address.to_string()))?)
            }
            None => None,
        };
        Ok(Self { unix, tcp })
    }

    /// Answers until the runtime ends.
    pub(crate) fn serve(self, daemon: impl Reporting) {
        let daemon: Arc<dyn Reporting> = Arc::new(daemon);
        if let Some(listener) = self.tcp {
            let daemon = Arc::clone(&daemon);
            tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            drop(tokio::spawn(converse(stream, Arc::clone(&daemon))));
                        }
                        Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
                    }
                }
            });
        }
        tokio::spawn(async move {
            loop {
                match self.unix.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(converse(stream, Arc::clone(&daemon)))),
                    Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
                }
            }
        });
    }
}

/// Out of descriptors: the next attempt fails alike for a while.
const ACCEPT_BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(stream: S, daemon: Arc<dyn Reporting>) {
    let service = service_fn(move |request| {
        let response = answer(&request, &*daemon);
        async move { Ok::<_, Infallible>(response) }
    });
    // A peer that breaks off in the middle is its own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>, daemon: &dyn Reporting) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered\n".into());
    }
    match request.uri().path() {
        "/livez" => respond(StatusCode::OK, TEXT, "ok".into()),
        "/readyz" if daemon.is_ready() => respond(StatusCode::OK, TEXT, "ok".into()),
        "/readyz" => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n".into()),
        "/status" => match serde_json::to_string_pretty(&daemon.status()) {
            Ok(json) => respond(StatusCode::OK, "application/json", json + "\n"),
            Err(error) => failed(&error),
        },
        "/status.txt" => {
            let colours = request.uri().query() == Some("colours");
            respond(StatusCode::OK, TEXT, daemon.status().text(colours).to_string())
        }
        "/metrics" => match metrics::text(daemon.status()) {
            Ok(text) => respond(StatusCode::OK, metrics::MEDIA_TYPE, text),
            Err(error) => failed(&error),
        },
        "/" => show_page(daemon),
        _ => respond(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /, /livez, /readyz, /metrics, /status and /status.txt\n".into(),
        ),
    }
}

/// Nothing but what the page itself brings may run in it or be loaded by it.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn show_page(daemon: &dyn Reporting) -> Response<Full<Bytes>> {
    let mut response =
        respond(StatusCode::OK, "text/html; charset=utf-8", status::page(&daemon.status()));
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    response
}

fn failed(error: &dyn Display) -> Response<Full<Bytes>> {
    respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n"))
}

const TEXT: &str = "text/plain; charset=utf-8";

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
