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
//!
//! Over the unix socket alone, `POST /upgrade?within=SECONDS` lets a new process go on in place of
//! this one; 200 once it does, 409 with the reason if not.

use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
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
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error::Error;
use crate::metrics;
use crate::status::{self, Reporting};
use crate::succession::{self, Request as UpgradeRequest};

/// Bound, but not served yet.
pub(crate) struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
}

/// Answering, until the runtime ends or it is stopped.
pub(crate) struct Serving {
    sockets: Vec<OwnedFd>,
    tasks: Vec<AbortHandle>,
}

impl Serving {
    /// The listening sockets for a successor, that of the unix socket first.
    pub(crate) fn bequeath(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(OwnedFd::try_clone).collect()
    }

    /// Leaves whoever comes from now on to the successor.
    pub(crate) fn stop(self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Listeners {
    /// Those that [`Serving::bequeath`] of another process has left.
    pub(crate) fn inherit(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let mut sockets = sockets.into_iter();
        let unix = sockets.next().ok_or(io::ErrorKind::NotFound)?;
        let unix = UnixListener::from_std(unix.into())?;
        let tcp = sockets.next().map(|it| TcpListener::from_std(it.into())).transpose()?;
        Ok(Self { unix, tcp })
    }

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
    pub(crate) fn serve(self, daemon: impl Reporting) -> io::Result<Serving> {
        let daemon: Arc<dyn Reporting> = Arc::new(daemon);
        let tcp = self.tcp.as_ref().map(AsFd::as_fd);
        let sockets = std::iter::once(self.unix.as_fd()).chain(tcp);
        let sockets = sockets.map(|it| it.try_clone_to_owned()).collect::<Result<_, _>>()?;
        let mut tasks = Vec::new();
        if let Some(listener) = self.tcp {
            let daemon = Arc::clone(&daemon);
            let accepting = tokio::spawn(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, _)) => {
                            drop(tokio::spawn(converse(
                                stream,
                                Arc::clone(&daemon),
                                Asker::Network,
                            )));
                        }
                        Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
                    }
                }
            });
            tasks.push(accepting.abort_handle());
        }
        let accepting = tokio::spawn(async move {
            loop {
                match self.unix.accept().await {
                    Ok((stream, _)) => {
                        drop(tokio::spawn(converse(stream, Arc::clone(&daemon), Asker::Root)));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_BACK_OFF).await,
                }
            }
        });
        tasks.push(accepting.abort_handle());
        Ok(Serving { sockets, tasks })
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// Over the unix socket, which is the owner's alone.
    Root,
    /// Over TCP, which is read-only.
    Network,
}

/// Out of descriptors: the next attempt fails alike for a while.
const ACCEPT_BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    daemon: Arc<dyn Reporting>,
    from: Asker,
) {
    let service = service_fn(move |request| {
        let daemon = Arc::clone(&daemon);
        async move {
            Ok::<_, Infallible>(match from {
                Asker::Root if is_upgrade(&request) => upgrade(&request, &*daemon).await,
                _ => answer(&request, &*daemon),
            })
        }
    });
    // A peer that breaks off in the middle is its own affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn is_upgrade(request: &Request<Incoming>) -> bool {
    request.method() == Method::POST && request.uri().path() == succession::PATH
}

async fn upgrade(request: &Request<Incoming>, daemon: &dyn Reporting) -> Response<Full<Bytes>> {
    let refused = |reason: &str| respond(StatusCode::CONFLICT, TEXT, format!("{reason}\n"));
    let Some(upgrades) = daemon.upgrades() else {
        return refused("only a controller can be upgraded as it runs; restart this worker");
    };
    let (reply, outcome) = oneshot::channel();
    let asked = UpgradeRequest::new(request.uri().query(), reply);
    if upgrades.send(asked).is_err() {
        return refused("this process is leaving");
    }
    match outcome.await {
        Ok(Ok(done)) => respond(StatusCode::OK, TEXT, format!("{done}\n")),
        Ok(Err(reason)) => refused(&reason),
        Err(_) => refused("this process is leaving"),
    }
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
