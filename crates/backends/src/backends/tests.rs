use std::path::Path;

use super::*;
use crate::Origin;
use crate::settings::{HealthSettings, check};
use crate::testing::{ALWAYS, Apiserver, Cluster, State};

/// Waits, for no more than ten seconds, until what is known satisfies `wanted`.
async fn until(backends: &Backends, wanted: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut snapshots = backends.snapshots();
    let found = timeout(Duration::from_secs(10), snapshots.wait_for(|it| wanted(it))).await;
    match found {
        Ok(snapshot) => snapshot.expect("the task runs").clone(),
        Err(_) => panic!("never so: {:#?}", backends.snapshots().borrow()),
    }
}

/// Settings for a cluster whose kubeconfig names `server`.
fn settings(cluster: &Cluster, server: SocketAddr) -> Settings {
    cluster.issue_client(ALWAYS);
    let kubeconfig = Some(cluster.kubeconfig(&format!("https://{server}"), None));
    Settings { kubeconfig, ..Settings::default() }
}

fn start(settings: &Settings) -> Backends {
    spawn(check(settings).unwrap())
}

fn sorted<const N: usize>(mut addresses: [SocketAddr; N]) -> Vec<SocketAddr> {
    addresses.sort();
    addresses.to_vec()
}

fn listing(addresses: &[SocketAddr]) -> State {
    State { slices: Ok(addresses.to_vec()), ..State::default() }
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn everything_known_beforehand_is_usable_from_the_first_instant() {
    let cluster = Cluster::new();
    let cache = cluster.path("apiservers.json");
    let address = |text: &str| -> SocketAddr { text.parse().unwrap() };
    cache::write(&cache, &[address("10.255.255.3:6443")].into()).unwrap();
    let settings = Settings {
        static_servers: vec![address("10.255.255.2:6443")],
        cache: Some(cache),
        ..settings(&cluster, address("10.255.255.1:6443"))
    };
    let backends = start(&settings);
    let snapshot = backends.snapshots().borrow().clone();
    assert_eq!(
        snapshot.usable,
        ["10.255.255.1:6443", "10.255.255.2:6443", "10.255.255.3:6443"].map(address)
    );
    assert!(snapshot.backends.iter().all(|it| it.health == Health::Unknown));
    assert!(matches!(snapshot.origin, Origin::Cache { .. }));
    backends.stop().await;
}

#[tokio::test]
async fn cluster_is_read_and_watched_by_slices() {
    let cluster = Cluster::new();
    let [a, b] = [(); 2].map(|()| Apiserver::start(&cluster, State::default()));
    let (a, b) = (a.await, b.await);
    a.change(|it| it.slices = Ok(vec![a.address, b.address]));
    let backends = start(&settings(&cluster, a.address));
    let snapshot = until(&backends, |it| {
        matches!(it.origin, Origin::Endpoints { .. })
            && it.backends.iter().all(|it| it.health == Health::Healthy)
    });
    let snapshot = snapshot.await;
    assert_eq!(snapshot.usable, sorted([a.address, b.address]));
    assert_eq!(snapshot.origin, Origin::Endpoints { via: a.address, resource: Resource::Slices });
    assert_eq!(snapshot.discovery.via, Some(a.address));
    assert_eq!(snapshot.discovery.error, None);

    let c = Apiserver::start(&cluster, State::default()).await;
    a.change(|it| it.slices = Ok(vec![a.address, c.address]));
    let snapshot = until(&backends, |it| it.backends.len() == 3).await;
    let sources = |address| {
        let backend = snapshot.backends.iter().find(|it| it.address == address);
        backend.unwrap().sources.clone()
    };
    assert_eq!(sources(c.address), [Source::Endpoints]);
    assert_eq!(sources(b.address), [Source::Departed]);
    backends.stop().await;
}

#[tokio::test]
async fn cluster_without_slices_is_read_by_endpoints() {
    for status in [404, 403] {
        let cluster = Cluster::new();
        let a = Apiserver::start(&cluster, State::default()).await;
        let b = Apiserver::start(&cluster, State::default()).await;
        let state = State { slices: Err(status), ..State::default() };
        a.change(|it| *it = State { endpoints: Ok(vec![a.address]), ..state });
        let backends = start(&settings(&cluster, a.address));
        let origin = Origin::Endpoints { via: a.address, resource: Resource::Endpoints };
        until(&backends, |it| it.origin == origin).await;
        a.change(|it| it.endpoints = Ok(vec![a.address, b.address]));
        let snapshot = until(&backends, |it| it.backends.len() == 2).await;
        assert_eq!(snapshot.usable, sorted([a.address, b.address]));
        backends.stop().await;
    }
}

#[tokio::test]
async fn watch_through_a_hung_apiserver_moves_to_another() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    let c = Apiserver::start(&cluster, State::default()).await;
    for server in [&a, &b] {
        server.change(|it| it.slices = Ok(vec![a.address, b.address]));
    }
    let settings = Settings { local: Some(a.address), ..settings(&cluster, a.address) };
    let backends = start(&settings);
    until(&backends, |it| it.discovery.via == Some(a.address)).await;
    a.change(|it| it.frozen = true);
    b.change(|it| it.slices = Ok(vec![b.address, c.address]));
    let snapshot = until(&backends, |it| it.discovery.via == Some(b.address)).await;
    assert_eq!(snapshot.usable, sorted([b.address, c.address]));
    backends.stop().await;
}

