use serde_json::json;

use super::super::finding::Severity;
use super::super::testing::target;
use super::*;

/// From a little-endian machine: 127.0.0.1:6443 listens, one connection is established.
const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 34511 1 0000000000000000 100 0 0 10 0
   1: 0100007F:192B 0100007F:8F02 01 00000000:00000000 00:00000000 00000000     0        0 34512 1 0000000000000000 20 4 30 10 -1
";
/// [::]:6444 listens.
const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:192C 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 34600 1 0000000000000000 100 0 0 10 0
";

fn taken_by(address: &str, pid: u32, name: &str) -> Taken {
    let by = format!("{name} (pid {pid})");
    Taken { address: address.parse().unwrap(), pid: Some(pid), by }
}

fn apiserver() -> Taken {
    taken_by("[::]:6443", 5, "kube-apiserver")
}

fn daemon() -> Daemon {
    let status = json!({
        "pid": 7, "ready": true, "leaving": false, "realtime": true, "load_balancer": null,
        "virtual_routers": []
    });
    Daemon { status: serde_json::from_value(status).unwrap() }
}

fn judged(taken: &[Taken], daemon: Option<&Daemon>) -> Vec<(Severity, String)> {
    let findings = check(&target(), taken, daemon, daemon.is_some());
    findings.into_iter().map(|it| (it.severity, it.seen)).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn listening_sockets_are_read_from_proc() {
    let listener = |address: &str, inode| Listener { address: address.parse().unwrap(), inode };
    assert_eq!(listeners(TCP), [listener("127.0.0.1:6443", 34511)]);
    assert_eq!(listeners(TCP6), [listener("[::]:6444", 34600)]);
}

#[test]
fn everything_in_its_place_is_well() {
    assert_eq!(
        judged(&[apiserver()], None),
        [
            (Severity::Ok, "port 6444 is free for the load balancer".to_owned()),
            (Severity::Ok, "kube-apiserver (pid 5) listens on [::]:6443".to_owned()),
        ]
    );
    let ours = taken_by("[::]:6444", 7, "cplb");
    assert_eq!(
        judged(&[apiserver(), ours], Some(&daemon()))[0],
        (Severity::Ok, "the load balancer listens on port 6444".to_owned())
    );
}

#[test]
fn a_port_of_the_load_balancer_that_is_taken_is_an_error() {
    let k3s = taken_by("127.0.0.1:6444", 9, "k3s");
    for daemon in [None, Some(&daemon())] {
        assert_eq!(
            judged(&[apiserver(), k3s.clone()], daemon)[0],
            (Severity::Error, "port 6444 is taken by k3s (pid 9)".to_owned())
        );
    }
    assert_eq!(judged(&[apiserver()], Some(&daemon()))[0].0, Severity::Error);
}

#[test]
fn a_daemon_that_cannot_be_asked_may_have_its_port() {
    let cplb = taken_by("[::]:6444", 7, "cplb");
    let unseen = Taken { pid: None, by: "another program".into(), ..cplb.clone() };
    let k3s = taken_by("127.0.0.1:6444", 9, "k3s");
    for (taken, severity) in
        [(cplb, Severity::Skipped), (unseen, Severity::Skipped), (k3s, Severity::Error)]
    {
        assert_eq!(check(&target(), &[taken], None, true)[0].severity, severity);
    }
}

#[test]
fn the_apiserver_is_where_it_is_expected_or_not() {
    let second = |taken| judged(&[taken], None).remove(1);
    assert_eq!(
        second(taken_by("10.5.0.100:6443", 5, "kube-apiserver")),
        (Severity::Error, "kube-apiserver (pid 5) listens on 10.5.0.100:6443".to_owned())
    );
    assert_eq!(
        second(taken_by("10.5.0.9:6443", 5, "kube-apiserver")),
        (Severity::Warning, "kube-apiserver (pid 5) listens on 10.5.0.9:6443 alone".to_owned())
    );
    assert_eq!(
        second(taken_by("0.0.0.0:6443", 5, "haproxy")),
        (Severity::Warning, "port 6443 is taken by haproxy (pid 5)".to_owned())
    );
    assert_eq!(judged(&[], None)[1].0, Severity::Skipped);
}
