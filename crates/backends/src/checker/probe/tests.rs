use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{get, handshake, probe};
use crate::health::Outcome;
use crate::testing::{ALWAYS, Apiserver, Cluster, State};
use crate::{kubeconfig, tls};

const TIMEOUT: Duration = Duration::from_millis(500);

fn anonymous() -> Arc<ClientConfig> {
    Arc::new(tls::anonymous())
}

async fn outcome(readyz: (u16, &'static str)) -> Outcome {
    let state = State { readyz, ..State::default() };
    let server = Apiserver::start(&Cluster::new(), state).await;
    probe(server.address, anonymous(), TIMEOUT).await
}

async fn reason_at(address: SocketAddr) -> String {
    match probe(address, anonymous(), TIMEOUT).await {
        Outcome::Silent(reason) | Outcome::NotReady(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_200_is_ready() {
    let Outcome::Ready(latency) = outcome((200, "ok")).await else { panic!("not ready") };
    assert!(latency > Duration::ZERO && latency < TIMEOUT);
    for (readyz, reason) in [
        ((204, ""), "204 No Content"),
        ((403, "{}"), "403: it is still starting, or its RBAC rules withhold /readyz"),
        ((404, ""), "404 Not Found"),
        ((429, ""), "429 Too Many Requests"),
        ((503, ""), "503 Service Unavailable"),
    ] {
        assert_eq!(outcome(readyz).await, Outcome::NotReady(reason.into()));
    }
}

#[tokio::test]
async fn failing_checks_are_named() {
    let body = "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\n[-]poststarthook/\
                rbac/bootstrap-roles failed: reason withheld\nhealthz check failed\n";
    assert_eq!(
        outcome((500, body)).await,
        Outcome::NotReady("500: failing: etcd, poststarthook/rbac/bootstrap-roles".into())
    );
}

#[tokio::test]
async fn forbidden_anonymity_is_explained() {
    assert_eq!(
        outcome((401, "Unauthorized")).await,
        Outcome::NotReady(
            "401: anonymous requests are off (--anonymous-auth=false), so a kubeconfig with a \
             client certificate is needed"
                .into()
        )
    );
}

#[tokio::test]
async fn client_certificate_is_shown_and_a_token_never_sent() {
    let cluster = Cluster::new();
    cluster.issue_client(ALWAYS);
    let user = "{client-certificate: admin.crt, client-key: admin.key, token: secret}";
    let path = cluster.kubeconfig("https://127.0.0.1:1", Some(user));
    let tls = kubeconfig::load(&path, SystemTime::now()).unwrap().health();
    let server = Apiserver::start_as(&cluster, State::default(), &["any"], true).await;
    assert!(matches!(probe(server.address, tls.clone(), TIMEOUT).await, Outcome::Ready(_)));
    assert_eq!(server.requests(), ["/readyz"], "no Authorization header");

    let without = probe(server.address, anonymous(), TIMEOUT).await;
    assert!(matches!(without, Outcome::NotReady(_)), "{without:?}");

    server.change(|it| it.readyz = (401, "Unauthorized"));
    assert_eq!(
        probe(server.address, tls, TIMEOUT).await,
        Outcome::NotReady("401: the client certificate of the kubeconfig is not accepted".into())
    );
}

#[tokio::test]
async fn nobody_there_is_absent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(
        probe(address, anonymous(), TIMEOUT).await,
        Outcome::Absent("connection refused".into())
    );
}

#[tokio::test]
async fn hung_server_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begin = std::time::Instant::now();
    assert_eq!(
        reason_at(listener.local_addr().unwrap()).await,
        "no answer within 500 ms: the TLS handshake hangs"
    );
    let elapsed = begin.elapsed();
    assert!((500..800).contains(&elapsed.as_millis()), "{elapsed:?}");
}

#[tokio::test]
async fn server_that_hangs_after_the_handshake_is_given_up_in_time() {
    let server = Apiserver::start(&Cluster::new(), State { mute: true, ..State::default() }).await;
    assert_eq!(reason_at(server.address).await, "no answer within 500 ms: GET /readyz hangs");
}

#[tokio::test]
async fn what_is_no_apiserver_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        for answer in [&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], b""] {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    });
    let reason = reason_at(address).await;
    assert!(reason.starts_with("TLS handshake: "), "{reason}");
    let reason = reason_at(address).await;
    assert!(reason.starts_with("TLS handshake: "), "{reason}");
    plain.await.unwrap();
}

