use serde_json::{Value, json};

use super::super::finding::Severity;
use super::*;

fn status() -> Value {
    json!({
        "pid": 9, "ready": true, "leaving": false, "realtime": true, "virtual_routers": [],
        "load_balancer": {
            "listen": ["127.0.0.1:7443"],
            "apiservers": [{"address": "10.0.0.11:6443", "health": "healthy", "reason": ""}],
            "discovery": {"fail_open": false, "refused": [], "discovery": {"error": null}}
        },
        "worker": {"doors": ["127.0.0.1:7443", "[::1]:7443"], "unreached": null}
    })
}

fn worker(status: Value) -> Result<Daemon, Error> {
    Ok(Daemon { status: serde_json::from_value(status).unwrap() })
}

fn not_running(kind: ErrorKind) -> Result<Daemon, Error> {
    Err(Error::NotRunning { socket: "/run/cplb/worker/admin.sock".into(), source: kind.into() })
}

fn found(asked: &Result<Daemon, Error>) -> Vec<(Severity, String)> {
    check(asked).into_iter().map(|it| (it.severity, it.seen)).collect()
}

#[test]
fn a_worker_that_is_well_says_where_it_serves() {
    let seen = "runs (pid 9), apiservers answer at 127.0.0.1:7443, [::1]:7443";
    assert_eq!(found(&worker(status())), [(Severity::Ok, seen.to_owned())]);
}

#[test]
fn a_worker_that_reaches_nobody_is_an_error_and_a_single_failed_try_a_warning() {
    let mut status = status();
    status["worker"]["unreached"] = json!("[::1]:7443: connection refused");
    let seen = "the last try at 127.0.0.1:7443, [::1]:7443 failed: [::1]:7443: connection refused";
    assert_eq!(found(&worker(status.clone())), [(Severity::Warning, seen.to_owned())]);
    status["ready"] = json!(false);
    let seen = "no apiserver answers at 127.0.0.1:7443, [::1]:7443: [::1]:7443: connection refused";
    assert_eq!(found(&worker(status)), [(Severity::Error, seen.to_owned())]);
}

#[test]
fn an_unhealthy_apiserver_is_reported_as_on_controllers() {
    let mut status = status();
    status["load_balancer"]["apiservers"][0] =
        json!({"address": "10.0.0.11:6443", "health": "unhealthy", "reason": "refused"});
    let seen = "apiserver 10.0.0.11:6443 is unhealthy: refused";
    assert_eq!(found(&worker(status)), [(Severity::Warning, seen.to_owned())]);
}

#[test]
fn no_worker_is_no_finding_and_one_that_ended_or_hangs_is() {
    assert_eq!(found(&not_running(ErrorKind::NotFound)), []);
    assert_eq!(found(&not_running(ErrorKind::ConnectionRefused))[0].0, Severity::Warning);
    assert_eq!(found(&not_running(ErrorKind::TimedOut))[0].0, Severity::Error);
}