#[tokio::test]
async fn killed_apiserver_is_left_for_another() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    let both = vec![a.address, b.address];
    a.change(|it| it.slices = Ok(both.clone()));
    b.change(|it| it.slices = Ok(both.clone()));
    let settings = Settings { local: Some(a.address), ..settings(&cluster, a.address) };
    let backends = start(&settings);
    until(&backends, |it| it.discovery.via == Some(a.address) && it.backends.len() == 2).await;
    let (gone, other) = (a.address, b.address);
    a.kill().await;
    let snapshot =
        until(&backends, |it| it.discovery.via == Some(other) && it.usable == [other]).await;
    let dead = snapshot.backends.iter().find(|it| it.address == gone).unwrap();
    assert_eq!((dead.health, dead.reason.as_str()), (Health::Unhealthy, "connection refused"));
    backends.stop().await;
}

#[tokio::test]
async fn virtual_address_among_the_endpoints_is_left_out_and_never_connected_to() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    // Would be connected to, were it not virtual.
    let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
    let virtual_address = listener.local_addr().unwrap();
    a.change(|it| it.slices = Ok(vec![virtual_address, a.address]));
    let settings = Settings {
        virtual_addresses: vec![virtual_address.ip()],
        static_servers: vec![a.address],
        ..settings(&cluster, virtual_address)
    };
    let backends = start(&settings);
    let snapshot = until(&backends, |it| !it.refused.is_empty()).await;
    assert_eq!(snapshot.refused[0].address, virtual_address);
    assert_eq!(snapshot.usable, [a.address]);
    let connected = timeout(Duration::from_millis(1500), listener.accept()).await;
    assert!(connected.is_err(), "nobody came");
    backends.stop().await;
}

#[tokio::test]
async fn empty_list_changes_nothing_and_is_reported() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, listing(&[])).await;
    let backends = start(&settings(&cluster, a.address));
    let snapshot = until(&backends, |it| it.discovery.error.is_some()).await;
    assert_eq!(snapshot.discovery.error, Some(format!("{} lists no usable endpoint", a.address)));
    assert_eq!(snapshot.usable, [a.address]);
    a.change(|it| it.slices = Ok(vec![a.address]));
    until(&backends, |it| it.discovery.error.is_none()).await;
    backends.stop().await;
}

#[tokio::test]
async fn list_is_kept_on_disk_for_a_start_without_any_answer() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    a.change(|it| it.slices = Ok(vec![a.address, b.address]));
    let cache = Some(cluster.path("state/apiservers.json"));
    let settings = Settings { cache, ..settings(&cluster, a.address) };
    let backends = start(&settings);
    until(&backends, |it| it.backends.len() == 2).await;
    backends.stop().await;
    let both = sorted([a.address, b.address]);
    let known = |path: &Path| Vec::from_iter(cache::read(path).unwrap().addresses);
    assert_eq!(known(&cluster.path("state/apiservers.json")), both);

    a.kill().await;
    b.kill().await;
    let backends = start(&Settings { kubeconfig: None, ..settings });
    assert_eq!(backends.snapshots().borrow().usable, both);
    backends.stop().await;
}

