//! The files of Envoy.
//!
//! What differs from the ones k0s 1.37 writes, and why:
//!
//! | here | k0s | because |
//! |---|---|---|
//! | a listener on each loopback | one of the two | clients say `localhost`, which is either |
//! | check: `GET /readyz` over TLS each second, 2 failures | TCP connect each 5 s, 5 failures | a dead controller is used for 25 s more, one that hangs for ever |
//! | up to 5 connects per client, round robin | 1 | with N controllers each dead one fails 1/N of all clients |
//! | connect timeout 1 s | 0.25 s | one lost SYN takes a second to be sent again (RFC 6298 section 2.1) |
//! | panic threshold 1 % | 50 % | with one of three alive Envoy goes back to the dead ones |
//! | ejected by the first failed connect | never | the checks need a second or two |
//! | connections to one that fails its checks are closed | kept | watches on a hung controller hang with it |
//! | no idle timeout, TCP keepalive | 1 h, none | quiet watches are cut, lost power is not seen |
//! | listeners in a file that is read again | in the bootstrap | another port is another pod, which cuts every connection |
//! | a thread stuck for a minute ends Envoy | the kubelet's TCP probe of the port | the probe names the port in the manifest, and the kernel answers it for an Envoy that hangs |

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::doors::{Doors, Service};

/// The directory of the files as the container sees it.
pub(crate) const FOLDER: &str = "/etc/envoy";
/// Where the others are; read once, and always the same.
pub(crate) const BOOTSTRAP_FILE: &str = "envoy.yaml";
/// Clusters; read again whenever another file is moved to its name.
pub(crate) const CLUSTERS_FILE: &str = "cds.yaml";
/// Listeners; as the clusters.
pub(crate) const LISTENERS_FILE: &str = "lds.yaml";
/// What stands in [`LISTENERS_FILE`] of one that is to close its listeners.
pub(crate) const NO_LISTENERS: &str = "resources: []\n";

/// What stands in [`BOOTSTRAP_FILE`].
pub(crate) fn bootstrap() -> String {
    format!(
        "node:
  cluster: nllb
  id: nllb
dynamic_resources:
  cds_config:
    path_config_source:
      path: {FOLDER}/{CLUSTERS_FILE}
  lds_config:
    path_config_source:
      path: {FOLDER}/{LISTENERS_FILE}
watchdogs:
  main_thread_watchdog: {{ kill_timeout: 60s }}
  worker_watchdog: {{ kill_timeout: 60s }}
"
    )
}

/// What stands in [`LISTENERS_FILE`]. A listener whose address changes keeps its name: Envoy then
/// binds the new address first, and stays at the old one if that fails.
pub(crate) fn listeners(doors: &Doors) -> String {
    let mut text = "resources:\n".to_owned();
    for service in doors.services() {
        for (name, address) in service.listeners(doors) {
            text += &listener(&service, &name, address);
        }
    }
    text
}

/// What stands in [`CLUSTERS_FILE`].
pub(crate) fn clusters(doors: &Doors, apiservers: &BTreeSet<SocketAddr>) -> String {
    let mut text = "resources:\n".to_owned();
    for service in doors.services() {
        text += &cluster(&service);
        text += match service.name {
            "apiserver" => READYZ_CHECK,
            _ => CONNECT_CHECK,
        };
        text += &endpoints(&service, apiservers);
    }
    text
}

fn listener(service: &Service, name: &str, address: SocketAddr) -> String {
    format!(
        "- \"@type\": type.googleapis.com/envoy.config.listener.v3.Listener
  name: {name}
  address:
    socket_address: {{ address: \"{ip}\", port_value: {port} }}
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: {name}
        cluster: {cluster}
        max_connect_attempts: 5
        idle_timeout: 0s
",
        ip = address.ip(),
        port = address.port(),
        cluster = service.name,
    )
}

/// An ejection ends with the first good check. The longest is short, since in a panic, when all are
/// ejected or unhealthy, all are used.
fn cluster(service: &Service) -> String {
    format!(
        "- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: {name}
  type: STATIC
  lb_policy: ROUND_ROBIN
  connect_timeout: 1s
  close_connections_on_host_health_failure: true
  common_lb_config:
    healthy_panic_threshold: {{ value: 1 }}
  upstream_connection_options:
    tcp_keepalive: {{ keepalive_time: 15, keepalive_interval: 5, keepalive_probes: 3 }}
  outlier_detection:
    split_external_local_origin_errors: true
    consecutive_local_origin_failure: 1
    enforcing_local_origin_success_rate: 0
    interval: 1s
    base_ejection_time: 5s
    max_ejection_time: 10s
    max_ejection_percent: 100
",
        name = service.name,
    )
}

/// A connection of its own, over TLS and without a certificate: `/readyz` is open to everybody
/// (`system:public-info-viewer`). Where anonymous requests are off it is 401, which a server that
/// lives says as well. `no_traffic_interval` is 60 s otherwise.
const READYZ_CHECK: &str = r#"  transport_socket_matches:
  - name: check
    match: { check: true }
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
  health_checks:
  - http_health_check:
      host: kubernetes.default.svc
      path: /readyz
      expected_statuses: [{ start: 200, end: 201 }, { start: 401, end: 402 }]
      retriable_statuses: [{ start: 403, end: 600 }]
    transport_socket_match_criteria: { check: true }
    interval: 1s
    no_traffic_interval: 1s
    timeout: 0.9s
    unhealthy_threshold: 2
    healthy_threshold: 2
"#;

/// A konnectivity server says nothing before it is asked by an agent.
const CONNECT_CHECK: &str = "  health_checks:
  - tcp_health_check: {}
    interval: 1s
    no_traffic_interval: 1s
    timeout: 0.9s
    unhealthy_threshold: 2
    healthy_threshold: 2
";

fn endpoints(service: &Service, apiservers: &BTreeSet<SocketAddr>) -> String {
    let mut text =
        format!("  load_assignment:\n    cluster_name: {}\n    endpoints:\n", service.name);
    if apiservers.is_empty() {
        return text + "    - lb_endpoints: []\n";
    }
    text += "    - lb_endpoints:\n";
    let servers: BTreeSet<SocketAddr> = apiservers.iter().map(|it| service.server(*it)).collect();
    for server in servers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "      - endpoint: {{ address: {{ socket_address: {{ address: \"{}\", port_value: {} }} }} }}",
            server.ip(),
            server.port()
        );
    }
    text
}

#[cfg(test)]
mod tests;
