//! Upgrades beside hundreds of new connections a second and streams that never pause: no connect
//! fails, no stream is cut, no byte is lost.

use crate::cluster::{VIP_V6, controllers, milliseconds, pid, seconds, start, upgraded};
use crate::common::{Cluster, VIP};
use crate::witnesses::{Knocking, Source, Stream};

/// An extra port with servers that stream beside the apiservers.
fn document(virtual_ip: &str) -> String {
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - {{virtualIPs: [\"{virtual_ip}\"], authPass: BuyK0s, version: 3, advertInterval: 100ms}}
      loadBalancer:
        drainTimeout: 2m
        extraPorts: [{{port: 9443, healthCheck: {{type: tcp}}}}]
"
    )
}

#[test]
fn no_connect_fails_and_no_stream_is_cut() {
    upgrade_under_load(VIP, 24);
}

#[test]
fn nor_on_ipv6_alone() {
    upgrade_under_load(VIP_V6, 64);
}

fn upgrade_under_load(virtual_ip: &str, prefix_length: u8) {
    let (cluster, _strays) = start(&document(&format!("{virtual_ip}/{prefix_length}")));
    let holder = cluster.holder();
    let sources = [0, 1, 2].map(|node| Source::start(cluster.world.node(node).host()));
    let all_are_healthy = |cluster: &Cluster| {
        let status = cluster.status_of(holder).unwrap();
        let servers = status["load_balancer"]["extra_ports"][0]["apiservers"].as_array().cloned();
        let servers = servers.unwrap_or_default();
        servers.len() == 3 && servers.iter().all(|it| it["health"] == "healthy")
    };
    cluster.eventually("the sources are in use", all_are_healthy);
    let streams = [0; 3].map(|_| Stream::start(cluster.world.client(), virtual_ip));
    let knocking = Knocking::start(cluster.world.client(), virtual_ip);
    let (begin, first) = (cluster.now(), pid(&cluster, holder));
    cluster.pass(milliseconds(500));
    for _ in 0..3 {
        upgraded(&cluster, holder);
        cluster.pass(seconds(1));
        streams.iter().for_each(Stream::assert_flows);
    }
    assert!(controllers(&cluster, holder).contains(&first), "it serves the streams");
    let lasted = cluster.now() - begin;
    let (answered, failures) = knocking.end();
    println!(
        "{} connections in {lasted:.1?}, {:.0} a second; slowest {:.1?}; {} MB streamed",
        answered.count,
        answered.count as f64 / lasted.as_secs_f64(),
        answered.slowest,
        streams.iter().map(Stream::bytes).sum::<u64>() / 1_000_000,
    );
    println!("{}", cluster.status_text_of(holder));
    assert_eq!(failures, Vec::<String>::new());
    assert!(answered.count > 300, "that is no load");
    assert_eq!(cluster.moves_since(begin), 0);
    let changes = cluster.holdings().changes().to_vec();
    assert!(changes.iter().all(|change| change.at < begin), "{changes:?}");
    streams.iter().for_each(Stream::assert_flows);
    drop((streams, sources));
}
