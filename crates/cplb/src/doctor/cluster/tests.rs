use serde_json::json;

use super::super::finding::Severity;
use super::*;

fn virtual_ip() -> Vec<IpAddr> {
    vec!["10.0.0.100".parse().unwrap()]
}

#[test]
fn endpoints_without_the_virtual_ip_are_well() {
    let endpoints: Endpoints = serde_json::from_value(json!({
        "subsets": [{
            "addresses": [{"ip": "10.0.0.11"}, {"ip": "10.0.0.12"}],
            "ports": [{"name": "https", "port": 6443}]
        }]
    }))
    .unwrap();
    assert_eq!(
        check_endpoints(&addresses(&endpoints), &virtual_ip()),
        Finding::ok("endpoints", "the apiservers are 10.0.0.11, 10.0.0.12")
    );
}

#[test]
fn the_virtual_ip_among_the_endpoints_is_a_loop() {
    let endpoints = ["10.0.0.11", "10.0.0.100"].map(|text| text.parse().unwrap());
    let finding = check_endpoints(&endpoints, &virtual_ip());
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(
        finding.seen,
        "the virtual IP 10.0.0.100 is among the endpoints of default/kubernetes (10.0.0.11, 10.0.0.100)"
    );
    assert!(finding.advice.unwrap().contains("--endpoint-reconciler-type=lease"));
}

#[test]
fn no_endpoints_are_an_error() {
    assert_eq!(check_endpoints(&[], &virtual_ip()).severity, Severity::Error);
}

#[test]
fn a_node_must_not_have_the_virtual_ip_as_its_own() {
    let node = |name: &str, internal: &str| -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"addresses": [
                {"type": "InternalIP", "address": internal},
                {"type": "Hostname", "address": "10.0.0.100"}
            ]}
        }))
        .unwrap()
    };
    let findings = check_nodes(&[node("a", "10.0.0.11"), node("b", "10.0.0.100")], &virtual_ip());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings[0].seen, "node b has the virtual IP 10.0.0.100 as its InternalIP");
    assert_eq!(
        check_nodes(&[node("a", "10.0.0.11")], &virtual_ip()),
        [Finding::ok("node-address", "none of 1 nodes uses a virtual IP as its own address")]
    );
}
