use super::super::testing::{report, report_of_keepalived};
use super::super::warnings;

#[test]
fn a_node_at_a_glance() {
    assert_eq!(
        report().text(false).to_string(),
        "\
controller-1: ready, up 1m30s (cplb 1.2.3, pid 77)

10.0.0.100/24 is HERE since 1m1s: no other router heard for 3.2s
  cplb-vip-0: VRRPv3 router 51 on eth0 as 10.0.0.11, priority 100 (lowered from 200), checksum keepalived; 61 sent, 3 received
  heard 10.0.0.12 with priority 200 45s ago
  packets dropped: 7 password, 1 ttl
  22:13:49.500Z Backup -> Active: no other router heard for 3.2s

Load balancer on [::]:6444: 3 open, 82 accepted, 6 rejected, 4 retried, 6 rebalanced
  redirects 10.0.0.100:6443 to 6444
  APISERVER                HEALTH        SINCE   LATENCY   OPEN  CONNECTS   FAILED
  10.0.0.11:6443           healthy       1m30s    1.2 ms      3        41        0
  10.0.0.12:6443           unhealthy      5.0s         -      0        40        4  connection refused
  list from the cluster's EndpointSlices through 127.0.0.1:6443
"
    );
}

#[test]
fn a_node_with_keepalived_and_ipvs_shows_what_those_tell() {
    assert_eq!(
        report_of_keepalived().text(false).to_string(),
        "\
controller-1: ready, up 1m30s (cplb 1.2.3, pid 77)
VRRP by keepalived 2.2.7, pid 123, restarted 2 times

10.0.0.100/24 is not here; this node is Backup since 1m1s
  cplb-vip-0: VRRPv3 router 51 on eth0 as 10.0.0.11, priority 100 (lowered from 200)
  22:13:49.500Z Backup -> Active: no other router heard for 3.2s

Load balancer by IPVS, where the virtual IP is
  10.0.0.100:6443 rr DR, persistent for 360 s
  APISERVER                HEALTH        SINCE   LATENCY
  10.0.0.11:6443           healthy       1m30s    1.2 ms
  10.0.0.12:6443           unhealthy      5.0s         -  connection refused
  list from the cluster's EndpointSlices through 127.0.0.1:6443
"
    );
}

#[test]
fn warnings_stand_above_everything() {
    let mut report = report();
    report.realtime = false;
    report.warnings = warnings::of(&report);
    let text = report.text(false).to_string();
    assert_eq!(
        text.lines().nth(1),
        Some(
            "! the VRRP thread has no real-time priority: when every core is busy, another node may take over"
        )
    );
}

#[test]
fn colours_are_for_terminals() {
    let report = report();
    assert!(!report.text(false).to_string().contains('\x1b'));
    let coloured = report.text(true).to_string();
    assert!(coloured.starts_with("controller-1: \x1b[32mready\x1b[0m, up"), "{coloured}");
    assert!(coloured.contains("\x1b[1;31munhealthy \x1b[0m     5.0s"), "{coloured}");
}

#[test]
fn a_router_that_follows_another_says_why_its_priority_is_higher() {
    let mut report = report();
    report.virtual_routers[0].priority = 201;
    let text = report.text(false).to_string();
    assert!(text.contains("priority 201 (with its IPv4 router), checksum"), "{text}");
}
