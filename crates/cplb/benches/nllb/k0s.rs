//! Envoy's settings as k0s 1.37 has them (pkg/component/worker/nllb/envoy.go): connect timeout 0.25 s,
//! random choice, a TCP check each 5 s of which five have to fail, everything else by default.

use std::fmt::Write;
use std::net::SocketAddr;

/// The bootstrap file; clusters are in `cds.yaml` of the same directory.
pub(crate) const BOOTSTRAP: &str = r#"node: { cluster: nllb-cluster, id: nllb-id }
dynamic_resources: { cds_config: { path_config_source: { path: /etc/envoy/cds.yaml } } }
static_resources:
  listeners:
  - name: apiserver
    address: { socket_address: { address: "127.0.0.1", port_value: 7443 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: apiserver
          cluster: apiserver
"#;

/// The clusters file for these apiservers.
pub(crate) fn clusters(apiservers: &[SocketAddr]) -> String {
    let mut text = r#"resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: apiserver
  connect_timeout: 0.25s
  type: STATIC
  lb_policy: RANDOM
  health_checks:
  - { tcp_health_check: {}, timeout: 1s, interval: 5s, healthy_threshold: 3, unhealthy_threshold: 5 }
  load_assignment:
    cluster_name: apiserver
    endpoints:
    - lb_endpoints:
"#
    .to_owned();
    for server in apiservers {
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
