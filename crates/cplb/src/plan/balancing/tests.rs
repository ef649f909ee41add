use super::*;

/// The document below `loadBalancer`.
fn wanted(fields: &str) -> config::Settings {
    let text = format!(
        "spec: {{network: {{controlPlaneLoadBalancing: {{enabled: true, keepalived: {{vrrpInstances: \
         [{{authPass: a, virtualIPs: [10.0.0.100/24, \"fd00::100/64\"]}}]}}, loadBalancer: {{{fields}}}}}}}}}"
    );
    let loaded = config::load("k0s.yaml", &text);
    loaded.settings.unwrap_or_else(|| panic!("{:#?}", loaded.findings))
}

fn plan_of(fields: &str) -> ProxyPlan {
    let settings = wanted(fields);
    let cplb = settings.control_plane_load_balancing.as_ref().unwrap();
    let virtual_addresses = ["10.0.0.100", "fd00::100"].map(|it| it.parse().unwrap());
    proxy(&settings, cplb, &virtual_addresses)
}

#[test]
fn the_document_decides_how_the_proxy_chooses_and_whom_it_lets_in() {
    let plan = plan_of(
        "balance: leastConnections, maxConnections: 9, maxConnectionsPerSource: 3, \
         allowedSources: [10.0.0.0/8, \"fd00::/8\"], rebalance: {connectionsPerSecond: 5}",
    );
    let expected = proxy::Settings {
        listen: vec!["[::]:6444".parse().unwrap()],
        nice: Some(-10),
        choice: proxy::Choice::LeastConnections,
        max_connections: 9,
        max_connections_per_source: Some(3),
        allowed_sources: ["10.0.0.0/8", "fd00::/8"].map(|it| it.parse().unwrap()).into(),
        rebalance: NonZeroU32::new(5),
        ..proxy::Settings::default()
    };
    assert_eq!(plan.proxy, expected);
    let usual = proxy::Settings {
        listen: vec!["[::]:6444".parse().unwrap()],
        nice: Some(-10),
        ..proxy::Settings::default()
    };
    assert_eq!(plan_of("").proxy, usual);
}

#[test]
fn an_extra_port_has_its_own_door_check_and_redirects() {
    let plan = plan_of(
        "balance: leastConnections, rebalance: {connectionsPerSecond: 5}, extraPorts: [{port: 9443, \
         healthCheck: {type: https, path: /v1beta1/ca, status: 401, interval: 500ms}}]",
    );
    let rules: Vec<String> = plan.redirects.iter().map(ToString::to_string).collect();
    assert_eq!(
        rules,
        [
            "10.0.0.100:6443 to 6444",
            "[fd00::100]:6443 to 6444",
            "10.0.0.100:9443 to 19443",
            "[fd00::100]:9443 to 19443"
        ]
    );
    let [extra] = plan.extra_ports.as_slice() else { panic!("{:?}", plan.extra_ports) };
    assert_eq!(extra.port, 9443);
    assert_eq!(extra.check, PortCheck::Https { path: "/v1beta1/ca".to_owned(), status: 401 });
    let (interval, timeout) = (Duration::from_millis(500), Duration::from_millis(450));
    assert_eq!(extra.health, HealthSettings { interval, timeout, fall: 2, rise: 2 });
    assert_eq!(extra.proxy.listen, ["[::]:19443".parse::<SocketAddr>().unwrap()]);
    assert_eq!(extra.proxy.choice, proxy::Choice::LeastConnections);
    assert_eq!(extra.proxy.rebalance, None, "agents connect to each server on purpose");
    assert!(plan_of("redirect: none, extraPorts: [{port: 9443}]").redirects.is_empty());
}
