//! What only cplb's own proxy has: how it chooses, whom it lets in, extra ports, rebalancing.

use std::time::Duration;

use config::{Balance, Cidr, ExtraPort, HealthCheck, LoadBalancer, PortCheck};

use crate::{accept, check, check_each, control_plane};

fn load_balancer_of(text: &str) -> LoadBalancer {
    accept(text).control_plane_load_balancing.expect("the block is there").load_balancer
}

/// Fields of the load balancer, the first in line 5, column 9.
fn load_balancer(fields: &str) -> String {
    control_plane(&format!("loadBalancer:\n  {}", fields.replace('\n', "\n  ")))
}

/// Fields of the only extra port, in one line: line 5, the first in column 23.
fn extra_port(fields: &str) -> String {
    load_balancer(&format!("extraPorts: [{{{fields}}}]"))
}

#[test]
fn who_is_let_in_and_who_serves() {
    let found = load_balancer_of(&load_balancer(
        "balance: leastConnections\nmaxConnectionsPerSource: 100\nallowedSources: [10.0.0.0/8, \
         192.0.2.7, \"fd00::/8\", 0.0.0.0/0]\nrebalance: {connectionsPerSecond: 5}",
    ));
    let network = |address: &str, prefix_length| Cidr {
        address: address.parse().expect("an address"),
        prefix_length,
    };
    let expected = LoadBalancer {
        balance: Balance::LeastConnections,
        max_connections_per_source: Some(100),
        allowed_sources: vec![
            network("10.0.0.0", 8),
            network("192.0.2.7", 32),
            network("fd00::", 8),
            network("0.0.0.0", 0),
        ],
        rebalance: Some(5),
        ..LoadBalancer::default()
    };
    assert_eq!(found, expected);
    check_each(
        load_balancer,
        &[
            (
                "balance: leastconnections",
                "5:18: error: balance \"leastconnections\" is none of roundRobin, leastConnections",
            ),
            (
                "maxConnectionsPerSource: 0",
                "5:34: error: maxConnectionsPerSource 0 is out of range: 1 to 4294967295",
            ),
            (
                "allowedSources: [10.0.0.1/8]",
                "5:26: error: allowedSources[0] 10.0.0.1/8 has bits set beyond its prefix length",
            ),
            (
                "allowedSources: [10.0.0.0/33]",
                "5:26: error: allowedSources[0] \"10.0.0.0/33\" is no network",
            ),
            (
                "allowedSources: [\"fd00::/+8\"]",
                "5:26: error: allowedSources[0] \"fd00::/+8\" is no network",
            ),
            (
                "allowedSources: 10.0.0.0/8",
                "5:25: error: allowedSources must be a list, not a string",
            ),
            (
                "rebalance: {connectionsPerSecond: 0}",
                "5:43: error: connectionsPerSecond 0 is out of range: 1 to 1000",
            ),
            ("rebalance: {}", "5:20: error: rebalance without connectionsPerSecond"),
            ("rebalance: 5", "5:20: error: rebalance must be a mapping, not a number"),
        ],
    );
}

