//! Ready means ready.

use std::time::Duration;

use crate::cluster::{CPLB, Cluster, Families, text};

fn is_ready(cluster: &Cluster) -> bool {
    cluster.workers[0].told().iter().any(|it| it == "READY=1")
}

/// Status and body of `/readyz` on the admin socket.
fn readyz(cluster: &Cluster) -> String {
    let socket = cluster.workers[0].path("run/admin.sock").display().to_string();
    let form = "%{http_code}";
    let output = cluster.on(
        0,
        &["curl", "--silent", "--unix-socket", &socket, "--write-out", form, "http://cplb/readyz"],
    );
    let text = text(&output.stdout);
    let (body, code) = text.split_at(text.len().saturating_sub(3));
    format!("{code} {body}")
}

/// What `cplb status` shows of it.
fn status(cluster: &Cluster) -> String {
    let run_dir = cluster.workers[0].path("run").display().to_string();
    text(&cluster.on(0, &[CPLB, "status", "--run-dir", &run_dir]).stdout)
}

#[test]
fn the_status_shows_both_services_and_the_kubeconfig() {
    let cluster = Cluster::start(Families::Ipv4);
    cluster.eventually("it is ready", |cluster| readyz(cluster) == "200 ok");
    let status = status(&cluster);
    println!("{status}");
    let kubeconfig = cluster.workers[0].path("run/kubeconfig.yaml").display().to_string();
    for line in [
        "Apiservers at 127.0.0.1:7443, [::1]:7443\n".to_owned(),
        "  konnectivity at 127.0.0.1:7132, [::1]:7132\n".to_owned(),
        format!("  for the kubelet: {kubeconfig}\n"),
        "Load balancer on 127.0.0.1:7443, [::1]:7443: ".to_owned(),
        "  10.0.0.13:6443           healthy ".to_owned(),
        "  list from the cluster's EndpointSlices through 10.0.0.1".to_owned(),
        "Konnectivity on 127.0.0.1:7132, [::1]:7132: ".to_owned(),
        "  10.0.0.13:8132           ".to_owned(),
    ] {
        assert!(status.contains(&line), "{line}");
    }
}

/// Status and body of a path on the port that `--admin-listen` names.
fn scrape(cluster: &Cluster, path: &str) -> String {
    let url = format!("http://127.0.0.1:9411{path}");
    let output = cluster.on(0, &["curl", "--silent", "--write-out", "%{http_code}", &url]);
    let text = text(&output.stdout);
    let (body, code) = text.split_at(text.len().saturating_sub(3));
    format!("{code} {body}")
}

/// The value of the one sample of this name and these labels.
fn sample(scraped: &str, name: &str) -> Option<f64> {
    let mut values = scraped.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = values.next()?.parse().unwrap();
    assert_eq!(values.next(), None, "{name} is there once");
    Some(value)
}

#[test]
fn a_scrape_tells_what_the_balancer_does_and_whether_the_node_is_served() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.workers[0].configure(&["--admin-listen", "127.0.0.1:9411"]);
    cluster.start_worker(0);
    cluster
        .eventually("the port answers", |cluster| scrape(cluster, "/readyz") == "503 not ready\n");
    let before = scrape(&cluster, "/metrics");
    assert_eq!(sample(&before, "cplb_ready"), Some(0.0), "{before}");

    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.await_learned(0, &[0, 1, 2]);
    cluster.await_served_by(0, &[0, 1, 2]);
    cluster.eventually("it is ready", |cluster| scrape(cluster, "/readyz") == "200 ok");
    let first = scrape(&cluster, "/metrics");
    println!("{first}");
    assert_eq!(sample(&first, "cplb_ready"), Some(1.0), "{first}");
    assert_eq!(sample(&first, "cplb_worker_info{balancer=\"Builtin\"}"), Some(1.0), "{first}");
    for node in 0..3 {
        let healthy = format!("cplb_backend_healthy{{backend=\"{}\"}}", cluster.apiserver(node));
        assert_eq!(sample(&first, &healthy), Some(1.0), "{first}");
    }
    let accepted = |scraped: &str| {
        let name = "cplb_connections_accepted_total{listener=\"127.0.0.1:7443\"}";
        sample(scraped, name).unwrap()
    };
    for _ in 0..5 {
        assert!(cluster.certificate(0, cluster.door()).is_some());
    }
    let second = scrape(&cluster, "/metrics");
    assert!(accepted(&second) >= accepted(&first) + 5.0, "{second}");

    for node in 0..3 {
        cluster.stop_apiserver(node);
    }
    cluster.eventually("it is not ready any more", |cluster| {
        sample(&scrape(cluster, "/metrics"), "cplb_ready") == Some(0.0)
            && scrape(cluster, "/readyz").starts_with("503")
    });
}

#[test]
fn systemd_is_told_once_an_apiserver_has_answered_through_the_balancer() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_worker(0);
    std::thread::sleep(Duration::from_secs(2));
    let told = cluster.workers[0].told();
    assert!(!told.contains(&"READY=1".to_owned()), "{told:?}");
    assert!(told.iter().any(|it| it.starts_with("STATUS=not ready: 127.0.0.1:7443: ")), "{told:?}");

    // It listens, and nobody answers behind it.
    cluster.world.node_mut(0).apiserver.start().unwrap();
    cluster.world.node_mut(0).apiserver.freeze().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(!is_ready(&cluster));

    assert_eq!(readyz(&cluster), "503 not ready\n");

    cluster.world.node_mut(0).apiserver.thaw().unwrap();
    cluster.eventually("systemd is told", is_ready);
    assert_eq!(readyz(&cluster), "200 ok");

    cluster.stop_apiserver(0);
    cluster.eventually("it is not ready any more", |cluster| readyz(cluster).starts_with("503"));
    let status = status(&cluster);
    assert!(status.contains(": NOT READY, up "), "{status}");
    assert!(
        status.contains("! no apiserver answers through the balancer: 127.0.0.1:7443: "),
        "{status}"
    );
    cluster.start_apiserver(0);
    cluster.eventually("it is ready again", |cluster| readyz(cluster) == "200 ok");

    cluster.stop_worker(0);
    let told = cluster.workers[0].told();
    assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
}
