use serde_json::{Value, json};

use super::super::finding::Severity;
use super::*;

fn status() -> Value {
    json!({
        "pid": 7, "ready": true, "leaving": false, "realtime": true,
        "virtual_routers": [{
            "name": "cplb-vip-0", "interface": "eth0", "virtual_router_id": 51, "version": 2,
            "source": "10.0.0.11", "virtual_ips": ["10.0.0.100/24"], "state": "Active",
            "holder": "10.0.0.11", "foreign": [], "packets_dropped": {"other_router": 12}, "address_mismatches": 0
        }],
        "load_balancer": {
            "listen": ["[::]:6444"],
            "apiservers": [{"address": "10.0.0.11:6443", "health": "healthy", "reason": ""}],
            "discovery": {"fail_open": false, "refused": [], "discovery": {"error": null}}
        }
    })
}

fn findings(status: Value) -> Vec<(Severity, String)> {
    let daemon = Daemon { status: serde_json::from_value(status).unwrap() };
    check(&Ok(daemon)).into_iter().map(|it| (it.severity, it.seen)).collect()
}

fn not_running(kind: ErrorKind) -> Result<Daemon, Error> {
    Err(Error::NotRunning { socket: "/run/cplb/admin.sock".into(), source: kind.into() })
}

#[test]
fn a_daemon_that_is_well() {
    assert_eq!(findings(status()), [(Severity::Ok, "runs (pid 7) and is ready".to_owned())]);
}

#[test]
fn dropped_packets_and_other_addresses_are_warnings() {
    let mut status = status();
    status["virtual_routers"][0]["packets_dropped"] = json!({"password": 40, "other_router": 12});
    status["virtual_routers"][0]["address_mismatches"] = json!(3);
    assert_eq!(
        findings(status),
        [
            (Severity::Warning, "cplb-vip-0 has dropped 40 packets: password".to_owned()),
            (
                Severity::Warning,
                "cplb-vip-0 has heard 3 advertisements with other addresses than its own"
                    .to_owned()
            ),
        ]
    );
}

#[test]
fn foreign_routers_that_still_speak_are_errors() {
    let mut status = status();
    let foreign = |heard_ms| {
        json!([{
            "address": "10.0.0.50", "difference": "wrong password", "addresses": ["10.0.0.200"],
            "packets": 7, "heard_ms": heard_ms
        }])
    };
    status["virtual_routers"][0]["foreign"] = foreign(2_500);
    let seen =
        "cplb-vip-0 hears the foreign router 10.0.0.50: 7 packets, the last 2 s ago".to_owned();
    assert_eq!(findings(status.clone()), [(Severity::Error, seen)]);
    status["virtual_routers"][0]["foreign"] = foreign(600_000);
    assert_eq!(findings(status)[0].0, Severity::Ok);
}

#[test]
fn a_loop_and_a_shared_failure_are_errors() {
    let mut status = status();
    status["load_balancer"]["discovery"] = json!({
        "fail_open": true,
        "refused": [{"address": "10.0.0.100:6443", "reason": "it is the virtual IP"}],
        "discovery": {"error": null}
    });
    assert_eq!(
        findings(status),
        [
            (Severity::Error, "apiserver 10.0.0.100:6443 is not used".to_owned()),
            (Severity::Error, "no apiserver is healthy, all known ones stay in use".to_owned()),
        ]
    );
}

#[test]
fn a_frozen_daemon_is_an_error_and_still_a_daemon() {
    let frozen = not_running(ErrorKind::TimedOut);
    assert_eq!(check(&frozen)[0].severity, Severity::Error);
    assert!(may_run(&frozen));
}

#[test]
fn without_a_daemon_there_is_none_to_maintain_anything() {
    let absent = not_running(ErrorKind::NotFound);
    assert_eq!(check(&absent)[0].severity, Severity::Skipped);
    assert!(!may_run(&absent));
    assert!(!may_run(&not_running(ErrorKind::ConnectionRefused)));
    assert!(may_run(&not_running(ErrorKind::PermissionDenied)), "it may not be asked");
}
