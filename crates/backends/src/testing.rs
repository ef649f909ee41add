//! What tests need of a cluster: a CA, kubeconfigs, and apiservers on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::tls;

/// The years in which a certificate is valid, from 1 January of the first to that of the last.
pub(crate) type Years = (i32, i32);
pub(crate) const ALWAYS: Years = (2000, 2100);

/// A cluster's CA, with a folder for the files of the test.
pub(crate) struct Cluster {
    ca: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self::with_ca(ALWAYS)
    }

    pub(crate) fn with_ca(years: Years) -> Self {
        tls::install_provider();
        let mut params = parameters(&[], years);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "kubernetes-ca");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        Self { ca, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes admin.crt and admin.key.
    pub(crate) fn issue_client(&self, years: Years) {
        let mut params = parameters(&[], years);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        std::fs::write(self.path("admin.crt"), certificate.pem()).unwrap();
        std::fs::write(self.path("admin.key"), key.serialize_pem()).unwrap();
    }

    /// Writes a kubeconfig for `server`, with a client certificate unless `user` says otherwise.
    pub(crate) fn kubeconfig(&self, server: &str, user: Option<&str>) -> PathBuf {
        let user = user.unwrap_or("{client-certificate: admin.crt, client-key: admin.key}");
        let text = format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: k, cluster: {{server: '{server}', certificate-authority: ca.crt}}}}]
users: [{{name: u, user: {user}}}]
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
current-context: c
"
        );
        let path = self.path("admin.conf");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn server_tls(&self, names: &[&str], demand_certificate: bool) -> ServerConfig {
        self.server_tls_of(rustls::ALL_VERSIONS, names, demand_certificate)
    }

    /// The settings of a server that speaks these versions.
    pub(crate) fn server_tls_of(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        names: &[&str],
        demand_certificate: bool,
    ) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters(names, ALWAYS).signed_by(&key, &self.ca).unwrap();
        let builder = ServerConfig::builder_with_protocol_versions(versions);
        let builder = if demand_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.ca.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let certificate = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        builder.with_single_cert(vec![certificate], key).unwrap()
    }
}

fn parameters(names: &[&str], (first, last): Years) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(first, 1, 1);
    params.not_after = rcgen::date_time_ymd(last, 1, 1);
    params
}

/// An apiserver on loopback, which ends with this value.
pub(crate) struct Apiserver {
    pub(crate) address: SocketAddr,
    history: watch::Sender<History>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

/// What the apiserver has answered so far, and last what it answers now: the place in this list is
/// the resource version.
type History = Vec<State>;

/// What the apiserver answers.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) readyz: (u16, &'static str),
    /// The addresses in the EndpointSlice, or the status that asking for it gives.
    pub(crate) slices: Result<Vec<SocketAddr>, u16>,
    /// The same of the Endpoints.
    pub(crate) endpoints: Result<Vec<SocketAddr>, u16>,
    /// The same of asking for the object itself.
    pub(crate) object: Result<Vec<SocketAddr>, u16>,
    /// Whether it is stopped: connections are accepted, and then nothing.
    pub(crate) frozen: bool,
    /// Whether it takes requests in and never answers them.
    pub(crate) mute: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            readyz: (200, "ok"),
            slices: Err(404),
            endpoints: Err(404),
            object: Err(404),
            frozen: false,
            mute: false,
        }
    }
}

impl Apiserver {
    pub(crate) async fn start(cluster: &Cluster, state: State) -> Self {
        Self::start_as(cluster, state, &["kubernetes.default.svc"], false).await
    }

