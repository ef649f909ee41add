use std::time::Duration;

use super::super::finding::Severity;
use super::*;

const NOBODY: Maintainers = Maintainers { cplb: false, others: false };
const CPLB: Maintainers = Maintainers { cplb: true, others: false };
const OTHERS: Maintainers = Maintainers { cplb: false, others: true };

/// As k0s' iptables make it.
const K0S_RULE: &str =
    "-A PREROUTING -d 10.0.0.100/32 -p tcp -m tcp --dport 6443 -j REDIRECT --to-ports 6444";

fn address(ours: bool, valid_for: Option<u64>) -> Found {
    Found {
        link_index: 2,
        address: "10.0.0.100".parse().unwrap(),
        prefix_length: 24,
        ours,
        valid_for: valid_for.map(Duration::from_secs),
        secondary: true,
        tentative: false,
        dad_failed: false,
    }
}

fn with_address(found: Found) -> Kernel {
    Kernel { addresses: vec![found], ..Kernel::default() }
}

fn with_table(owned: bool) -> Kernel {
    Kernel { tables: vec![Table { name: "cplb".into(), owned }], ..Kernel::default() }
}

fn judged(kernel: &Kernel, maintainers: Maintainers) -> (Severity, String) {
    let virtual_addresses = ["10.0.0.100".parse().unwrap()];
    let mut findings = check(kernel, &virtual_addresses, 6443, maintainers);
    assert_eq!(findings.len(), 1, "{findings:?}");
    let finding = findings.remove(0);
    (finding.severity, finding.seen)
}

#[test]
fn an_empty_kernel_is_well() {
    let well = (Severity::Ok, "nothing is left of an earlier run".to_owned());
    assert_eq!(judged(&Kernel::default(), NOBODY), well);
}

#[test]
fn our_address_needs_a_daemon() {
    assert_eq!(
        judged(&with_address(address(true, Some(2))), NOBODY),
        (Severity::Error, "10.0.0.100/24 carries the mark of cplb, and no daemon runs".into())
    );
    assert_eq!(judged(&with_address(address(true, Some(2))), CPLB).0, Severity::Ok);
}

#[test]
fn a_virtual_ip_that_nobody_maintains_is_an_error() {
    assert_eq!(
        judged(&with_address(address(false, None)), NOBODY),
        (
            Severity::Error,
            "the virtual IP 10.0.0.100/24 is on this host and nobody maintains it".into()
        )
    );
    assert_eq!(judged(&with_address(address(false, None)), CPLB).0, Severity::Error);
    assert_eq!(judged(&with_address(address(false, None)), OTHERS).0, Severity::Ok);
    // An old kernel, which keeps no mark.
    assert_eq!(judged(&with_address(address(false, Some(2))), CPLB).0, Severity::Ok);
}

#[test]
fn our_rules_need_a_daemon() {
    assert_eq!(
        judged(&with_table(false), NOBODY),
        (Severity::Error, "the nftables table cplb is there, and no daemon".into())
    );
    assert_eq!(judged(&with_table(false), CPLB).0, Severity::Ok);
    assert_eq!(judged(&with_table(true), NOBODY).0, Severity::Ok, "of another run directory");
    let chains = Kernel {
        nat: "*nat\n:PREROUTING ACCEPT [0:0]\n:CPLB-PREROUTING - [0:0]\nCOMMIT\n".into(),
        ..Kernel::default()
    };
    assert_eq!(
        judged(&chains, NOBODY),
        (Severity::Error, "the iptables chains CPLB-* are there, and no daemon".into())
    );
    assert_eq!(judged(&chains, CPLB).0, Severity::Ok);
}

#[test]
fn our_address_labels_need_a_daemon() {
    let labels = Kernel { labels: vec!["fd00::100".parse().unwrap()], ..Kernel::default() };
    assert_eq!(
        judged(&labels, NOBODY),
        (Severity::Warning, "the address label of fd00::100 is there, and no daemon".into())
    );
    assert_eq!(judged(&labels, CPLB).0, Severity::Ok);
}

#[test]
fn the_rule_of_k0s_is_found_with_its_deletion() {
    let nat = |rule: &str| Kernel { nat: format!("*nat\n{rule}\nCOMMIT\n"), ..Kernel::default() };
    let virtual_addresses = ["10.0.0.100".parse().unwrap()];
    let findings = check(&nat(K0S_RULE), &virtual_addresses, 6443, CPLB);
    assert_eq!(findings[0].severity, Severity::Error);
    assert_eq!(findings[0].seen, "an iptables rule redirects 10.0.0.100:6443 to port 6444");
    let advice = findings[0].advice.clone().unwrap();
    assert!(
        advice.ends_with(
            "iptables -t nat -D PREROUTING -d 10.0.0.100/32 -p tcp -m tcp --dport 6443 -j REDIRECT --to-ports 6444"
        ),
        "{advice}"
    );
    for unconcerned in [
        K0S_RULE.replace("10.0.0.100", "10.0.0.101"),
        K0S_RULE.replace("6443", "443"),
        K0S_RULE.replace("-A PREROUTING", "-A CPLB-PREROUTING"),
        K0S_RULE.replace("REDIRECT --to-ports 6444", "ACCEPT"),
    ] {
        assert_eq!(judged(&nat(&unconcerned), CPLB).0, Severity::Ok, "{unconcerned}");
    }
}
