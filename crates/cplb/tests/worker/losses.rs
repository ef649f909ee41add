//! Controllers that die, hang and vanish, as somebody on a worker sees it.

use std::ops::Range;
use std::time::Duration;

use lab::client::{Client, Figures};

use crate::cluster::{Cluster, Families, LONG};

/// The slowest handshake while an apiserver hangs or is cut off.
const HEDGED_WITHIN: Duration = Duration::from_millis(1_300);
/// Nothing new may go there any more after this.
pub(crate) const OUT_WITHIN: Duration = Duration::from_secs(3);
/// Requests that an apiserver already had when it died or hung: nobody can ask again in the client's
/// name.
pub(crate) const IN_FLIGHT: u64 = 5;

pub(crate) fn figures(cluster: &Cluster, client: &Client, window: Range<Duration>) -> Figures {
    while !client.has_finished(window.end) {
        std::thread::sleep(Duration::from_millis(10));
        assert!(cluster.now() < window.end + LONG, "requests have a deadline of 5 s");
    }
    let figures = client.figures(&window);
    cluster.tell(&format!(
        "the client: {} answered, failed {:?}, slowest handshake {:.1?}, by {:?}",
        figures.answered, figures.failures, figures.slowest_handshake, figures.replicas
    ));
    figures
}

/// Does something, and lets time pass until its consequences must be over.
pub(crate) fn with_window(
    cluster: &mut Cluster,
    act: impl FnOnce(&mut Cluster),
) -> Range<Duration> {
    std::thread::sleep(Duration::from_secs(1));
    let begin = cluster.now();
    act(cluster);
    std::thread::sleep(OUT_WITHIN + Duration::from_secs(2));
    begin..cluster.now()
}

/// What a client of the first worker meets after something was done: all of it, and what is left
/// when the consequences must be over.
fn met(cluster: &mut Cluster, act: impl FnOnce(&mut Cluster)) -> (Figures, Figures) {
    let client = cluster.client(0, cluster.door());
    let window = with_window(cluster, act);
    let after = window.start + OUT_WITHIN..window.end;
    (figures(cluster, &client, window), figures(cluster, &client, after))
}

#[test]
fn a_killed_apiserver_fails_no_connect() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let (all, after) = met(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.kill().unwrap();
        cluster.tell("kube-apiserver-2 killed");
    });
    assert_eq!((all.failed_connects, all.failed_handshakes), (0, 0), "{all:?}");
    assert!(all.failures.values().sum::<u64>() <= IN_FLIGHT, "{all:?}");
    assert!(after.failures.is_empty(), "{after:?}");
}

#[test]
fn a_hung_apiserver_fails_no_connect() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let (all, after) = met(&mut cluster, |cluster| {
        cluster.world.node_mut(1).apiserver.freeze().unwrap();
        cluster.tell("kube-apiserver-2 frozen");
    });
    assert_eq!((all.failed_connects, all.failed_handshakes), (0, 0), "{all:?}");
    assert!(all.failures.values().sum::<u64>() <= IN_FLIGHT, "{all:?}");
    assert!(all.slowest_handshake <= HEDGED_WITHIN, "{all:?}");
    assert!(after.slowest_handshake < Duration::from_millis(500), "it is out of use: {after:?}");
    assert!(after.failures.is_empty(), "{after:?}");
}

#[test]
fn a_controller_without_power_fails_no_connect() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let (all, after) = met(&mut cluster, |cluster| {
        cluster.world.cut(1).unwrap();
        cluster.tell("controller-2 cut off");
    });
    assert_eq!((all.failed_connects, all.failed_handshakes), (0, 0), "{all:?}");
    assert!(all.failures.values().sum::<u64>() <= IN_FLIGHT, "{all:?}");
    assert!(all.slowest_handshake <= HEDGED_WITHIN, "{all:?}");
    assert!(after.failures.is_empty(), "{after:?}");
}

#[test]
fn with_one_of_three_left_no_connect_fails() {
    let mut cluster = Cluster::start(Families::Ipv4);
    let (all, after) = met(&mut cluster, |cluster| {
        for node in [0, 1] {
            cluster.world.node_mut(node).apiserver.kill().unwrap();
        }
        cluster.tell("kube-apiserver-1 and -2 killed");
    });
    assert_eq!((all.failed_connects, all.failed_handshakes), (0, 0), "{all:?}");
    assert_eq!(after.replicas.keys().collect::<Vec<_>>(), ["controller-3"], "{after:?}");
    assert!(after.failures.is_empty(), "{after:?}");
}