    /// Starts one whose certificate carries `names`, and that may demand a client certificate.
    pub(crate) async fn start_as(
        cluster: &Cluster,
        state: State,
        names: &[&str],
        demand_certificate: bool,
    ) -> Self {
        let tls = TlsAcceptor::from(Arc::new(cluster.server_tls(names, demand_certificate)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (history, watched) = watch::channel(vec![state]);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(serve(listener, tls, watched, requests.clone()));
        Self { address, history, requests, task }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = now(&self.history.borrow()).clone();
        change(&mut state);
        self.history.send_modify(|it| it.push(state));
    }

    /// The requests so far: path with query, and the Authorization header if there was one.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Closes the listener and all connections.
    pub(crate) async fn kill(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }
}

impl Drop for Apiserver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    history: watch::Receiver<History>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, history, requests) = (tls.clone(), history.clone(), requests.clone());
        connections.spawn(async move {
            wait_while(&history, |it| it.frozen).await;
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request: Request<Incoming>| {
                let token = request.headers().get("authorization").map(|it| format!(" {it:?}"));
                let line = format!("{}{}", request.uri(), token.unwrap_or_default());
                requests.lock().unwrap().push(line);
                answer(request, history.clone())
            });
            let http = hyper::server::conn::http1::Builder::new();
            // That the client has gone away is no fault of the test.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn now(history: &History) -> &State {
    history.last().expect("there is a first state")
}

async fn wait_while(history: &watch::Receiver<History>, held: fn(&State) -> bool) {
    history.clone().wait_for(|it| !held(now(it))).await.unwrap();
}

type Body = BoxBody<Bytes, Infallible>;
type What = fn(&State) -> Result<Vec<SocketAddr>, u16>;
type Objects = fn(&[SocketAddr]) -> Vec<String>;

async fn answer(
    request: Request<Incoming>,
    history: watch::Receiver<History>,
) -> Result<Response<Body>, Infallible> {
    wait_while(&history, |it| it.frozen || it.mute).await;
    let (state, version) = {
        let history = history.borrow();
        (now(&history).clone(), history.len() - 1)
    };
    let (what, objects): (What, Objects) = match request.uri().path() {
        "/readyz" => return Ok(respond(state.readyz.0, state.readyz.1)),
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices" => {
            (|state| state.slices.clone(), slices)
        }
        "/api/v1/namespaces/default/endpoints" => (|state| state.endpoints.clone(), endpoints),
        "/api/v1/namespaces/default/endpoints/kubernetes" => {
            return Ok(match state.object {
                Ok(list) => respond(200, endpoints(&list).concat()),
                Err(status) => respond(status, "not for you"),
            });
        }
        _ => return Ok(respond(404, "404 page not found")),
    };
    let list = match what(&state) {
        Ok(list) => list,
        Err(status) => return Ok(respond(status, "not for you")),
    };
    let query = request.uri().query().unwrap_or_default();
    let parameter = |name| query.split('&').find_map(|it| it.strip_prefix(name));
    if parameter("watch=") != Some("true") {
        let items = objects(&list).join(",");
        let text = format!(
            r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{version}"}},"items":[{items}]}}"#
        );
        return Ok(respond(200, text));
    }
    let version: usize = parameter("resourceVersion=").unwrap().parse().unwrap();
    let before = what(&history.borrow()[version]).unwrap();
    let changes = stream::unfold((history, before), move |(mut history, before)| async move {
        let changed = |it: &History| !now(it).frozen && what(now(it)).is_ok_and(|it| it != before);
        let list = what(now(&*history.wait_for(changed).await.ok()?)).ok()?;
        let (gone, come) = (objects(&before), objects(&list));
        let event = |kind, object| format!(r#"{{"type":"{kind}","object":{object}}}"#) + "\n";
        let gone = gone.iter().filter(|it| !come.contains(it)).map(|it| event("DELETED", it));
        let come = come.iter().map(|it| event("ADDED", it));
        let events: String = gone.chain(come).collect();
        Some((Ok(Frame::data(Bytes::from(events))), (history, list)))
    });
    Ok(Response::new(BoxBody::new(StreamBody::new(changes))))
}

fn respond(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    Response::builder().status(status).body(Full::new(text.into()).boxed()).unwrap()
}

/// One slice for each address, since a slice has one port for all, and on loopback they differ.
fn slices(addresses: &[SocketAddr]) -> Vec<String> {
    let slice = |it: &SocketAddr| {
        let (ip, port) = (it.ip(), it.port());
        format!(
            r#"{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"name":"kubernetes-{port}","resourceVersion":"7"}},"addressType":"IPv4","endpoints":[{{"addresses":["{ip}"],"conditions":{{"ready":true}}}}],"ports":[{{"name":"https","port":{port},"protocol":"TCP"}}]}}"#
        )
    };
    addresses.iter().map(slice).collect()
}

fn endpoints(addresses: &[SocketAddr]) -> Vec<String> {
    let subset = |it: &SocketAddr| {
        let (ip, port) = (it.ip(), it.port());
        format!(
            r#"{{"addresses":[{{"ip":"{ip}"}}],"ports":[{{"name":"https","port":{port},"protocol":"TCP"}}]}}"#
        )
    };
    let subsets = addresses.iter().map(subset).collect::<Vec<_>>().join(",");
    vec![format!(
        r#"{{"kind":"Endpoints","apiVersion":"v1","metadata":{{"name":"kubernetes","resourceVersion":"7"}},"subsets":[{subsets}]}}"#
    )]
}

/// The text of the file at `path`.
pub(crate) fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
