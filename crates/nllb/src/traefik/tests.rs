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
    reusePort: true
    transport:
      lifeCycle: { graceTimeOut: 86400s }
  apiserver-ipv6:
    address: "[::1]:7443"
    reusePort: true
    transport:
      lifeCycle: { graceTimeOut: 86400s }
  konnectivity:
    address: "127.0.0.1:7132"
    reusePort: true
    transport:
      lifeCycle: { graceTimeOut: 86400s }
  konnectivity-ipv6:
    address: "[::1]:7132"
    reusePort: true
    transport:
      lifeCycle: { graceTimeOut: 86400s }
providers:
  file:
    filename: /etc/traefik/routing.yaml
    watch: true
"#;
    assert_eq!(install(&both(), "v3.7.8-k0s.0"), expected);
}

#[test]
fn the_routing_names_every_server() {
    let expected = r#"tcp:
  routers:
    apiserver:
      entryPoints: [apiserver]
      rule: HostSNI(`*`)
      service: apiserver
    apiserver-ipv6:
      entryPoints: [apiserver-ipv6]
      rule: HostSNI(`*`)
      service: apiserver-ipv6
    konnectivity:
      entryPoints: [konnectivity]
      rule: HostSNI(`*`)
      service: konnectivity
    konnectivity-ipv6:
      entryPoints: [konnectivity-ipv6]
      rule: HostSNI(`*`)
      service: konnectivity-ipv6
  services:
    apiserver:
      loadBalancer:
        serversTransport: controllers
        healthCheck: { interval: 1s, unhealthyInterval: 1s, timeout: 900ms, send: "GET / HTTP/1.0\r\n\r\n", expect: "HTTP/1." }
        servers:
        - address: "10.0.0.11:6443"
        - address: "[fd00::12]:6443"
    apiserver-ipv6:
      loadBalancer:
        serversTransport: controllers
        healthCheck: { interval: 1s, unhealthyInterval: 1s, timeout: 900ms, send: "GET / HTTP/1.0\r\n\r\n", expect: "HTTP/1." }
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
    konnectivity-ipv6:
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
        assert!(!is_from(without, WITH_CHECKS), "{without}");
        assert!(!routing(&both(), &BTreeSet::new(), without).contains("healthCheck"), "{without}");
    }
    for with in ["v3.6.0", "v3.7.8-k0s.0", "3.10.1", "v4.0.0", "v3", "latest", "nightly"] {
        assert!(is_from(with, WITH_CHECKS), "{with}");
    }
}

/// An unknown field ends Traefik: version 2 has no `reusePort`.
#[test]
fn versions_that_cannot_share_are_not_told_to() {
    for (version, shares) in
        [("v2.11.29", false), ("v2", false), ("v3.0.0", true), ("latest", true)]
    {
        assert_eq!(can_share(version), shares, "{version}");
        assert_eq!(install(&both(), version).contains("reusePort"), shares, "{version}");
    }
}

/// The fields of Traefik v3.7.8, `*` for a name: of the install configuration (its page
/// "configuration options", without regard to case) and of the file provider's TCP part
/// (`pkg/config/dynamic/tcp_config.go`).
const DOCUMENTED: &[&str] = &[
    "global.checkNewVersion",
    "global.sendAnonymousUsage",
    "log.level",
    "log.noColor",
    "entryPoints.*.address",
    "entryPoints.*.reusePort",
    "entryPoints.*.transport.lifeCycle.graceTimeOut",
    "providers.file.filename",
    "providers.file.watch",
    "tcp.routers.*.entryPoints.[]",
    "tcp.routers.*.rule",
    "tcp.routers.*.service",
    "tcp.services.*.loadBalancer.serversTransport",
    "tcp.services.*.loadBalancer.servers.[].address",
    "tcp.services.*.loadBalancer.healthCheck.interval",
    "tcp.services.*.loadBalancer.healthCheck.unhealthyInterval",
    "tcp.services.*.loadBalancer.healthCheck.timeout",
    "tcp.services.*.loadBalancer.healthCheck.send",
    "tcp.services.*.loadBalancer.healthCheck.expect",
    "tcp.serversTransports.*.dialTimeout",
    "tcp.serversTransports.*.dialKeepAlive",
    "tcp.serversTransports.*.terminationDelay",
];

/// The paths of all leaves, names in the place of keys that the writer of the file chooses.
fn paths(value: &serde_json::Value, path: &str, found: &mut BTreeSet<String>) {
    const NAMED: [&str; 4] = ["entryPoints", "routers", "services", "serversTransports"];
    let below =
        |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
    let last = path.rsplit('.').next().unwrap_or_default();
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                paths(value, &below(if NAMED.contains(&last) { "*" } else { name }), found);
            }
        }
        serde_json::Value::Array(items) => {
            items.iter().for_each(|it| paths(it, &below("[]"), found));
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

#[test]
fn traefik_knows_every_field() {
    let mut found = BTreeSet::new();
    let servers = ["10.0.0.11:6443".parse().unwrap()].into();
    for text in [install(&both(), "v3.7.8-k0s.0"), routing(&both(), &servers, "v3.7.8")] {
        paths(&serde_saphyr::from_str(&text).unwrap(), "", &mut found);
    }
    assert_eq!(found, DOCUMENTED.iter().map(ToString::to_string).collect());
}

/// The check of a service acts on one of the entry points that share it.
#[test]
fn no_service_is_shared_by_entry_points() {
    let routing = routing(&both(), &["10.0.0.11:6443".parse().unwrap()].into(), "v3.7.8");
    let routing: serde_json::Value = serde_saphyr::from_str(&routing).unwrap();
    let routers = routing["tcp"]["routers"].as_object().unwrap();
    let services: BTreeSet<&str> =
        routers.values().map(|it| it["service"].as_str().unwrap()).collect();
    assert_eq!((routers.len(), services.len()), (4, 4));
    for router in routers.values() {
        assert_eq!(router["entryPoints"].as_array().unwrap().len(), 1, "{router}");
    }
}

#[test]
fn every_router_leads_to_a_service_and_every_service_to_a_transport() {
    let servers = ["10.0.0.11:6443".parse().unwrap()].into();
    let routing: serde_json::Value =
        serde_saphyr::from_str(&routing(&both(), &servers, "v3.7.8")).unwrap();
    let install: serde_json::Value =
        serde_saphyr::from_str(&install(&both(), "v3.7.8-k0s.0")).unwrap();
    let tcp = &routing["tcp"];
    let mut points: Vec<&serde_json::Value> = Vec::new();
    for router in tcp["routers"].as_object().unwrap().values() {
        let service = &tcp["services"][router["service"].as_str().unwrap()];
        let transport = service["loadBalancer"]["serversTransport"].as_str().unwrap();
        assert!(tcp["serversTransports"][transport].is_object());
        points.extend(router["entryPoints"].as_array().unwrap());
    }
    let known = install["entryPoints"].as_object().unwrap();
    assert_eq!(points.len(), known.len());
    assert!(points.iter().all(|it| known.contains_key(it.as_str().unwrap())));
}
