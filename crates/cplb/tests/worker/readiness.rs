//! Ready means ready.

use std::time::Duration;

use crate::cluster::{Cluster, Families};

fn is_ready(cluster: &Cluster) -> bool {
    cluster.workers[0].told().iter().any(|it| it == "READY=1")
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

    cluster.world.node_mut(0).apiserver.thaw().unwrap();
    cluster.eventually("systemd is told", is_ready);

    cluster.stop_worker(0);
    let told = cluster.workers[0].told();
    assert!(told.contains(&"STOPPING=1".to_owned()), "{told:?}");
}
