use super::super::testing::{foreign, report, report_of_keepalived};
use super::*;

#[test]
fn a_node_that_is_well_has_none() {
    assert_eq!(of(&report()), [""; 0]);
}

#[test]
fn a_foreign_router_is_named_until_it_has_gone() {
    let mut report = report();
    report.virtual_routers[0].foreign.push(foreign());
    assert_eq!(
        of(&report),
        [
            "cplb-vip-0: foreign router 10.0.0.50 on virtual router 51 for 10.0.0.200 (7 packets, the last 2.5s ago): wrong password"
        ]
    );
    report.virtual_routers[0].foreign[0].heard_ms = 599_999;
    assert_eq!(of(&report).len(), 1);
    report.virtual_routers[0].foreign[0].heard_ms = 600_000;
    assert_eq!(of(&report), [""; 0]);
}

#[test]
fn a_keepalived_that_has_ended() {
    let mut report = report_of_keepalived();
    assert_eq!(of(&report), [""; 0]);
    if let Some(keepalived) = &mut report.keepalived {
        keepalived.pid = None;
    }
    assert_eq!(
        of(&report),
        ["keepalived does not run: it is started again, the log says why it ended"]
    );
}

#[test]
fn two_forms_of_checksum_on_one_segment() {
    let mut report = report();
    report.virtual_routers[0].checksums_received.insert("rfc9568", 2);
    assert_eq!(
        of(&report),
        [
            "cplb-vip-0: checksums of several forms were heard since the start (3 keepalived, 2 rfc9568), and a router that knows one form drops the other: set `checksum` to the same on every node"
        ]
    );
}

#[test]
fn what_is_worst_comes_first() {
    let mut report = report();
    report.realtime = false;
    report.virtual_routers[0].foreign.push(foreign());
    if let Some(balancer) = &mut report.load_balancer {
        balancer.discovery.fail_open = true;
        balancer.discovery.refused.push(backends::Refused {
            address: "10.0.0.100:6443".parse().unwrap(),
            reason: "it is the virtual IP".to_owned(),
        });
        balancer.discovery.discovery.error = Some("401 Unauthorized".to_owned());
    }
    let begins: Vec<String> =
        of(&report).iter().map(|it| it.split(':').next().unwrap_or_default().to_owned()).collect();
    assert_eq!(
        begins,
        [
            "no apiserver is healthy",
            "apiserver 10.0.0.100",
            "the list of apiservers cannot be read",
            "cplb-vip-0",
            "the VRRP thread has no real-time priority",
        ]
    );
}
