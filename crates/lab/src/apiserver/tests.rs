use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;

use super::*;
use crate::client::{connector, handshaken};
use crate::pki::Authority;

const LIMIT: Duration = Duration::from_secs(10);

/// A replica on a loopback port, and who may ask it.
struct Replica {
    directory: tempfile::TempDir,
    authority: Authority,
    options: Options,
    leave: Option<oneshot::Sender<()>>,
    ended: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Replica {
    async fn start(slices: Slices, shutdown_delay: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new().unwrap();
        let serving = authority.serving("kube-apiserver-1", &[]).unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options = Options {
            listen: SocketAddr::from(([127, 0, 0, 1], port)),
            name: "kube-apiserver-1".to_owned(),
            advertise: SocketAddr::from(([10, 0, 0, 11], 6443)),
            certificate: file("tls.crt", &serving.certificate),
            key: file("tls.key", &serving.key),
            client_ca: file("ca.crt", &authority.certificate()),
            state_dir: directory.path().join("state"),
            slices,
            shutdown_delay,
        };
        let (leave, left) = oneshot::channel();
        let ended = tokio::spawn(serve(options.clone(), async {
            let _asked = left.await;
        }));
        let replica = Self { directory, authority, options, leave: Some(leave), ended };
        while TcpStream::connect(replica.options.listen).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        replica
    }

    async fn ask(&self, path: &str, accept: &str, trusted: bool) -> Response<Incoming> {
        let admin = self.authority.client("kubernetes-admin", "system:masters").unwrap();
        let identity = trusted.then(|| {
            let key = PrivateKeyDer::from_pem_slice(admin.key.as_bytes()).unwrap();
            (vec![admin.der], key)
        });
        let connector = connector(&self.authority.der(), identity).unwrap();
        let stream = TcpStream::connect(self.options.listen).await.unwrap();
        let stream = handshaken(&connector, stream).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(path).header("host", "kubernetes").header("accept", accept);
        sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
    }

    async fn text(&self, path: &str, trusted: bool) -> (u16, String) {
        let response = self.ask(path, "application/json", trusted).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (code, text) = self.text(path, true).await;
        (code, serde_json::from_str(&text).unwrap())
    }

    fn store(&self) -> Store {
        Store::open(&self.directory.path().join("state")).unwrap()
    }

    fn add_peer(&self, last: u8) {
        let store = self.store();
        let address = SocketAddr::from(([10, 0, 0, last], 6443));
        store.renew_lease(&last.to_string(), address, now()).unwrap();
        store.publish(now()).unwrap();
    }
}

/// The next event of a watch: its type and its object.
async fn event(body: &mut Incoming) -> Option<(String, Value)> {
    let frame = timeout(LIMIT, body.frame()).await.expect("an event or the end in time")?;
    let line = frame.unwrap().into_data().unwrap();
    let mut event: Value = serde_json::from_slice(&line).unwrap();
    Some((event["type"].as_str().unwrap().to_owned(), event["object"].take()))
}

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    for path in ["/readyz", "/livez", "/healthz", "/readyz?verbose"] {
        assert_eq!(replica.text(path, false).await, (200, "ok".to_owned()), "{path}");
    }
    assert_eq!(replica.text("/version", false).await.0, 200);
    for path in ["/", "/api", "/apis", "/api/v1/namespaces/default/endpoints", "/nonesuch"] {
        let (code, text) = replica.text(path, false).await;
        assert_eq!(code, 403, "{path}");
        let status: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["reason"], "Forbidden");
    }
    let served_by = replica.ask("/version", "*/*", false).await;
    assert_eq!(served_by.headers()[SERVED_BY], "kube-apiserver-1");
}

/// As kube-apiserver 1.20.2 does.
#[tokio::test]
async fn plain_http_is_refused_in_plain_http() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let mut stream = TcpStream::connect(replica.options.listen).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let expected =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn the_largest_document_is_a_mebibyte_of_json() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let (code, text) = replica.text("/openapi/v2", true).await;
    assert_eq!((code, text.len()), (200, 1_048_576));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["swagger"], "2.0");
    assert_eq!(replica.text("/openapi/v2", false).await.0, 403);
}

#[tokio::test]
async fn endpoints_and_slices() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    replica.add_peer(12);

    let (code, list) = replica.json("/api/v1/namespaces/default/endpoints").await;
    assert_eq!(code, 200);
    assert_eq!(list["kind"], "EndpointsList");
    assert_eq!(list["metadata"]["resourceVersion"], "2");
    let subset = &list["items"][0]["subsets"][0];
    assert_eq!(subset["addresses"].to_string(), r#"[{"ip":"10.0.0.11"},{"ip":"10.0.0.12"}]"#);
    assert_eq!(subset["ports"][0]["name"], "https");
    assert_eq!(subset["ports"][0]["port"], 6443);

    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let selector = "?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes";
    let (_, list) = replica.json(&format!("{path}{selector}")).await;
    let slice = &list["items"][0];
    assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "kubernetes");
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["endpoints"][1]["addresses"][0], "10.0.0.12");
    assert_eq!(slice["endpoints"][1]["conditions"]["ready"], true);

    let other = replica.json(&format!("{path}?labelSelector=kubernetes.io/service-name=web")).await;
    assert_eq!(other.1["items"].to_string(), "[]");
    let other = replica.json("/api/v1/namespaces/kube-system/endpoints").await;
    assert_eq!(other.1["items"].to_string(), "[]");
    assert_eq!(replica.json("/api/v1/namespaces/default/endpoints/web").await.0, 404);
    assert_eq!(replica.json("/api/v1/namespaces/default/endpoints/kubernetes").await.0, 200);
    assert_eq!(replica.json("/api/v1/pods").await.0, 404);
}

