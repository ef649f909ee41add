use super::super::finding::Severity;
use super::super::testing::router;
use super::*;

/// The document of the k0s documentation, with a second family and two intervals.
const DOCUMENT: &str = r#"spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        vrrpInstances:
        - virtualIPs: ["10.5.0.100/24", "fd05::100/64"]
          interface: lo
          authPass: secret12
          version: 3
        - virtualIPs: ["10.6.0.100/24"]
          interface: nowhere
          authPass: secret12
          advertIntervalSeconds: 2
"#;

fn found(address: &str) -> Found {
    Found {
        link_index: 2,
        address: address.parse().unwrap(),
        prefix_length: 24,
        ours: false,
        valid_for: None,
        secondary: false,
        tentative: false,
        dad_failed: false,
    }
}

#[test]
fn a_document_gives_a_router_for_each_family() {
    let settings = config::load("k0s.yaml", DOCUMENT).settings.unwrap();
    let mut findings = Vec::new();
    let target = Target::of_document(&settings, &mut findings).unwrap();
    let routers: Vec<_> = target.routers.iter().map(|it| (it.id, it.addresses())).collect();
    let addresses = |text: &str| vec![text.parse().unwrap()];
    assert_eq!(routers, [(51, addresses("10.5.0.100")), (51, addresses("fd05::100"))]);
    assert_eq!(target.proxy_port, Some(6444));
    assert_eq!(target.apiserver, "127.0.0.1:6443".parse().unwrap());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(findings[0].seen.contains("no interface nowhere"), "{}", findings[0].seen);
}

#[test]
fn every_active_router_is_heard_three_times() {
    let mut target = super::super::testing::target();
    assert_eq!(target.listening_time(), Duration::from_millis(3_500));
    target.routers[0].agreed = target.routers[0]
        .agreed
        .map(|agreed| Agreed { interval: Duration::from_secs(4), ..agreed });
    assert_eq!(target.listening_time(), Duration::from_millis(12_500));
    assert_eq!(Target::nothing().listening_time(), Duration::from_millis(3_500));
}

#[test]
fn an_interface_needs_a_carrier_and_an_address_of_its_own() {
    assert_eq!(check(&router(), &[found("10.5.0.9")]), None);
    let seen = |router: &Router, found: &[Found]| check(router, found).map(|it| it.seen);
    let missing = Some("eth0 has no IPv4 address of its own".to_owned());
    assert_eq!(seen(&router(), &[found("10.5.0.100"), found("fe80::9")]), missing);
    assert_eq!(seen(&router(), &[Found { link_index: 3, ..found("10.5.0.9") }]), missing);
    let ipv6 = Router { addresses: vec!["fd05::100/64".parse().unwrap()], ..router() };
    assert_eq!(check(&ipv6, &[found("fe80::9")]), None);
    assert_eq!(
        seen(&ipv6, &[found("fd05::9")]),
        Some("eth0 has no IPv6 link-local address of its own".to_owned())
    );
    let mut down = router();
    down.link.up = false;
    assert_eq!(
        seen(&down, &[found("10.5.0.9")]),
        Some("eth0 is down or has no carrier".to_owned())
    );
}
