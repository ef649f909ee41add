use std::time::Duration;

use vrrp::Authentication;

use super::super::finding::Severity;
use super::super::testing::{V2, V3, router, speaker};
use super::*;

/// Severity and what was seen.
fn seen(findings: &[Finding]) -> Vec<(Severity, &str)> {
    findings.iter().map(|it| (it.severity, it.seen.as_str())).collect()
}

const NOBODY: (Severity, &str) =
    (Severity::Ok, "virtual router 51 on eth0: nobody is heard as Active");

fn with_agreed(interval: u64, password: &str) -> Router {
    let interval = Duration::from_secs(interval);
    let authentication = Authentication::password(password);
    Router { agreed: Some(Agreed { interval, authentication }), ..router() }
}

#[test]
fn one_active_router_of_our_own_is_well() {
    assert_eq!(
        seen(&check(&router(), &[speaker("10.5.0.1", V2, 4)], false)),
        [(Severity::Ok, "virtual router 51 on eth0: 10.5.0.1 is Active")]
    );
    assert_eq!(
        seen(&check(&router(), &[], true)),
        [(Severity::Ok, "virtual router 51 on eth0: this node is Active")]
    );
    assert_eq!(seen(&check(&router(), &[], false)), [NOBODY]);
}

#[test]
fn several_active_routers_are_an_error() {
    let speakers = [speaker("10.5.0.1", V2, 4), speaker("10.5.0.2", V2, 4)];
    assert_eq!(
        seen(&check(&router(), &speakers, false)),
        [(Severity::Error, "virtual router 51 on eth0: 10.5.0.1, 10.5.0.2 are all Active")]
    );
    assert_eq!(
        seen(&check(&router(), &speakers[..1], true)),
        [(Severity::Error, "virtual router 51 on eth0: 10.5.0.1, this node are all Active")]
    );
}

#[test]
fn the_loser_of_an_election_is_no_second_active_router() {
    let speakers = [speaker("10.5.0.1", V2, 1), speaker("10.5.0.2", V2, 4)];
    assert_eq!(
        seen(&check(&router(), &speakers, false)),
        [(Severity::Ok, "virtual router 51 on eth0: 10.5.0.2 is Active")]
    );
}

#[test]
fn another_password_is_an_error() {
    assert_eq!(
        seen(&check(&with_agreed(1, "BuyK0s"), &[speaker("10.5.0.1", V2, 4)], false)),
        [(Severity::Error, "virtual router 51 on eth0: 10.5.0.1 uses another password"), NOBODY]
    );
}

#[test]
fn another_version_is_an_error() {
    assert_eq!(
        seen(&check(&router(), &[speaker("10.5.0.1", V3, 4)], false)),
        [
            (Severity::Error, "virtual router 51 on eth0: 10.5.0.1 speaks VRRPv3, not VRRPv2"),
            NOBODY
        ]
    );
}

#[test]
fn another_interval_is_an_error_in_version_2_and_a_warning_in_version_3() {
    let finding = &check(&with_agreed(2, "secret12"), &[speaker("10.5.0.1", V2, 4)], false)[0];
    assert_eq!(
        (finding.severity, finding.seen.as_str()),
        (Severity::Error, "virtual router 51 on eth0: 10.5.0.1 advertises every 1s, not every 2s")
    );
    let agreed =
        Agreed { interval: Duration::from_millis(100), authentication: Authentication::None };
    let router = Router { version: Version::V3, agreed: Some(agreed), ..router() };
    let finding = &check(&router, &[speaker("10.5.0.1", V3, 4)], false)[0];
    assert_eq!(
        (finding.severity, finding.seen.as_str()),
        (
            Severity::Warning,
            "virtual router 51 on eth0: 10.5.0.1 advertises every 1s, not every 100ms"
        )
    );
}

#[test]
fn other_addresses_are_another_cluster_or_a_slip() {
    let addresses = |list: &[&str]| {
        let addresses = list.iter().map(|text| text.parse().unwrap()).collect();
        Router { addresses, ..router() }
    };
    let speakers = [speaker("10.5.0.1", V2, 4)];
    let finding = &check(&addresses(&["10.9.0.1/24"]), &speakers, false)[0];
    assert_eq!(
        (finding.severity, finding.seen.as_str()),
        (
            Severity::Error,
            "virtual router 51 on eth0: 10.5.0.1 advertises 10.5.0.100, none of which is ours"
        )
    );
    let finding = &check(&addresses(&["10.5.0.100/24", "10.5.0.101/24"]), &speakers, false)[0];
    assert_eq!(
        (finding.severity, finding.seen.as_str()),
        (
            Severity::Warning,
            "virtual router 51 on eth0: 10.5.0.1 advertises 10.5.0.100, which is not the list configured here"
        )
    );
}

#[test]
fn packets_from_afar_are_an_error() {
    let mut far = speaker("10.5.0.1", V2, 4);
    far.hop_limit = 254;
    assert_eq!(
        seen(&check(&router(), &[far], false))[0],
        (Severity::Error, "virtual router 51 on eth0: packets of 10.5.0.1 come with TTL 254")
    );
}

#[test]
fn what_nobody_can_read_is_an_error() {
    let damaged = V2.replace("2133", "2433");
    let finding = &check(&router(), &[speaker("10.5.0.1", &damaged, 1)], false)[0];
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.seen.contains("packet type 4 is unknown"), "{}", finding.seen);
}

#[test]
fn other_routers_and_interfaces_are_not_our_concern() {
    let mut elsewhere = speaker("10.5.0.1", V3, 4);
    elsewhere.interface = "eth1".into();
    let another = speaker("10.5.0.1", &V3.replace("3133", "3134"), 4);
    assert_eq!(seen(&check(&router(), &[elsewhere, another], false)), [NOBODY]);
}
