//! SIGHUP changes what differs, and cuts no connection.

use std::time::Duration;

use rustix::process::Signal;

use crate::cluster::{BUILTIN, Cluster, Families};

fn moved() -> String {
    BUILTIN.to_owned()
        + "      builtin: { apiServerBindPort: 17443, konnectivityServerBindPort: 17132 }\n"
}

fn reload(cluster: &mut Cluster) {
    cluster.workers[0].daemon.send(Signal::HUP).unwrap();
    cluster.tell("SIGHUP");
}

#[test]
fn another_port_cuts_no_connection_of_the_old_one() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let (old, new) = (cluster.door(), "127.0.0.1:17443".parse().unwrap());
    let client = cluster.client(0, old);
    cluster.workers[0].write_config(&moved());
    reload(&mut cluster);
    cluster.eventually("the new door answers", |cluster| cluster.certificate(0, new).is_some());
    cluster.eventually("the old door is closed", |cluster| cluster.certificate(0, old).is_none());
    let text = cluster.workers[0].read("run/kubeconfig.yaml");
    cluster.eventually("the kubeconfig leads to the new door", |cluster| {
        cluster.workers[0].read("run/kubeconfig.yaml").contains("server: https://127.0.0.1:17443\n")
    });
    assert!(text.contains("server: https://127.0.0.1:"), "{text}");
    std::thread::sleep(Duration::from_secs(2));
    let changes = client.watch_changes();
    assert_eq!(changes.len(), 1, "the watch through the old door goes on: {changes:?}");

    // It ends with its connections.
    drop(client);
    cluster.eventually("the closed door is forgotten", |cluster| {
        cluster.workers[0].log().contains("the last connection of a closed door has ended")
    });
    // And back again, as if nothing had been.
    cluster.workers[0].write_config(BUILTIN);
    reload(&mut cluster);
    cluster.await_served_by(0, &[0, 1, 2]);
}

#[test]
fn what_is_the_same_is_not_touched() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let client = cluster.client(0, cluster.door());
    let begin = cluster.now();
    for _ in 0..3 {
        reload(&mut cluster);
        std::thread::sleep(Duration::from_millis(300));
    }
    let end = cluster.now();
    cluster.eventually("all requests are finished", |_| client.has_finished(end));
    let figures = client.figures(&(begin..end));
    assert!(figures.failures.is_empty(), "{figures:?}");
    assert_eq!(client.watch_changes().len(), 1);
    let log = cluster.workers[0].log();
    assert_eq!(log.matches("configuration applied").count(), 3, "{log}");
}

#[test]
fn a_faulty_document_changes_nothing() {
    let mut cluster = Cluster::start(Families::Ipv4);
    cluster.workers[0]
        .write_config("spec: { network: { nodeLocalLoadBalancing: { enabled: maybe } } }");
    reload(&mut cluster);
    cluster.eventually("the fault is told with its position", |cluster| {
        let log = cluster.workers[0].log();
        log.contains("config.yaml:1:55: error: ") && log.contains("SIGHUP: ")
    });
    cluster.await_served_by(0, &[0, 1, 2]);

    // A port that is taken shows before anything is changed.
    let namespace = &cluster.host(0).namespace;
    let taken = namespace.run(|| std::net::TcpListener::bind("127.0.0.1:17132").unwrap()).unwrap();
    cluster.workers[0].write_config(&moved());
    reload(&mut cluster);
    cluster.eventually("the port is named", |cluster| {
        cluster.workers[0].log().contains("127.0.0.1:17132 is in use")
    });
    cluster.await_served_by(0, &[0, 1, 2]);
    drop(taken);
    reload(&mut cluster);
    let new = "127.0.0.1:17443".parse().unwrap();
    cluster.eventually("the new door answers", |cluster| cluster.certificate(0, new).is_some());
}
