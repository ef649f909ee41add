use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

use super::super::finding::Severity;
use super::*;

fn certificate(addresses: &[&str], not_after: &str) -> Certificate {
    Certificate {
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        not_after: not_after.parse().unwrap(),
    }
}

fn judged(shown: &Certificate, distribution: Option<Distribution>) -> Vec<Finding> {
    let server = "127.0.0.1:6443".parse().unwrap();
    let now = "2026-11-01T00:00:00Z".parse().unwrap();
    check(shown, server, &["10.0.0.100".parse().unwrap()], distribution, now)
}

#[test]
fn addresses_and_end_are_read_from_a_certificate() {
    let mut params = CertificateParams::new(["kubernetes".to_owned()]).unwrap();
    for address in ["10.0.0.11", "fd00::100"] {
        params.subject_alt_names.push(SanType::IpAddress(address.parse().unwrap()));
    }
    params.not_after = date_time_ymd(2027, 3, 1);
    let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(
        Certificate::parse(der.der()),
        Some(certificate(&["10.0.0.11", "fd00::100"], "2027-03-01T00:00:00Z"))
    );
    assert_eq!(Certificate::parse(b"no certificate"), None);
}

#[test]
fn a_certificate_for_the_virtual_ip_is_well() {
    let findings = judged(&certificate(&["10.0.0.11", "10.0.0.100"], "2027-03-01T00:00:00Z"), None);
    assert_eq!(
        findings,
        [Finding::ok("certificate", "the apiserver at 127.0.0.1:6443 has one for 10.0.0.100")]
    );
}

#[test]
fn a_missing_name_comes_with_the_way_of_the_distribution() {
    let shown = certificate(&["10.0.0.11"], "2027-03-01T00:00:00Z");
    let finding = &judged(&shown, Some(Distribution::K3s))[0];
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(
        finding.seen,
        "the certificate of the apiserver at 127.0.0.1:6443 is not for 10.0.0.100"
    );
    assert_eq!(
        finding.advice.as_deref(),
        Some(
            "add `tls-san: [10.0.0.100]` to /etc/rancher/k3s/config.yaml on every server and restart k3s"
        )
    );
    for (distribution, way) in [
        (Some(Distribution::K0s), "spec.api.sans of k0s.yaml"),
        (Some(Distribution::Rke2), "/etc/rancher/rke2/config.yaml"),
        (Some(Distribution::Kubeadm), "kubeadm init phase certs apiserver --config"),
        (None, "k3s, RKE2: tls-san"),
    ] {
        let advice = judged(&shown, distribution).remove(0).advice.unwrap();
        assert!(advice.contains(way) && advice.contains("10.0.0.100"), "{advice}");
    }
}

#[test]
fn the_end_of_a_certificate_is_seen_in_time() {
    let ends = |not_after| judged(&certificate(&["10.0.0.100"], not_after), None)[0].severity;
    assert_eq!(ends("2026-10-31T23:59:59Z"), Severity::Error);
    assert_eq!(ends("2026-11-14T23:00:00Z"), Severity::Warning);
    assert_eq!(ends("2026-11-15T01:00:00Z"), Severity::Ok);
}
