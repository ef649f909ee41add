//! The same with real kube-apiservers, and the credentials of kubelets: they may read the endpoints
//! object, and neither list nor watch.

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kernel::address::VirtualAddress;

use crate::binary;
use crate::cluster::{Cluster, Families};
use crate::launch::{await_etcd, etcd, prepare_apiservers};
use crate::together;

/// Three kube-apiservers on a busy machine of two cores need most of it.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The apiservers of a cluster take a gigabyte and a quarter of a minute to start: one cluster at a time, which
/// tells all.
static ONE_CLUSTER: Mutex<()> = Mutex::new(());

#[test]
fn controllers_are_lost_with_real_apiservers_over_ipv4() {
    controllers_are_lost(Families::Ipv4);
}

#[test]
fn controllers_are_lost_with_real_apiservers_over_ipv6() {
    controllers_are_lost(Families::Ipv6);
}

#[test]
fn controllers_are_lost_with_real_apiservers_and_both_families() {
    controllers_are_lost(Families::Both);
}

/// What k0s tests of its own (inttest/nllb), by one controller after the other; then the holder of the
/// virtual IP is lost, with clients on every path.
fn controllers_are_lost(families: Families) {
    let Some(kube_apiserver) = binary::kube_apiserver() else {
        println!("skipped: set {}=FILE to a kube-apiserver, plain or .xz", binary::VARIABLE);
        return;
    };
    let _alone = ONE_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = together::build(families);
    cluster.patience = START_LIMIT;
    let addresses: &[&str] = match families {
        Families::Ipv4 => &["10.0.0.20/24"],
        Families::Ipv6 => &["fd00::200/64"],
        Families::Both => &["10.0.0.20/24", "fd00::200/64"],
    };
    let addresses: Vec<VirtualAddress> = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let address = addresses[0].address;
    prepare_apiservers(&kube_apiserver, &mut cluster.world, address);
    let mut etcd = etcd(&mut cluster.world, &addresses);
    etcd.start().expect("etcd can be executed (Debian: etcd-server)");
    await_etcd(&cluster.world, address);
    for worker in 0..2 {
        enrol(&cluster, worker);
    }

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
    // Anonymous requests get no further, so it is the node that asks.
    let listed = cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).unwrap();
    let all: Vec<String> = (0..3).map(|node| cluster.apiserver(node).to_string()).collect();
    assert!(listed.contains(&all.join(",")), "{listed}");
    let refused = cluster.kubectl(0, &["get", "endpoints"]).unwrap_err();
    assert!(refused.contains("User \"system:node:worker-0\" cannot list"), "{refused}");

    for node in 0..3 {
        cluster.stop_worker(0);
        cluster.kill_apiserver(node);
        cluster.start_worker(0);
        let left: Vec<usize> = (0..3).filter(|it| *it != node).collect();
        for worker in 0..2 {
            cluster.await_served_by(worker, &left);
            cluster.kubectl(worker, &["get", "endpoints", "kubernetes"]).unwrap();
        }
        cluster.start_apiserver(node);
        for worker in 0..2 {
            cluster.await_served_by(worker, &[0, 1, 2]);
            cluster.await_learned(worker, &[0, 1, 2]);
        }
    }

    together::the_holder_is_lost(&mut cluster, families);

    // A renewed certificate, as the kubelet writes it, and the list goes on to be read.
    enrol(&cluster, 0);
    cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).unwrap();
    // One that is told to stop leaves the list by itself: half a minute later, which one family is enough for.
    if families == Families::Ipv4 {
        cluster.world.node_mut(1).apiserver.stop().unwrap();
        cluster.await_learned(0, &[0, 2]);
    }
}

/// Gives a worker the certificate of a kubelet.
fn enrol(cluster: &Cluster, worker: usize) {
    let name = format!("system:node:worker-{worker}");
    let identity = cluster.world.authority().client(&name, "system:nodes").unwrap();
    let worker = &cluster.workers[worker];
    fs::write(worker.path("pki/admin.crt"), identity.certificate).unwrap();
    fs::write(worker.path("pki/admin.key"), identity.key).unwrap();
}