#[tokio::test]
async fn when_none_is_left_the_last_stay_usable() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    let static_servers = vec![a.address, b.address, nobody().await];
    let health = HealthSettings { interval: Duration::from_millis(200), ..Default::default() };
    let backends = start(&Settings { static_servers, health, ..Settings::default() });
    let both = sorted([a.address, b.address]);
    until(&backends, |it| {
        it.usable == both && it.backends.iter().all(|it| it.health != Health::Unknown)
    })
    .await;
    for server in [&a, &b] {
        server.change(|it| it.readyz = (500, "[-]etcd failed: reason withheld\n"));
    }
    let snapshot = until(&backends, |it| it.fail_open).await;
    assert_eq!(snapshot.usable, both);
    a.change(|it| it.readyz = (200, "ok"));
    let snapshot = until(&backends, |it| !it.fail_open).await;
    assert_eq!(snapshot.usable, [a.address]);
    backends.stop().await;
}

#[tokio::test]
async fn evidence_of_the_proxy_takes_out_at_once() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    let static_servers = vec![a.address, b.address];
    // No check would find out in time.
    let health = HealthSettings { interval: Duration::from_secs(3600), ..Default::default() };
    let backends = start(&Settings { static_servers, health, ..Settings::default() });
    until(&backends, |it| it.backends.iter().all(|it| it.health == Health::Healthy)).await;
    let reporter = backends.reporter();
    let reported = a.address;
    std::thread::spawn(move || reporter.report(reported, Evidence::Refused)).join().unwrap();
    let snapshot = until(&backends, |it| it.usable == [b.address]).await;
    let backend = snapshot.backends.iter().find(|it| it.address == a.address).unwrap();
    assert_eq!(backend.reason, "connection refused (met by the proxy)");
    backends.stop().await;
}

#[tokio::test]
async fn kubeconfig_that_appears_later_is_used() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    a.change(|it| it.slices = Ok(vec![a.address]));
    let settings = Settings {
        kubeconfig: Some(cluster.path("admin.conf")),
        kubeconfig_may_appear: true,
        static_servers: vec![nobody().await],
        ..Settings::default()
    };
    let backends = start(&settings);
    let snapshot = until(&backends, |it| it.discovery.error.is_some()).await;
    assert_eq!(
        snapshot.discovery.error,
        Some(format!(
            "waiting for the kubeconfig {} to appear",
            cluster.path("admin.conf").display()
        ))
    );
    cluster.issue_client(ALWAYS);
    cluster.kubeconfig(&format!("https://{}", a.address), None);
    let snapshot = until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
    assert_eq!(snapshot.usable, [a.address]);
    backends.stop().await;
}

#[tokio::test]
async fn refused_credentials_and_rights_are_explained_and_a_bad_new_file_changes_nothing() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State { slices: Err(401), ..State::default() }).await;
    let settings = settings(&cluster, a.address);
    let backends = start(&settings);
    let error = |it: &Snapshot| it.discovery.error.clone().unwrap_or_default();
    let file = cluster.path("admin.conf");
    let snapshot = until(&backends, |it| error(it).contains("(401)")).await;
    assert_eq!(
        error(&snapshot),
        format!(
            "{} does not accept the credentials of {} (401); renew them (`kubeadm certs renew`, \
             `k0s kubeconfig admin`)",
            a.address,
            file.display()
        )
    );
    a.change(|it| (it.slices, it.endpoints) = (Err(403), Err(403)));
    let snapshot = until(&backends, |it| error(it).contains("(403)")).await;
    assert!(error(&snapshot).contains("get, list and watch of endpointslices"));

    std::fs::write(&file, "a: [").unwrap();
    a.change(|it| it.slices = Ok(vec![a.address]));
    until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
    backends.stop().await;
}

#[tokio::test]
async fn renewed_kubeconfig_is_taken_up() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State { slices: Err(401), ..State::default() }).await;
    let server = format!("https://{}", a.address);
    let kubeconfig = Some(cluster.kubeconfig(&server, Some("{token: old}")));
    let backends = start(&Settings { kubeconfig, ..Settings::default() });
    until(&backends, |it| it.discovery.error.is_some()).await;
    assert!(a.requests().iter().any(|it| it.ends_with("\"Bearer old\"")), "{:?}", a.requests());

    cluster.kubeconfig(&server, Some("{token: new}"));
    a.change(|it| it.slices = Ok(vec![a.address]));
    until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
    let last = a.requests().into_iter().rfind(|it| !it.starts_with("/readyz")).unwrap();
    assert!(last.ends_with("\"Bearer new\""), "{last}");
    backends.stop().await;
}

#[tokio::test]
async fn certificate_may_carry_the_address_instead_of_the_service_name() {
    let cluster = Cluster::new();
    let names = [&["127.0.0.1"][..], &["kubernetes.default.svc"]];
    for names in names {
        let a = Apiserver::start_as(&cluster, State::default(), names, true).await;
        a.change(|it| it.slices = Ok(vec![a.address]));
        let backends = start(&settings(&cluster, a.address));
        until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
        backends.stop().await;
    }
}

