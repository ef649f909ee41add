use super::super::finding::Severity;
use super::super::testing::router;
use super::*;

/// As systemd-networkd 252 writes it.
const STATE: &str = "\
# This is private data. Do not parse.
ADMIN_STATE=configured
OPER_STATE=routable
NETWORK_FILE=/etc/systemd/network/10-eth0.network
";

#[test]
fn networkd_removes_foreign_addresses_unless_told() {
    let finding = check_networkd("eth0", STATE, Some("[Network]\nDHCP=yes\n")).unwrap();
    assert_eq!(finding.severity, Severity::Warning);
    assert_eq!(
        finding.seen,
        "systemd-networkd manages eth0 (/etc/systemd/network/10-eth0.network)"
    );
    let advice = finding.advice.unwrap();
    assert!(advice.contains("KeepConfiguration=static"), "{advice}");
    assert!(advice.contains("ManageForeignRoutingPolicyRules=no"), "{advice}");
    let kept = check_networkd("eth0", STATE, Some("[Network]\nKeepConfiguration=yes\n"));
    assert_eq!(kept.unwrap().severity, Severity::Ok);
    assert_eq!(check_networkd("eth0", "ADMIN_STATE=unmanaged\n", None), None);
}

#[test]
fn network_manager_is_a_warning_where_it_manages() {
    let managed = "[device]\nmanaged=full\nconnection-uuid=7c1e\n";
    assert_eq!(
        check_network_manager("eth0", managed).map(|it| (it.severity, it.seen)),
        Some((Severity::Warning, "NetworkManager manages eth0".to_owned()))
    );
    assert_eq!(check_network_manager("eth0", "[device]\nmanaged=unmanaged\n"), None);
}

fn judged(router: &Router, setting: &str, value: u32) -> Vec<(Severity, String)> {
    let findings = check_sysctls(router, |name| (name == setting).then_some(value));
    findings.into_iter().map(|it| (it.severity, it.seen)).collect()
}

#[test]
fn settings_that_keep_an_address_silent_are_errors() {
    let silent = |value| (Severity::Error, format!("arp_ignore is {value} on eth0"));
    assert_eq!(judged(&router(), "ipv4/conf/all/arp_ignore", 8), [silent(8)]);
    assert_eq!(judged(&router(), "ipv4/conf/eth0/arp_ignore", 1), []);
    assert_eq!(judged(&router(), "ipv4/conf/eth0/arp_ignore", 2), []);
    let alone = Router { addresses: vec!["10.5.0.100/32".parse().unwrap()], ..router() };
    assert_eq!(judged(&alone, "ipv4/conf/eth0/arp_ignore", 2), [silent(2)]);
    assert_eq!(judged(&router(), "ipv4/conf/eth0/drop_gratuitous_arp", 1)[0].0, Severity::Warning);
}

#[test]
fn an_ipv6_address_needs_ipv6() {
    let ipv6 = Router { addresses: vec!["fd05::100/64".parse().unwrap()], ..router() };
    assert_eq!(
        judged(&ipv6, "ipv6/conf/eth0/disable_ipv6", 1),
        [(Severity::Error, "IPv6 is switched off on eth0".to_owned())]
    );
    assert_eq!(judged(&router(), "ipv6/conf/eth0/disable_ipv6", 1), []);
}
