//! A stand-in for kube-apiserver: small, but true in what a load balancer and its clients see of one.
//!
//! It serves TLS, answers the health paths, refuses strangers as RBAC would, and offers the `kubernetes` endpoints
//! of its cluster to list and watch. Replicas are processes of their own that share a directory in place of etcd.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::Error;

mod objects;
mod requests;
mod store;
mod tls;
mod watching;

#[cfg(test)]
mod tests;

pub use requests::SERVED_BY;
use requests::Server;
use store::Store;

/// How often a replica renews its lease.
const RENEWAL: Duration = Duration::from_secs(2);
/// How often a replica looks for what the others have published.
const POLL: Duration = Duration::from_millis(100);
/// How long a client may take for its TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long open connections may take to finish once the listener is closed.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);
/// What Go's net/http answers to a plain request at a port of TLS.
const PLAIN_HTTP_REFUSED: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
/// Pause after a failed accept (descriptors exhausted), so that the loop neither spins nor ends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Which APIs the stand-in offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Slices {
    /// `discovery.k8s.io/v1`, as Kubernetes 1.21 and later.
    #[default]
    V1,
    /// Endpoints only: `discovery.k8s.io/v1` is 404, as in Kubernetes 1.20.
    None,
}

/// What one replica is given. As JSON it is the argument of the process that runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Options {
    /// Where to listen, such as `0.0.0.0:6443`.
    pub listen: SocketAddr,
    /// The replica's name, told in the `served-by` header: `kube-apiserver-1`.
    pub name: String,
    /// The address and port it puts into the `kubernetes` endpoints.
    pub advertise: SocketAddr,
    /// Serving certificate, PEM.
    pub certificate: PathBuf,
    /// Private key of the serving certificate, PEM.
    pub key: PathBuf,
    /// Authority of client certificates, PEM. Whoever has a certificate of it may do everything.
    pub client_ca: PathBuf,
    /// The directory that all replicas of a cluster share.
    pub state_dir: PathBuf,
    /// Which APIs to offer.
    pub slices: Slices,
    /// How long to go on serving after SIGTERM, already out of the endpoints and not ready
    /// (kube-apiserver's `--shutdown-delay-duration`).
    pub shutdown_delay: Duration,
}

/// Serves until SIGTERM or SIGINT. Needs a tokio runtime with I/O and time; one thread is enough.
///
/// # Errors
/// When a file cannot be read, the address cannot be listened on, or the shared directory cannot be written.
pub async fn run(options: Options) -> Result<(), Error> {
    let signals = |source| Error::System { what: "a signal handler", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    serve(options, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}

/// Serves until `leave` resolves, then leaves as kube-apiserver does: out of the endpoints first, the listener last.
///
/// # Errors
/// As [`run`].
pub async fn serve(options: Options, leave: impl Future<Output = ()>) -> Result<(), Error> {
    let acceptor = tls::acceptor(&options)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| Error::Listen { address: options.listen, source })?;
    let shared = |source| Error::file(&options.state_dir, source);
    let store = Store::open(&options.state_dir).map_err(shared)?;
    join(&store, &options).map_err(shared)?;

    let (revisions, revisions_seen) = watch::channel(store.latest_number().map_err(shared)?);
    let (closing, closing_seen) = watch::channel(false);
    let (leaving, leaving_seen) = watch::channel(false);
    let server = Arc::new(Server {
        name: options.name.clone(),
        store: store.clone(),
        slices: options.slices,
        revisions: revisions_seen,
        leaving: leaving_seen.clone(),
        closing: closing_seen.clone(),
    });

    let mut tasks = JoinSet::new();
    tasks.spawn(renew(store.clone(), options.clone(), leaving_seen));
    tasks.spawn(follow(store.clone(), revisions));
    let accepting = tokio::spawn(accept(listener, acceptor, server, closing_seen));
    tracing::info!(name = options.name, listen = %options.listen, "serving");

    leave.await;
    tracing::info!(name = options.name, "leaving: removed from the endpoints");
    leaving.send_replace(true);
    if let Err(error) = store.remove_lease(&options.name).and_then(|()| store.publish(now())) {
        tracing::warn!(%error, "cannot leave the endpoints: the lease will expire");
    }
    sleep(options.shutdown_delay).await;
    closing.send_replace(true);
    if timeout(CLOSING_LIMIT, accepting).await.is_err() {
        tracing::info!("connections still open at the end of the grace period are cut");
    }
    Ok(())
}

fn join(store: &Store, options: &Options) -> io::Result<()> {
    store.renew_lease(&options.name, options.advertise, now())?;
    store.publish(now())
}

async fn renew(store: Store, options: Options, leaving: watch::Receiver<bool>) {
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if *leaving.borrow() {
            return;
        }
        if let Err(error) = join(&store, &options) {
            tracing::warn!(%error, "cannot renew the lease");
        }
    }
}

async fn follow(store: Store, revisions: watch::Sender<u64>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(latest) = store.latest_number() else { continue };
        revisions.send_if_modified(|known| {
            let newer = latest > *known;
            *known = latest.max(*known);
            newer
        });
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    server: Arc<Server>,
    mut closing: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&server)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(mut stream: TcpStream, acceptor: TlsAcceptor, server: Arc<Server>) {
    // Without this the last small packet of an answer may wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    if matches!(timeout(HANDSHAKE_LIMIT, speaks_plain_http(&stream)).await, Ok(true)) {
        // What is left unread would make a reset of the end. A client that has gone already misses it.
        let _request = stream.read(&mut [0; 1024]).await;
        let _told = stream.write_all(PLAIN_HTTP_REFUSED).await;
        return;
    }
    let Ok(Ok(stream)) = timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await else { return };
    let trusted = stream.get_ref().1.peer_certificates().is_some();
    let mut closing = server.closing.clone();
    let service = service_fn(|request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.answer(&request, trusted)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A client that goes away in the middle is no concern of the server's.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    let _gone = connection.await;
}

/// Whether the first byte is one of a method and none of TLS.
async fn speaks_plain_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_uppercase()
}

fn now() -> SystemTime {
    SystemTime::now()
}