#[tokio::test]
async fn without_slices_as_1_20() {
    let replica = Replica::start(Slices::None, Duration::ZERO).await;
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    assert_eq!(replica.json(path).await.0, 404);
    assert_eq!(replica.json("/apis").await.1["groups"].to_string(), "[]");
    assert_eq!(replica.json("/api/v1/endpoints").await.0, 200);
}

#[tokio::test]
async fn a_table_for_kubectl() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let response = replica.ask("/api/v1/namespaces/default/endpoints", accept, true).await;
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let table: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][1]["name"], "Endpoints");
    assert_eq!(table["rows"][0]["cells"][1], "10.0.0.11:6443");
}

#[tokio::test]
async fn a_watch_tells_every_change_after_its_beginning() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let path = "/api/v1/namespaces/default/endpoints?watch=true";
    let mut fresh = replica.ask(path, "*/*", true).await.into_body();
    let (kind, object) = event(&mut fresh).await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["resourceVersion"]), ("ADDED", &"1".into()));

    replica.add_peer(12);
    replica.add_peer(13);
    for number in ["2", "3"] {
        let (kind, object) = event(&mut fresh).await.unwrap();
        assert_eq!(kind, "MODIFIED");
        assert_eq!(object["metadata"]["resourceVersion"], number);
    }
    let path = format!("{path}&resourceVersion=2");
    let mut resumed = replica.ask(&path, "*/*", true).await.into_body();
    let (_, object) = event(&mut resumed).await.unwrap();
    assert_eq!(object["metadata"]["resourceVersion"], "3");
    assert_eq!(object["subsets"][0]["addresses"][2]["ip"], "10.0.0.13");
}

#[tokio::test]
async fn a_watch_ends_with_a_bookmark_when_its_time_is_over() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let path =
        "/api/v1/endpoints?watch=1&resourceVersion=1&allowWatchBookmarks=true&timeoutSeconds=3";
    let mut body = replica.ask(path, "*/*", true).await.into_body();
    let (kind, object) = event(&mut body).await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["resourceVersion"]), ("BOOKMARK", &"1".into()));
    assert_eq!(event(&mut body).await, None);
}

#[tokio::test]
async fn a_watch_from_too_long_ago_is_gone() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    // 64 revisions are kept: of 70 these are 7 to 70.
    for last in 12..=80 {
        replica.add_peer(last);
    }
    let path = "/api/v1/endpoints?watch=true&resourceVersion=5";
    let mut body = replica.ask(path, "*/*", true).await.into_body();
    let (kind, status) = event(&mut body).await.unwrap();
    assert_eq!(
        (kind.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &410.into(), &"Expired".into())
    );
    assert_eq!(event(&mut body).await, None);
}

#[tokio::test]
async fn leaving_is_first_out_of_the_endpoints_then_not_ready_then_gone() {
    let mut replica = Replica::start(Slices::V1, Duration::from_millis(500)).await;
    replica.add_peer(12);
    let path = "/api/v1/endpoints?watch=true&resourceVersion=2";
    let mut watch = replica.ask(path, "*/*", true).await.into_body();
    drop(replica.leave.take());

    let (_, object) = event(&mut watch).await.unwrap();
    assert_eq!(object["subsets"][0]["addresses"].to_string(), r#"[{"ip":"10.0.0.12"}]"#);
    assert_eq!(replica.text("/readyz", false).await.0, 500);
    assert_eq!(replica.text("/livez", false).await.0, 200);
    assert_eq!(event(&mut watch).await, None);
    timeout(LIMIT, &mut replica.ended).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(replica.options.listen).await.is_err());
}

#[tokio::test]
async fn unusable_files_and_ports_are_told() {
    let replica = Replica::start(Slices::V1, Duration::ZERO).await;
    let taken = serve(replica.options.clone(), std::future::pending()).await.unwrap_err();
    assert!(matches!(taken, Error::Listen { .. }), "{taken}");
    let mut options = replica.options.clone();
    options.key = replica.directory.path().join("nonesuch.key");
    let missing = serve(options, std::future::pending()).await.unwrap_err();
    assert!(missing.to_string().contains("nonesuch.key"), "{missing}");
}
