use std::fmt;

use super::{Families, Labels, unix_time};
use crate::status::{Keepalived, Report, VirtualRouter};

const STATES: [&str; 3] = ["Initialize", "Backup", "Active"];

pub(super) fn encode(families: &mut Families<'_>, routers: &[VirtualRouter]) -> fmt::Result {
    families.info(
        "cplb_vrrp_router",
        "The virtual routers and what they speak",
        routers.iter().map(description),
    )?;
    families.gauge(
        "cplb_vrrp_state",
        "1 for the state that the virtual router is in (RFC 9568, 6.3), 0 for the others",
        routers.iter().flat_map(|it| {
            STATES.map(|state| {
                (with(it, "state", state.to_lowercase()), u64::from(it.state == state))
            })
        }),
    )?;
    families.seconds(
        "cplb_vrrp_last_transition_timestamp",
        "When the state last changed, in Unix time",
        routers.iter().filter_map(|it| Some((labels(it), unix_time(it.changed_at?)))),
    )?;
    families.counter(
        "cplb_vrrp_transitions",
        "Times the state changed",
        routers.iter().map(|it| (labels(it), it.transition_count)),
    )?;
    families.counter(
        "cplb_vrrp_became_active",
        "Times the virtual router became Active",
        routers.iter().map(|it| (labels(it), it.became_active)),
    )?;
    families.gauge(
        "cplb_vrrp_priority",
        "The priority advertised now; lower than the configured one while this node is not ready or leaves",
        routers.iter().map(|it| (labels(it), u64::from(it.priority))),
    )?;
    families.gauge(
        "cplb_vrrp_configured_priority",
        "The priority of the configuration",
        routers.iter().map(|it| (labels(it), u64::from(it.configured_priority))),
    )?;
    families.gauge(
        "cplb_vip_held",
        "1 while this node holds the virtual IP",
        routers.iter().flat_map(|it| {
            let held = u64::from(it.state == "Active");
            let addresses = it.virtual_ips.iter().map(|cidr| without_prefix_length(cidr));
            addresses.map(move |address| (with(it, "address", address), held))
        }),
    )
}

/// What keepalived tells of itself, which is not what it sends and hears.
pub(super) fn of_keepalived(families: &mut Families<'_>, keepalived: &Keepalived) -> fmt::Result {
    families.info(
        "cplb_keepalived",
        "The keepalived that speaks VRRP for this node",
        [vec![("version", keepalived.version.clone())]],
    )?;
    families.gauge(
        "cplb_keepalived_running",
        "1 while keepalived runs",
        [(vec![], u64::from(keepalived.pid.is_some()))],
    )?;
    families.counter(
        "cplb_keepalived_restarts",
        "Times keepalived was started again because it had ended",
        [(vec![], u64::from(keepalived.restarts))],
    )
}

/// What cplb's own speaker sends and hears.
pub(super) fn packets(families: &mut Families<'_>, report: &Report) -> fmt::Result {
    let routers = &report.virtual_routers;
    families.gauge(
        "cplb_vrrp_realtime",
        "1 while the VRRP thread has real-time priority",
        [(vec![], u64::from(report.realtime))],
    )?;
    families.counter(
        "cplb_vrrp_advertisements_sent",
        "Advertisements sent, one an interval however many unicast peers there are",
        routers.iter().map(|it| (labels(it), it.advertisements_sent)),
    )?;
    families.counter(
        "cplb_vrrp_advertisements_received",
        "Advertisements accepted",
        routers.iter().map(|it| (labels(it), it.advertisements_received)),
    )?;
    families.counter(
        "cplb_vrrp_packets_dropped",
        "Packets dropped, by reason; other_router is another virtual router on the segment",
        routers.iter().flat_map(|it| {
            let counts = it.packets_dropped.iter();
            counts.map(|(reason, count)| (with(it, "reason", *reason), *count))
        }),
    )?;
    families.counter(
        "cplb_vrrp_checksums_received",
        "Accepted advertisements of version 3 over IPv4, by the form of their checksum",
        routers.iter().flat_map(|it| {
            let counts = it.checksums_received.iter();
            counts.map(|(checksum, count)| (with(it, "checksum", *checksum), *count))
        }),
    )?;
    families.counter(
        "cplb_vrrp_address_mismatches",
        "Accepted advertisements whose list of virtual IPs differs from ours",
        routers.iter().map(|it| (labels(it), it.address_mismatches)),
    )?;
    families.gauge(
        "cplb_vrrp_foreign_routers",
        "Routers heard on our virtual router identifier within 10 minutes that seem to be none of ours",
        routers.iter().map(|it| {
            (labels(it), it.foreign.iter().filter(|it| it.is_present()).count() as u64)
        }),
    )
}

/// An instance of both families is two virtual routers of one name.
fn labels(router: &VirtualRouter) -> Labels {
    let family = if router.source.is_ipv4() { "ipv4" } else { "ipv6" };
    vec![("router", router.name.clone()), ("family", family.to_owned())]
}

fn with(router: &VirtualRouter, name: &'static str, value: impl Into<String>) -> Labels {
    let mut labels = labels(router);
    labels.push((name, value.into()));
    labels
}

fn description(router: &VirtualRouter) -> Labels {
    let mut labels = labels(router);
    labels.extend([
        ("interface", router.interface.clone()),
        ("virtual_router_id", router.virtual_router_id.to_string()),
        ("version", router.version.to_string()),
        ("source", router.source.to_string()),
    ]);
    labels.extend(router.follows.map(|leader| ("follows", leader.to_string())));
    labels
}

fn without_prefix_length(cidr: &str) -> &str {
    cidr.split('/').next().unwrap_or(cidr)
}
