use super::super::testing::{report, report_of_director, report_of_keepalived};
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
  and 2 transitions before

Load balancer on [::]:6444: 3 open, 82 accepted, 6 rejected (5 descriptors, 1 no_backend), 4 retried, 6 rebalanced
  redirects 10.0.0.100:6443 to 6444
  APISERVER                HEALTH        SINCE   LATENCY   OPEN  CONNECTS         P50/P99   FAILED
  10.0.0.11:6443           healthy       1m30s    1.2 ms      3        41   0.2/1000.0 ms        0
  10.0.0.12:6443           unhealthy      5.0s         -      0        40               -        4  connection refused
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
  and 2 transitions before

Load balancer by IPVS, where the virtual IP is
  10.0.0.100:6443 rr DR, persistent for 360 s; this node is not the holder
    10.0.0.12:6443           left out: not healthy
  APISERVER                HEALTH        SINCE   LATENCY
  10.0.0.11:6443           healthy       1m30s    1.2 ms
  10.0.0.12:6443           unhealthy      5.0s         -  connection refused
  list from the cluster's EndpointSlices through 127.0.0.1:6443
"
    );
}

#[test]
fn the_holder_with_ipvs_shows_what_the_kernel_does() {
    let text = report_of_director().text(false).to_string();
    let services = "\
Load balancer by IPVS, where the virtual IP is
  10.0.0.100:6443 rr DR, persistent for 360 s
    REAL SERVER              WEIGHT   ACTIVE INACTIVE
    10.0.0.11:6443                1       34        5
    10.0.0.12:6443                0        2        0  not healthy
    10.0.0.13:6443                -        -        -  its node does not carry the virtual IP: is cplb running there?
  APISERVER                HEALTH        SINCE   LATENCY
";
    assert!(text.contains(services), "{text}");
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
    report.virtual_routers[0].follows = Some("10.0.0.11".parse().unwrap());
    let text = report.text(false).to_string();
    let why = "priority 201 (with its IPv4 router), moves with 10.0.0.11, checksum";
    assert!(text.contains(why), "{text}");
}

#[test]
fn several_listeners_each_say_what_they_have_turned_away() {
    let mut report = report();
    let balancer = report.load_balancer.as_mut().unwrap();
    let mut second = balancer.listeners[0].clone();
    second.address = "127.0.0.1:6444".parse().unwrap();
    (second.accepted, second.rejected_by_reason) = (5, [("limit", 0)].into());
    balancer.listeners.push(second);
    let text = report.text(false).to_string();
    let lines = "\
  at [::]:6444: 82 accepted, 3 rejected (2 descriptors, 1 no_backend)
  at 127.0.0.1:6444: 5 accepted
  redirects ";
    assert!(text.contains(lines), "{text}");
}

#[test]
fn one_that_was_taken_over_active_has_no_reason_to_say() {
    let mut report = report();
    report.virtual_routers[0].reason.clear();
    let text = report.text(false).to_string();
    assert!(text.contains("10.0.0.100/24 is HERE since 1m1s\n"), "{text}");
}
