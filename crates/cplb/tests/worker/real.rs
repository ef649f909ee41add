//! The same with real kube-apiservers, and the credentials of kubelets: they may read the endpoints
//! object, and neither list nor watch.

use std::fs;
use std::time::Duration;

use kernel::address::VirtualAddress;

use crate::binary;
use crate::cluster::{Cluster, Families};
use crate::launch::{await_etcd, etcd, prepare_apiservers};

/// Three kube-apiservers on a busy machine of two cores need most of it.
const START_LIMIT: Duration = Duration::from_secs(120);

/// One test, since the apiservers take a gigabyte and a quarter of a minute to start.
#[test]
fn controllers_join_and_each_is_lost_in_turn_with_real_apiservers() {
    let Some(kube_apiserver) = binary::kube_apiserver() else {
        println!("skipped: set {}=FILE to a kube-apiserver, plain or .xz", binary::VARIABLE);
        return;
    };
    let mut cluster = Cluster::build(Families::Ipv4);
    cluster.patience = START_LIMIT;
    let address: VirtualAddress = "10.0.0.20/24".parse().unwrap();
    prepare_apiservers(&kube_apiserver, &mut cluster.world, address.address);
    let mut etcd = etcd(&mut cluster.world, address);
    etcd.start().expect("etcd can be executed (Debian: etcd-server)");
    await_etcd(&cluster.world, address.address);
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
    assert!(listed.contains("10.0.0.11:6443,10.0.0.12:6443,10.0.0.13:6443"), "{listed}");
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

    // A renewed certificate, as the kubelet writes it, and the list goes on to be read.
    enrol(&cluster, 0);
    cluster.kubectl(0, &["get", "endpoints", "kubernetes"]).unwrap();
    cluster.kill_apiserver(0);
    cluster.await_learned(0, &[1, 2]);
}

/// Gives a worker the certificate of a kubelet.
fn enrol(cluster: &Cluster, worker: usize) {
    let name = format!("system:node:worker-{worker}");
    let identity = cluster.world.authority().client(&name, "system:nodes").unwrap();
    let worker = &cluster.workers[worker];
    fs::write(worker.path("pki/admin.crt"), identity.certificate).unwrap();
    fs::write(worker.path("pki/admin.key"), identity.key).unwrap();
}
