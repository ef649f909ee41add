use super::*;
use crate::doors::both;

#[test]
fn the_install_configuration_has_an_entry_point_on_each_loopback() {
    let expected = r#"global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: INFO
  noColor: true
entryPoints:
  apiserver:
    address: "127.0.0.1:7443"
  apiserver-ipv6:
    address: "[::1]:7443"
  konnectivity:
    address: "127.0.0.1:7132"
  konnectivity-ipv6:
    address: "[::1]:7132"
providers:
  file:
    filename: /etc/traefik/routing.yaml
    watch: true
"#;
    assert_eq!(install(&both()), expected);
}

#[test]
fn the_routing_names_every_server() {
    let expected = r#"tcp:
  routers:
    apiserver:
      entryPoints: [apiserver, apiserver-ipv6]
      rule: HostSNI(`*`)
      service: apiserver
    konnectivity:
      entryPoints: [konnectivity, konnectivity-ipv6]
      rule: HostSNI(`*`)
      service: konnectivity
  services:
    apiserver:
      loadBalancer:
        serversTransport: controllers
        healthCheck: { interval: 1s, unhealthyInterval: 1s, timeout: 900ms }
        servers:
        - address: "10.0.0.11:6443"
        - address: "[fd00::12]:6443"
    konnectivity:
      loadBalancer:
        serversTransport: controllers
        healthCheck: { interval: 1s, unhealthyInterval: 1s, timeout: 900ms }
        servers:
        - address: "10.0.0.11:8132"
        - address: "[fd00::12]:8132"
  serversTransports:
    controllers:
      dialTimeout: 1s
      dialKeepAlive: 15s
      terminationDelay: 30s
"#;
    let servers = ["10.0.0.11:6443", "[fd00::12]:6443"].map(|it| it.parse().unwrap());
    assert_eq!(routing(&both(), &servers.into(), "v3.7.8-k0s.0"), expected);
}

#[test]
fn without_servers_it_is_still_yaml() {
    let text = routing(&both(), &BTreeSet::new(), "v3.7.8");
    let text: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let servers = &text["tcp"]["services"]["apiserver"]["loadBalancer"]["servers"];
    assert_eq!(servers.as_array().map(Vec::len), Some(0));
}

#[test]
fn versions_that_know_no_checks_get_none() {
    for without in ["v3.5.3", "3.0", "v2.11.0", "v2", "v3.5.3@sha256:0123456789abcdef"] {
        assert!(!has_checks(without), "{without}");
        assert!(!routing(&both(), &BTreeSet::new(), without).contains("healthCheck"), "{without}");
    }
    for with in ["v3.6.0", "v3.7.8-k0s.0", "3.10.1", "v4.0.0", "v3", "latest", "nightly"] {
        assert!(has_checks(with), "{with}");
    }
}
