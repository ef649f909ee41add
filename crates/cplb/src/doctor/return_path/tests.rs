use super::super::finding::Severity;
use super::super::testing::router;
use super::*;

const HEADING: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

/// As a little-endian machine prints it: 10.5.0.0/24 on eth0, 10.6.0.0/24 on eth1, and the default
/// route through eth1 with metric 100.
const TWO_WAYS: &str = "\
eth1\t00000000\t0100060A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000050A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t0000060A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

/// The finding about 10.5.0.100/24 on eth0.
#[cfg(target_endian = "little")]
fn judged(routes: &str, all: u32, eth0: u32) -> Option<(Severity, String)> {
    let read = |name: &str| match name {
        "ipv4/conf/all/rp_filter" => Some(all),
        "ipv4/conf/eth0/rp_filter" => Some(eth0),
        _ => None,
    };
    let routes = Routes::parse(&format!("{HEADING}{routes}"));
    check(&router(), &routes, read).map(|finding| (finding.severity, finding.seen))
}

#[test]
#[cfg(target_endian = "little")]
fn a_strict_filter_harms_where_answers_leave_elsewhere() {
    let beyond = Some((
        Severity::Warning,
        "rp_filter is strict on eth0, and the way back to clients beyond its subnet is eth1"
            .to_owned(),
    ));
    assert_eq!(judged(TWO_WAYS, 0, 1), beyond);
    assert_eq!(judged(TWO_WAYS, 1, 0), beyond, "the larger value counts");
    assert_eq!(judged(TWO_WAYS, 2, 1), None, "loose wins");
    assert_eq!(judged(TWO_WAYS, 0, 0), None);

    // eth1 is in the same subnet, by the better metric.
    let alike = TWO_WAYS.replace("0000060A", "0000050A").replace(
        "eth0\t0000050A\t00000000\t0001\t0\t0\t0\t",
        "eth0\t0000050A\t00000000\t0001\t0\t0\t50\t",
    );
    assert_eq!(
        judged(&alike, 1, 0).map(|it| it.1).as_deref(),
        Some(
            "rp_filter is strict on eth0, and the way back to neighbours of the virtual IP is eth1"
        )
    );
}

#[test]
#[cfg(target_endian = "little")]
fn a_strict_filter_harms_nobody_where_there_is_one_way() {
    let better = "eth0\t00000000\t0100050A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
    assert_eq!(judged(&format!("{TWO_WAYS}{better}"), 1, 1), None);
    assert_eq!(judged("", 1, 1), None, "no way out at all");
}