#[tokio::test]
async fn certificate_of_another_name_or_ca_is_not_believed() {
    let cluster = Cluster::new();
    let elsewhere = Cluster::new();
    let a = Apiserver::start_as(&cluster, State::default(), &["example.org"], false).await;
    let b = Apiserver::start(&elsewhere, State::default()).await;
    for (server, reason) in [(&a, "certificate not valid for name"), (&b, "BadSignature")] {
        server.change(|it| it.slices = Ok(vec![server.address]));
        let backends = start(&settings(&cluster, server.address));
        let snapshot = until(&backends, |it| it.discovery.error.is_some()).await;
        let error = snapshot.discovery.error.clone().unwrap();
        assert!(error.contains(reason) && error.contains("is of another cluster"), "{error}");
        assert_eq!(snapshot.origin, Origin::Local);
        backends.stop().await;
        assert!(server.requests().iter().all(|it| it == "/readyz"), "{:?}", server.requests());
    }
}

#[tokio::test]
async fn kubelets_may_read_the_object_and_neither_list_nor_watch() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    let b = Apiserver::start(&cluster, State::default()).await;
    let withheld = State { slices: Err(403), endpoints: Err(403), ..State::default() };
    a.change(|it| *it = State { object: Ok(vec![a.address]), ..withheld });
    let backends = start(&settings(&cluster, a.address));
    let origin = Origin::Endpoints { via: a.address, resource: Resource::Endpoints };
    until(&backends, |it| it.origin == origin).await;
    a.change(|it| it.object = Ok(vec![a.address, b.address]));
    let snapshot = until(&backends, |it| it.backends.len() == 2).await;
    assert_eq!(snapshot.usable, sorted([a.address, b.address]));
    assert_eq!(snapshot.discovery.error, None);
    backends.stop().await;
}

#[tokio::test]
async fn one_that_answers_is_found_among_many_that_are_silent() {
    let cluster = Cluster::new();
    let frozen = State { frozen: true, ..State::default() };
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(Apiserver::start(&cluster, frozen.clone()).await);
    }
    let last = Apiserver::start(&cluster, State::default()).await;
    last.change(|it| it.slices = Ok(vec![last.address]));
    let static_servers = silent.iter().map(|it| it.address).collect();
    // So seldom checked that no check tells which is which.
    let health = HealthSettings {
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(60),
        ..HealthSettings::default()
    };
    let settings = Settings { static_servers, health, ..settings(&cluster, last.address) };
    let begin = Instant::now();
    let backends = start(&settings);
    until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(1_700), "four silent ones cost 250 ms each: {took:?}");
    backends.stop().await;
}

#[tokio::test]
async fn the_bootstrap_kubeconfig_serves_until_there_is_the_other() {
    let cluster = Cluster::new();
    let a = Apiserver::start(&cluster, State::default()).await;
    a.change(|it| it.slices = Err(403));
    let bootstrap = cluster.path("bootstrap.conf");
    let user = Some("{token: abcdef.0123456789abcdef}");
    std::fs::rename(cluster.kubeconfig(&format!("https://{}", a.address), user), &bootstrap)
        .unwrap();
    let settings = Settings {
        kubeconfig: Some(cluster.path("admin.conf")),
        kubeconfig_may_appear: true,
        bootstrap_kubeconfig: Some(bootstrap),
        proxy_port: 7443,
        ..Settings::default()
    };
    let backends = start(&settings);
    let snapshot = until(&backends, |it| it.discovery.error.is_some()).await;
    assert_eq!(snapshot.usable, [a.address], "its server is in use");
    assert!(a.requests().iter().any(|it| it.contains(r#""Bearer abcdef.0123456789abcdef""#)));

    a.change(|it| it.slices = Ok(vec![a.address]));
    cluster.issue_client(ALWAYS);
    // As the kubelet writes it that was registered through the balancer.
    cluster.kubeconfig("https://127.0.0.1:7443", None);
    let snapshot = until(&backends, |it| matches!(it.origin, Origin::Endpoints { .. })).await;
    assert_eq!(snapshot.usable, [a.address]);
    let last = a.requests().into_iter().rev().find(|it| it.contains("endpointslices")).unwrap();
    assert!(!last.contains("Bearer"), "{last}");
    backends.stop().await;
}
