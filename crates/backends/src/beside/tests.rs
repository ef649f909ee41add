use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::health::Health;
use crate::settings::{Settings, check};
use crate::{Backends, spawn};

/// Settings that check every 100 ms.
fn hastily() -> HealthSettings {
    let (interval, timeout) = (Duration::from_millis(100), Duration::from_millis(90));
    HealthSettings { interval, timeout, ..HealthSettings::default() }
}

/// Waits, for no more than ten seconds, until each server's health is that.
async fn until(backends: &Backends, wanted: &[(&str, Health)]) -> Arc<Snapshot> {
    let wanted: Vec<(SocketAddr, Health)> =
        wanted.iter().map(|(address, health)| (address.parse().unwrap(), *health)).collect();
    let mut snapshots = backends.snapshots();
    let is = |it: &Arc<Snapshot>| {
        let found = it.backends.iter().map(|it| (it.address, it.health));
        found.collect::<Vec<_>>() == wanted
    };
    let found = timeout(Duration::from_secs(10), snapshots.wait_for(is)).await;
    found
        .unwrap_or_else(|_| panic!("never so: {:#?}", backends.snapshots().borrow()))
        .unwrap()
        .clone()
}

/// Backends whose apiservers are these, which nobody need be.
fn apiservers(addresses: &[&str]) -> Backends {
    let static_servers = addresses.iter().map(|it| it.parse().unwrap()).collect();
    spawn(check(&Settings { static_servers, ..Settings::default() }).unwrap())
}

#[tokio::test]
async fn each_host_is_checked_at_the_port_by_a_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = apiservers(&["127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1"]);
    let beside =
        spawn_beside("konnectivity server", hosts.snapshots(), port, hastily(), PortCheck::Connect);
    let first = beside.snapshots().borrow().clone();
    let [one, two] = [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")];
    let both: [SocketAddr; 2] = [one.parse().unwrap(), two.parse().unwrap()];
    assert_eq!(first.usable, both, "usable from the first instant, each host once");

    let snapshot = until(&beside, &[(&one, Health::Healthy), (&two, Health::Unhealthy)]).await;
    assert_eq!(snapshot.usable, both[..1]);
    assert_eq!(snapshot.backends[0].reason, "takes connections");
    assert_eq!(snapshot.backends[1].reason, "connection refused");
    drop(listener);
    let snapshot = until(&beside, &[(&one, Health::Unhealthy), (&two, Health::Unhealthy)]).await;
    assert!(snapshot.fail_open, "what was used last stays in use");
    assert_eq!(snapshot.usable, both[..1]);

    let _listener = TcpListener::bind(both[1]).await.unwrap();
    let snapshot = until(&beside, &[(&one, Health::Unhealthy), (&two, Health::Healthy)]).await;
    assert_eq!(snapshot.usable, both[1..]);
    beside.stop().await;
    hosts.stop().await;
}

#[tokio::test]
async fn what_the_proxy_meets_counts_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hosts = apiservers(&["127.0.0.1:1"]);
    let seldom = HealthSettings { interval: Duration::from_secs(60), ..HealthSettings::default() };
    let beside = spawn_beside(
        "konnectivity server",
        hosts.snapshots(),
        address.port(),
        seldom,
        PortCheck::Connect,
    );
    until(&beside, &[(&address.to_string(), Health::Healthy)]).await;
    drop(listener);
    beside.report(address, Evidence::Refused);
    until(&beside, &[(&address.to_string(), Health::Unhealthy)]).await;
}

#[tokio::test]
async fn it_ends_with_the_hosts() {
    let hosts = apiservers(&["127.0.0.1:1"]);
    let beside =
        spawn_beside("konnectivity server", hosts.snapshots(), 1, hastily(), PortCheck::Connect);
    hosts.stop().await;
    timeout(Duration::from_secs(5), beside.stop()).await.unwrap();
}
