use std::error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lab::client::Options;
use lab::world::World;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::common::error::Error;

/// As much as the proxies of a cluster will take, from the client's host: connections that end at
/// once, HTTPS requests each on a connection of its own, and large answers without end.
pub(super) struct Flood {
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    answers: AtomicU64,
    bytes: AtomicU64,
}

/// How many of each kind are under way at any time.
const KNOCKING: usize = 32;
const ASKING: usize = 8;
const DRINKING: usize = 4;

/// About as large as kube-apiserver's largest document is.
const LARGE: &str = "/openapi/v2";
const SMALL: &str = "/version";

/// After a failure: a flood, but no spin.
const PAUSE: Duration = Duration::from_millis(10);

type Failure = Box<dyn error::Error + Send + Sync>;

impl Flood {
    pub(super) fn start(world: &World) -> Result<Self, Error> {
        let refused = Error::system("a thread of the flood");
        let options = world.client_options(Duration::ZERO);
        let (counts, (stop, stopped)) = (Arc::<Counts>::default(), oneshot::channel());
        let asker = Asker::new(&options, Arc::clone(&counts))?;
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Err(error) => eprintln!("there is no flood: {error}"),
                Ok(runtime) => runtime.block_on(async {
                    flood(&Arc::new(asker));
                    // Everything else ends with the runtime.
                    let _stopped = stopped.await;
                }),
            }
        };
        let spawn = || std::thread::Builder::new().name("flood".to_owned()).spawn(work);
        let thread = world.client().namespace.run(spawn)?.map_err(refused)?;
        Ok(Self { counts, stop: Some(stop), thread: Some(thread) })
    }

    /// That were made, of any kind.
    pub(super) fn connections(&self) -> u64 {
        self.counts.connections.load(Relaxed)
    }

    /// Requests that were answered, each with a TLS handshake.
    pub(super) fn answers(&self) -> u64 {
        self.counts.answers.load(Relaxed)
    }

    /// Of large answers.
    pub(super) fn bytes(&self) -> u64 {
        self.counts.bytes.load(Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

struct Asker {
    address: SocketAddr,
    connector: TlsConnector,
    counts: Arc<Counts>,
}

fn flood(asker: &Arc<Asker>) {
    for _ in 0..KNOCKING {
        let asker = Arc::clone(asker);
        tokio::spawn(async move { while again(asker.knock().await).await {} });
    }
    for _ in 0..ASKING {
        let asker = Arc::clone(asker);
        tokio::spawn(async move {
            while again(asker.ask(SMALL, 1).await).await {
                asker.counts.answers.fetch_add(1, Relaxed);
            }
        });
    }
    for _ in 0..DRINKING {
        let asker = Arc::clone(asker);
        tokio::spawn(async move { while again(asker.ask(LARGE, usize::MAX).await).await {} });
    }
}

/// Always; after a failure not at once. The proxies may well refuse some of it.
async fn again<T>(outcome: Result<T, Failure>) -> bool {
    if outcome.is_err() {
        sleep(PAUSE).await;
    }
    true
}

impl Asker {
    fn new(options: &Options, counts: Arc<Counts>) -> Result<Self, Error> {
        let connector = connector(options).map_err(|error| Error::Tls(error.to_string()))?;
        Ok(Self { address: options.address, connector, counts })
    }

    /// Connects and goes away without a word.
    async fn knock(&self) -> Result<(), Failure> {
        let stream = self.connect().await?;
        // With a reset: closed in good order, the ports would all be waiting soon.
        Ok(stream.set_zero_linger()?)
    }

    /// Asks so many times on one connection.
    async fn ask(&self, path: &str, times: usize) -> Result<(), Failure> {
        let name = ServerName::try_from("kubernetes")?;
        let stream = self.connector.connect(name, self.connect().await?).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        for _ in 0..times {
            sender.ready().await?;
            let request = Request::get(path).header("host", "kubernetes");
            let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let bytes = frame?.data_ref().map_or(0, Bytes::len) as u64;
                self.counts.bytes.fetch_add(bytes, Relaxed);
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        self.counts.connections.fetch_add(1, Relaxed);
        Ok(stream)
    }
}

/// With the administrator's certificate, who may read the large document.
fn connector(options: &Options) -> Result<TlsConnector, Failure> {
    let (certificate, key) = options.watch.as_ref().ok_or("the lab has no administrator")?;
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut roots = RootCertStore::empty();
    roots.add(options.authority.clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)?;
    Ok(TlsConnector::from(Arc::new(config)))
}
