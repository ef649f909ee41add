//! The client that measures: a new connection every few milliseconds, through the virtual IP, as a kubelet or kubectl
//! would make it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kernel::netns::Namespace;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Error;

mod figures;
mod held_watch;

pub use figures::{Failure, Figures, Record};
pub use held_watch::WatchChange;

/// Enough for all requests of one deadline at the default pace.
const OUTSTANDING: usize = 1024;
/// Records kept: 16 minutes at the default pace.
const KEPT_RECORDS: usize = 200_000;
/// A version or a health answer is far smaller.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Whom the client asks, and how often.
#[derive(Debug, Clone)]
pub struct Options {
    /// The virtual IP and the port.
    pub address: SocketAddr,
    /// The authority of the serving certificates.
    pub authority: CertificateDer<'static>,
    /// The replicas' serving certificates with their names, to tell who answered.
    pub replicas: Vec<(CertificateDer<'static>, String)>,
    /// A client certificate and its key, PEM, for a watch that is held open; `None` holds none.
    pub watch: Option<(String, String)>,
    /// From the beginning of one request to that of the next.
    pub interval: Duration,
    /// How long a request may take.
    pub deadline: Duration,
}

/// The client, on a thread of its own, until dropped.
pub struct Client {
    log: Arc<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the client has seen, shared with whoever asks.
struct Log {
    origin: Instant,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    records: VecDeque<Record>,
    /// When the requests under way began.
    outstanding: BTreeMap<u64, Duration>,
    watch: Vec<WatchChange>,
    first_answer: Option<Duration>,
}

impl Client {
    /// Begins to ask, from inside `namespace`; times count from `origin`.
    ///
    /// # Errors
    /// When TLS cannot be set up or a thread is refused.
    pub fn start(namespace: &Namespace, options: Options, origin: Instant) -> Result<Self, Error> {
        let system = |what| move |source| Error::System { what, source };
        let asker = Arc::new(Asker::new(&options)?);
        let watch =
            options.watch.as_ref().map(|identity| held_watch::connector(&options, identity));
        let watch = watch.transpose()?;
        let log = Arc::new(Log { origin, entries: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let (shared, address) = (Arc::clone(&log), options.address);
        let (entered, outcome) = std::sync::mpsc::channel();
        let thread = namespace.run(|| {
            std::thread::Builder::new().name("client".to_owned()).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = match runtime {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _told = entered.send(Err(error));
                        return;
                    }
                };
                let _told = entered.send(Ok(()));
                runtime.block_on(async {
                    if let Some(connector) = watch {
                        tokio::spawn(held_watch::hold(connector, address, Arc::clone(&shared)));
                    }
                    tokio::select! {
                        () = ask_for_ever(&options, &asker, &shared) => {}
                        _ = stopped => {}
                    }
                });
            })
        })?;
        let thread = thread.map_err(system("a thread"))?;
        let started = outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended")));
        started.map_err(system("a runtime"))?;
        Ok(Self { log, stop: Some(stop), thread: Some(thread) })
    }

    /// The sums of a window.
    #[must_use]
    pub fn figures(&self, window: &Range<Duration>) -> Figures {
        Figures::over(self.log.lock().records.iter(), window)
    }

    /// Whether all requests begun before that time are finished.
    #[must_use]
    pub fn has_finished(&self, time: Duration) -> bool {
        self.log.lock().outstanding.values().all(|started| *started >= time)
    }

    /// When the first answer arrived.
    #[must_use]
    pub fn first_answer(&self) -> Option<Duration> {
        self.log.lock().first_answer
    }

