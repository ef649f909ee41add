use super::*;
use crate::doors::both;

fn three() -> BTreeSet<SocketAddr> {
    ["10.0.0.11:6443", "10.0.0.12:6443", "10.0.0.13:6443"].map(|it| it.parse().unwrap()).into()
}

/// It must not change with the ports: Envoy reads it once.
#[test]
fn the_bootstrap_names_the_files_that_are_read_again() {
    let expected = r#"node:
  cluster: nllb
  id: nllb
dynamic_resources:
  cds_config:
    path_config_source:
      path: /etc/envoy/cds.yaml
  lds_config:
    path_config_source:
      path: /etc/envoy/lds.yaml
watchdogs:
  main_thread_watchdog: { kill_timeout: 60s }
  worker_watchdog: { kill_timeout: 60s }
"#;
    assert_eq!(bootstrap(), expected);
}

#[test]
fn there_are_listeners_on_both_loopbacks() {
    let expected = r#"resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: apiserver
  address:
    socket_address: { address: "127.0.0.1", port_value: 7443 }
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: apiserver
        cluster: apiserver
        max_connect_attempts: 5
        idle_timeout: 0s
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: apiserver-ipv6
  address:
    socket_address: { address: "::1", port_value: 7443 }
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: apiserver-ipv6
        cluster: apiserver
        max_connect_attempts: 5
        idle_timeout: 0s
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: konnectivity
  address:
    socket_address: { address: "127.0.0.1", port_value: 7132 }
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: konnectivity
        cluster: konnectivity
        max_connect_attempts: 5
        idle_timeout: 0s
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: konnectivity-ipv6
  address:
    socket_address: { address: "::1", port_value: 7132 }
  filter_chains:
  - filters:
    - name: envoy.filters.network.tcp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
        stat_prefix: konnectivity-ipv6
        cluster: konnectivity
        max_connect_attempts: 5
        idle_timeout: 0s
"#;
    assert_eq!(listeners(&both()), expected);
}

#[test]
fn the_clusters_name_every_server() {
    let expected = r#"resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: apiserver
  type: STATIC
  lb_policy: ROUND_ROBIN
  connect_timeout: 1s
  close_connections_on_host_health_failure: true
  common_lb_config:
    healthy_panic_threshold: { value: 1 }
  upstream_connection_options:
    tcp_keepalive: { keepalive_time: 15, keepalive_interval: 5, keepalive_probes: 3 }
  outlier_detection:
    split_external_local_origin_errors: true
    consecutive_local_origin_failure: 1
    enforcing_local_origin_success_rate: 0
    interval: 1s
    base_ejection_time: 5s
    max_ejection_time: 10s
    max_ejection_percent: 100
  transport_socket_matches:
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
  load_assignment:
    cluster_name: apiserver
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: "10.0.0.11", port_value: 6443 } } }
      - endpoint: { address: { socket_address: { address: "10.0.0.12", port_value: 6443 } } }
      - endpoint: { address: { socket_address: { address: "10.0.0.13", port_value: 6443 } } }
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: konnectivity
  type: STATIC
  lb_policy: ROUND_ROBIN
  connect_timeout: 1s
  close_connections_on_host_health_failure: true
  common_lb_config:
    healthy_panic_threshold: { value: 1 }
  upstream_connection_options:
    tcp_keepalive: { keepalive_time: 15, keepalive_interval: 5, keepalive_probes: 3 }
  outlier_detection:
    split_external_local_origin_errors: true
    consecutive_local_origin_failure: 1
    enforcing_local_origin_success_rate: 0
    interval: 1s
    base_ejection_time: 5s
    max_ejection_time: 10s
    max_ejection_percent: 100
  health_checks:
  - tcp_health_check: {}
    interval: 1s
    no_traffic_interval: 1s
    timeout: 0.9s
    unhealthy_threshold: 2
    healthy_threshold: 2
  load_assignment:
    cluster_name: konnectivity
    endpoints:
    - lb_endpoints:
      - endpoint: { address: { socket_address: { address: "10.0.0.11", port_value: 8132 } } }
      - endpoint: { address: { socket_address: { address: "10.0.0.12", port_value: 8132 } } }
      - endpoint: { address: { socket_address: { address: "10.0.0.13", port_value: 8132 } } }
"#;
    assert_eq!(clusters(&both(), &three()), expected);
}

#[test]
fn on_ipv6_alone_without_konnectivity_and_without_servers_it_is_still_yaml() {
    let doors =
        Doors { loopbacks: vec!["::1".parse().unwrap()], apiserver: 7443, konnectivity: None };
    let listeners: serde_json::Value = serde_saphyr::from_str(&listeners(&doors)).unwrap();
    let listeners = listeners["resources"].as_array().unwrap();
    assert_eq!(listeners.len(), 1);
    assert_eq!(listeners[0]["name"], "apiserver");
    assert_eq!(listeners[0]["address"]["socket_address"]["address"], "::1");

    let empty = clusters(&doors, &BTreeSet::new());
    let empty: serde_json::Value = serde_saphyr::from_str(&empty).unwrap();
    assert_eq!(empty["resources"].as_array().unwrap().len(), 1);
    let endpoints = &empty["resources"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"];
    assert_eq!(endpoints.as_array().map(Vec::len), Some(0));

    let one = clusters(&doors, &["[fd00::11]:6443".parse().unwrap()].into());
    let one: serde_json::Value = serde_saphyr::from_str(&one).unwrap();
    let endpoint = &one["resources"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
    let address = &endpoint["endpoint"]["address"]["socket_address"];
    assert_eq!((&address["address"], &address["port_value"]), (&"fd00::11".into(), &6443.into()));
}
