//! How a worker comes to its list of apiservers, and lives by it.

use std::fs;
use std::time::Duration;

use crate::cluster::{Cluster, Families};

/// A second, and what a busy machine takes for starting two processes.
const SOON: Duration = Duration::from_secs(3);

/// What k0s tests of its own node-local load balancing (inttest/nllb): the list is learned live;
/// then, for each controller, a worker is stopped, the controller is stopped, the worker comes back
/// by what it has on its disk, and the controller comes back.
fn controllers_join_and_each_is_stopped_in_turn(families: Families) {
    let mut cluster = Cluster::build(families);
    cluster.start_apiserver(0);
    for worker in 0..2 {
        cluster.start_worker(worker);
        cluster.await_learned(worker, &[0]);
        cluster.await_served_by(worker, &[0]);
    }
    cluster.start_apiserver(1);
    cluster.start_apiserver(2);
    for worker in 0..2 {
        cluster.await_learned(worker, &[0, 1, 2]);
        cluster.await_served_by(worker, &[0, 1, 2]);
    }
    for node in 0..3 {
        cluster.stop_worker(0);
        cluster.stop_apiserver(node);
        cluster.start_worker(0);
        let left: Vec<usize> = (0..3).filter(|it| *it != node).collect();
        for worker in 0..2 {
            cluster.await_served_by(worker, &left);
            let listed = cluster.kubectl(worker, &["get", "endpoints", "kubernetes"]).unwrap();
            assert!(listed.contains("kubernetes"), "{listed}");
        }
        cluster.start_apiserver(node);
        for worker in 0..2 {
            cluster.await_served_by(worker, &[0, 1, 2]);
        }
    }
    for worker in 0..2 {
        assert_eq!(cluster.workers[worker].cached().len(), 3);
    }
}

#[test]
fn controllers_join_and_each_is_stopped_in_turn_over_ipv4() {
    controllers_join_and_each_is_stopped_in_turn(Families::Ipv4);
}

#[test]
fn controllers_join_and_each_is_stopped_in_turn_over_ipv6() {
    controllers_join_and_each_is_stopped_in_turn(Families::Ipv6);
}

#[test]
fn controllers_join_and_each_is_stopped_in_turn_with_both_families() {
    controllers_join_and_each_is_stopped_in_turn(Families::Both);
}

#[test]
fn one_controller_of_those_once_known_is_enough() {
    let mut cluster = Cluster::start(Families::Ipv4);
    cluster.stop_worker(0);
    // The one that the kubeconfig names is among the dead.
    cluster.stop_apiserver(0);
    cluster.stop_apiserver(1);
    cluster.start_worker(0);
    cluster.await_served_by(0, &[2]);
    cluster.await_learned(0, &[2]);
}

#[test]
fn both_loopbacks_serve_from_the_first_second() {
    let mut cluster = Cluster::build(Families::Both);
    for node in 0..3 {
        cluster.start_apiserver(node);
    }
    let servers: Vec<String> = (0..3).map(|node| cluster.apiserver(node).to_string()).collect();
    let options = servers.iter().flat_map(|it| ["--apiserver", it]);
    let worker = &mut cluster.workers[0];
    // Not registered, and nothing on disk.
    fs::remove_file(worker.path("kubelet.conf")).unwrap();
    worker.configure(&options.chain(["--wait-for-kubeconfig"]).collect::<Vec<_>>());
    cluster.start_worker(0);
    for door in ["127.0.0.1:7443", "[::1]:7443"] {
        let door = door.parse().unwrap();
        let took = cluster.eventually(&format!("{door} answers"), |cluster| {
            cluster.certificate(0, door).is_some()
        });
        assert!(took < SOON, "{took:?}");
    }
    cluster.await_served_by(0, &[0, 1, 2]);
}

#[test]
fn certificates_are_read_again_when_they_are_renewed() {
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.start_apiserver(0);
    // Of an authority that the apiserver does not know: it is nobody for it.
    let stranger = lab::pki::Authority::new().unwrap();
    let identity = stranger.client("kubernetes-admin", "system:masters").unwrap();
    let worker = &cluster.workers[0];
    fs::write(worker.path("pki/admin.crt"), identity.certificate).unwrap();
    fs::write(worker.path("pki/admin.key"), identity.key).unwrap();
    cluster.start_worker(0);
    cluster.await_served_by(0, &[0]);
    cluster.eventually("discovery fails and says so", |cluster| {
        cluster.workers[0].log().contains("the apiservers cannot be read from the cluster")
    });
    assert!(cluster.workers[0].cached().is_empty());

    let identity = cluster.world.authority().client("kubernetes-admin", "system:masters").unwrap();
    let worker = &cluster.workers[0];
    fs::write(worker.path("pki/admin.crt"), identity.certificate).unwrap();
    fs::write(worker.path("pki/admin.key"), identity.key).unwrap();
    cluster.await_learned(0, &[0]);
}