    /// Each time the held watch was established or cut.
    #[must_use]
    pub fn watch_changes(&self) -> Vec<WatchChange> {
        self.log.lock().watch.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic elsewhere leaves the entries whole: each change is one push or insert.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

async fn ask_for_ever(options: &Options, asker: &Arc<Asker>, log: &Arc<Log>) {
    let mut ticks = interval(options.interval);
    // A client held up does not make good for it with a burst.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut requests = JoinSet::new();
    for number in 0_u64.. {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        if requests.len() >= OUTSTANDING {
            continue;
        }
        let started = log.now();
        log.lock().outstanding.insert(number, started);
        let (asker, log) = (Arc::clone(asker), Arc::clone(log));
        requests.spawn(async move {
            let answer = asker.ask().await;
            let record = Record {
                started,
                finished: log.now(),
                connect: answer.connect,
                handshake: answer.handshake,
                outcome: answer.outcome,
            };
            let mut entries = log.lock();
            entries.outstanding.remove(&number);
            if record.outcome.is_ok() {
                entries.first_answer.get_or_insert(record.finished);
            }
            entries.records.push_back(record);
            if entries.records.len() > KEPT_RECORDS {
                entries.records.pop_front();
            }
        });
    }
}

/// Makes single requests.
struct Asker {
    connector: TlsConnector,
    address: SocketAddr,
    replicas: Vec<(CertificateDer<'static>, String)>,
    deadline: Duration,
}

struct Answer {
    connect: Option<Duration>,
    handshake: Option<Duration>,
    outcome: Result<String, Failure>,
}

impl Asker {
    fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            connector: connector(&options.authority, None)?,
            address: options.address,
            replicas: options.replicas.clone(),
            deadline: options.deadline,
        })
    }

    async fn ask(&self) -> Answer {
        let mut answer = Answer { connect: None, handshake: None, outcome: Ok(String::new()) };
        answer.outcome = self.try_ask(&mut answer.connect, &mut answer.handshake).await;
        answer
    }

    async fn try_ask(
        &self,
        connect: &mut Option<Duration>,
        handshake: &mut Option<Duration>,
    ) -> Result<String, Failure> {
        let started = Instant::now();
        let deadline = tokio::time::Instant::from_std(started) + self.deadline;
        let stream = timeout_at(deadline, TcpStream::connect(self.address))
            .await
            .map_err(|_| Failure::Connect("no answer in time".to_owned()))?
            .map_err(|error| not_connected(&error))?;
        *connect = Some(started.elapsed());

        let started = Instant::now();
        let stream = timeout_at(deadline, handshaken(&self.connector, stream))
            .await
            .map_err(|_| Failure::Handshake("no answer in time".to_owned()))?
            .map_err(|error| Failure::Handshake(kind(&error)))?;
        *handshake = Some(started.elapsed());

        let replica = self.replica(&stream);
        timeout_at(deadline, version(stream))
            .await
            .map_err(|_| Failure::Request("no answer in time".to_owned()))??;
        Ok(replica)
    }

    fn replica(&self, stream: &TlsStream<TcpStream>) -> String {
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let known = self.replicas.iter().find(|(certificate, _)| Some(certificate) == shown);
        known.map_or_else(|| "unknown".to_owned(), |(_, name)| name.clone())
    }
}

pub(crate) async fn handshaken(
    connector: &TlsConnector,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    connector.connect(ServerName::DnsName(server_name()), stream).await
}

async fn version(stream: TlsStream<TcpStream>) -> Result<(), Failure> {
    let failed = |error: hyper::Error| Failure::Request(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get("/version")
        .header("host", "kubernetes")
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Failure::Request(error.to_string()))?;
    // Ends by itself: with an answer read, an error, or the sender dropped at the deadline.
    tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    Limited::new(response.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_err(|error| Failure::Request(error.to_string()))?;
    if status != hyper::StatusCode::OK {
        return Err(Failure::Request(format!("status {}", status.as_u16())));
    }
    Ok(())
}

pub(crate) fn connector(
    authority: &CertificateDer<'static>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<TlsConnector, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some((certificates, key)) => config.with_client_auth_cert(certificates, key)?,
        None => config.with_no_client_auth(),
    };
    // Each handshake shall be a whole one, with the certificate of who answers.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name() -> rustls::pki_types::DnsName<'static> {
    rustls::pki_types::DnsName::try_from("kubernetes").expect("`kubernetes` is a DNS name")
}

/// A connection refused ends in ECONNREFUSED. ECONNRESET is one that was established, and reset before
/// this process looked (tcp_reset() in Linux' net/ipv4/tcp_input.c).
fn not_connected(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Failure::Handshake(kind(error)),
        _ => Failure::Connect(kind(error)),
    }
}

/// The error without addresses and numbers, so that equal ones are counted together.
fn kind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData => error.to_string(),
        kind => kind.to_string(),
    }
}