#[tokio::test]
async fn a_handshake_is_enough_for_tls_whoever_may_go_on_after_it() {
    let cluster = Cluster::new();
    let ready = |outcome: &Outcome| matches!(outcome, Outcome::Ready(_));
    let open = Apiserver::start(&cluster, State { mute: true, ..State::default() }).await;
    let outcome = handshake(open.address, TIMEOUT).await;
    assert!(ready(&outcome), "{outcome:?}");

    // Without a certificate nobody gets through, but that is not what is asked.
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mutual = cluster.server_tls_of(&[version], &["any"], true);
        let (address, accepted) = tls_server(mutual).await;
        let outcome = handshake(address, TIMEOUT).await;
        assert!(ready(&outcome), "{version:?}: {outcome:?}");
        assert!(accepted.await.unwrap().is_err(), "it asked for a certificate");
    }
}

#[tokio::test]
async fn what_speaks_no_tls_is_not_ready_for_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await.unwrap();
        listener
    });
    let outcome = handshake(address, TIMEOUT).await;
    let Outcome::NotReady(reason) = outcome else { panic!("{outcome:?}") };
    assert!(reason.starts_with("TLS handshake: "), "{reason}");
    let listener = plain.await.unwrap();
    assert_eq!(
        handshake(address, TIMEOUT).await,
        Outcome::Silent("no answer within 500 ms: the TLS handshake hangs".into())
    );
    drop(listener);
    assert_eq!(handshake(address, TIMEOUT).await, Outcome::Absent("connection refused".into()));
}

/// The handshake fails before a certificate is asked for: nothing in common.
#[tokio::test]
async fn a_handshake_that_fails_early_is_not_ready() {
    let mut tls = Cluster::new().server_tls_of(rustls::ALL_VERSIONS, &["any"], false);
    tls.alpn_protocols = vec![b"spdy/3".to_vec()];
    let (address, accepted) = tls_server(tls).await;
    let outcome = handshake(address, TIMEOUT).await;
    assert!(matches!(outcome, Outcome::NotReady(_)), "{outcome:?}");
    assert!(accepted.await.unwrap().is_err());
}

#[tokio::test]
async fn a_path_is_asked_for_and_one_status_is_good() {
    let state = State { readyz: (401, "Unauthorized"), ..State::default() };
    let server = Apiserver::start(&Cluster::new(), state).await;
    let ask = |path, status| get(server.address, path, status, TIMEOUT);
    assert!(matches!(ask("/readyz", 401).await, Outcome::Ready(_)));
    assert!(matches!(ask("/elsewhere?verbose", 404).await, Outcome::Ready(_)));
    assert_eq!(
        ask("/readyz", 200).await,
        Outcome::NotReady("GET /readyz: 401 Unauthorized rather than 200".into())
    );
    assert_eq!(server.requests(), ["/readyz", "/elsewhere?verbose", "/readyz"]);
    // The configuration refuses it; here nothing is asked, and nothing panics.
    let outcome = ask("/a b", 200).await;
    assert!(matches!(outcome, Outcome::NotReady(_)), "{outcome:?}");
}

/// Takes one connection, and says how its handshake ended.
async fn tls_server(
    tls: rustls::ServerConfig,
) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let accepted = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        acceptor.accept(stream).await.map(drop)
    });
    (address, accepted)
}
