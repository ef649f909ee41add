use super::super::finding::Severity;
use super::*;

const HOLDER: Mac = Mac([2, 0, 0, 0, 0, 1]);
const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 66]);

fn evidence(here: bool, answered: &[Mac], advertised: Option<&[Mac]>) -> Evidence {
    let holder: IpAddr = "10.0.0.11".parse().unwrap();
    Evidence {
        address: "10.0.0.100".parse().unwrap(),
        interface: "eth0".to_owned(),
        router_id: 51,
        here,
        answered: answered.iter().copied().collect(),
        advertised_by: advertised
            .map(|macs| (holder, macs.iter().copied().collect()))
            .into_iter()
            .collect(),
    }
}

fn judged(evidence: &Evidence) -> (Severity, String) {
    let finding = check(evidence);
    (finding.severity, finding.seen)
}

#[test]
fn one_holder_is_well() {
    assert_eq!(
        judged(&evidence(true, &[], None)),
        (Severity::Ok, "10.0.0.100 on eth0 is on this node, nobody else answers for it".into())
    );
    assert_eq!(
        judged(&evidence(false, &[HOLDER], Some(&[HOLDER]))),
        (Severity::Ok, "10.0.0.100 on eth0 is at 10.0.0.11".into())
    );
    assert_eq!(
        judged(&evidence(false, &[], None)),
        (Severity::Ok, "10.0.0.100 on eth0 is on no node and answered by nobody".into())
    );
}

#[test]
fn the_virtual_hardware_address_is_the_holders() {
    // RFC 9568 section 7.3: 00-00-5E-00-01-{VRID}.
    let virtual_mac = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 51]);
    assert_eq!(judged(&evidence(false, &[virtual_mac], Some(&[HOLDER]))).0, Severity::Ok);
    let of_another_router = Mac([0x00, 0x00, 0x5e, 0x00, 0x01, 52]);
    assert_eq!(judged(&evidence(false, &[of_another_router], Some(&[HOLDER]))).0, Severity::Error);
}

#[test]
fn a_stranger_is_an_error() {
    assert_eq!(
        judged(&evidence(false, &[STRANGER], None)),
        (
            Severity::Error,
            "10.0.0.100 on eth0 is answered by 02:00:00:00:00:42, which speaks no VRRP that is heard here".into()
        )
    );
    assert_eq!(
        judged(&evidence(false, &[STRANGER], Some(&[HOLDER]))),
        (
            Severity::Error,
            "10.0.0.100 on eth0 is advertised by 10.0.0.11 but answered by 02:00:00:00:00:42"
                .into()
        )
    );
}

#[test]
fn two_holders_are_an_error() {
    assert_eq!(
        judged(&evidence(true, &[STRANGER], None)),
        (
            Severity::Error,
            "10.0.0.100 on eth0 is on this node and answered by 02:00:00:00:00:42 too".into()
        )
    );
    assert_eq!(
        judged(&evidence(false, &[HOLDER, STRANGER], Some(&[HOLDER]))),
        (
            Severity::Error,
            "10.0.0.100 on eth0 is answered by 02:00:00:00:00:01 and 02:00:00:00:00:42".into()
        )
    );
}

#[test]
fn a_silent_address_is_a_warning() {
    assert_eq!(
        judged(&evidence(false, &[], Some(&[HOLDER]))),
        (
            Severity::Warning,
            "10.0.0.100 on eth0 is advertised by 10.0.0.11 and answered by nobody".into()
        )
    );
}