#[test]
fn extra_ports_and_their_checks() {
    let found = load_balancer_of(&load_balancer(
        "healthCheck: {interval: 2s, fall: 3}\nextraPorts:\n- port: 9443\n- port: 8132\n  listenPort: 8232\n  \
         healthCheck: {type: tcp, interval: 500ms}\n- port: 60000\n  listenPort: 6446\n  healthCheck: \
         {type: https, path: /v1beta1/ca, status: 401, rise: 1}",
    ));
    let of_apiservers = HealthCheck {
        interval: Duration::from_secs(2),
        timeout: Duration::from_millis(900),
        fall: 3,
        rise: 2,
    };
    let (interval, timeout) = (Duration::from_millis(500), Duration::from_millis(450));
    let expected = [
        ExtraPort {
            port: 9443,
            listen_port: 19443,
            check: PortCheck::Tls,
            health_check: of_apiservers,
        },
        ExtraPort {
            port: 8132,
            listen_port: 8232,
            check: PortCheck::Tcp,
            health_check: HealthCheck { interval, timeout, ..of_apiservers },
        },
        ExtraPort {
            port: 60000,
            listen_port: 6446,
            check: PortCheck::Https { path: "/v1beta1/ca".to_owned(), status: 401 },
            health_check: HealthCheck { rise: 1, ..of_apiservers },
        },
    ];
    assert_eq!(found.extra_ports, expected);
    check_each(
        extra_port,
        &[
            ("port: 0", "5:29: error: port 0 is out of range: 1 to 65535"),
            ("listenPort: 9444", "5:22: error: extraPorts[0] has no port"),
            (
                "port: 9443, listenPort: 65536",
                "5:47: error: listenPort 65536 is out of range: 1 to 65535",
            ),
            ("port: 55536", "5:29: error: no listenPort for port 55536, and 10000 more is no port"),
            ("port: 9443, address: x", "5:35: error: unknown field \"address\" in extraPorts[0]"),
            (
                "port: 9443, healthCheck: {type: grpc}",
                "5:55: error: type \"grpc\" is none of tcp, tls, https",
            ),
            ("port: 9443, healthCheck: {type: https}", "5:48: error: type: https without a path"),
            (
                "port: 9443, healthCheck: {type: https, path: healthz}",
                "5:68: error: path \"healthz\" cannot be asked for",
            ),
            (
                "port: 9443, healthCheck: {type: https, path: \"/a b\"}",
                "5:68: error: path \"/a b\" cannot be asked for",
            ),
            (
                "port: 9443, healthCheck: {path: /healthz}",
                "5:55: error: path of a health check that asks for nothing",
            ),
            (
                "port: 9443, healthCheck: {type: https, path: /, status: 600}",
                "5:79: error: status 600 is out of range: 100 to 599",
            ),
            (
                "port: 9443, healthCheck: {timeout: 2s}",
                "5:58: error: timeout 2s is out of range: 1ms to 1s",
            ),
        ],
    );
}

/// A document with a virtual IP, more fields of its block, and these extra ports in line 8.
fn together(fields: &str, extra_ports: &str) -> String {
    control_plane(&format!(
        "enabled: true\nkeepalived: {{vrrpInstances: [{{authPass: a, virtualIPs: [10.0.0.1/24]}}]{fields}}}\n\
         loadBalancer:\n  balance: roundRobin\n  extraPorts: [{extra_ports}]"
    ))
}

#[test]
fn a_port_is_balanced_once_and_listened_on_once() {
    accept(&together("", "{port: 9443}, {port: 8132}"));
    for (extra_ports, expected) in [
        ("{port: 6443}", &["8:29: error: port 6443 is api.port"][..]),
        ("{port: 9443}, {port: 9443, listenPort: 9}", &["8:43: error: port 9443 a second time"]),
        ("{port: 6444}", &["8:29: error: port 6444 is where the load balancer itself listens"]),
        (
            "{port: 9443, listenPort: 9443}",
            &[
                "8:29: error: port 9443 is where the load balancer itself listens",
                "8:47: error: port 9443 is that of the k0s API (api.k0sApiPort), too",
            ],
        ),
        (
            "{port: 8132, listenPort: 8133}",
            &[
                "8:47: error: port 8133 is that of the konnectivity server (konnectivity.adminPort), too",
            ],
        ),
        (
            "{port: 9443, listenPort: 6444}",
            &[
                "8:47: error: port 6444 is that of the user space proxy (userSpaceProxyBindPort), too",
            ],
        ),
        (
            "{port: 9443}, {port: 8132, listenPort: 19443}",
            &[
                "8:61: error: port 19443 is that of the load balancer of an extra port (listenPort), too",
            ],
        ),
        // 10000 more is another's, which need not be on the same node.
        ("{port: 250}", &["8:29: warning: port 10250 is that of kubelet, too"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|it| format!("k0s.yaml:{it}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&together("", extra_ports), &expected);
    }
}

#[test]
fn there_has_to_be_a_proxy() {
    check(
        &together(", virtualServers: [{ipAddress: 10.0.0.1}]", "{port: 9443}"),
        &[
            "k0s.yaml:7:18: error: balance beside virtualServers, without a proxy",
            "k0s.yaml:8:21: error: extraPorts beside virtualServers, without a proxy",
        ],
    );
    check(
        &together(", disableLoadBalancer: true", "{port: 9443}"),
        &[
            "k0s.yaml:7:18: error: balance beside disableLoadBalancer: true, without a proxy",
            "k0s.yaml:8:21: error: extraPorts beside disableLoadBalancer: true, without a proxy",
        ],
    );
}
