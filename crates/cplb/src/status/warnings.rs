//! What somebody should look at, said in sentences: for the text, the page and programs alike.

use super::ago::Ago;
use super::report::{LoadBalancer, Report, VirtualRouter};

#[cfg(test)]
mod tests;

/// All warnings of a report, the worst first.
pub(crate) fn of(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(reason) = report.worker.as_ref().and_then(|it| it.unreached.as_ref()) {
        warnings.push(format!("no apiserver answers through the balancer: {reason}"));
    }
    if let Some(balancer) = &report.load_balancer {
        add_load_balancer(balancer, &mut warnings);
    }
    for router in &report.virtual_routers {
        add_virtual_router(router, &mut warnings);
    }
    if report.keepalived.as_ref().is_some_and(|keepalived| keepalived.pid.is_none()) {
        warnings.push(
            "keepalived does not run: it is started again, the log says why it ended".to_owned(),
        );
    }
    if !report.realtime {
        warnings.push(
            "the VRRP thread has no real-time priority: when every core is busy, another node may take over"
                .to_owned(),
        );
    }
    warnings
}

fn add_load_balancer(balancer: &LoadBalancer, warnings: &mut Vec<String>) {
    let discovery = &balancer.discovery;
    if discovery.fail_open {
        warnings.push(
            "no apiserver is healthy: all known ones stay in use, the cause is probably shared (etcd?)"
                .to_owned(),
        );
    }
    if let Some(error) = &balancer.ipvs_error {
        warnings.push(format!("the IPVS services are not as they should be: {error}"));
    }
    for refused in &discovery.refused {
        warnings.push(format!("apiserver {} is not used: {}", refused.address, refused.reason));
    }
    if let Some(error) = &discovery.discovery.error {
        warnings.push(format!("the list of apiservers cannot be read: {error}"));
    }
}

fn add_virtual_router(router: &VirtualRouter, warnings: &mut Vec<String>) {
    let name = &router.name;
    for foreign in router.foreign.iter().filter(|it| it.is_present()) {
        let addresses: Vec<String> = foreign.addresses.iter().map(ToString::to_string).collect();
        let claims = match addresses.as_slice() {
            [] => String::new(),
            _ => format!(" for {}", addresses.join(", ")),
        };
        let packets = if foreign.packets == 1 { "packet" } else { "packets" };
        warnings.push(format!(
            "{name}: foreign router {} on virtual router {}{claims} ({} {packets}, the last {} ago): {}",
            foreign.address,
            router.virtual_router_id,
            foreign.packets,
            Ago(foreign.heard_ms),
            foreign.difference
        ));
    }
    if router.checksum.is_some() && router.checksums_received.len() > 1 {
        let heard: Vec<String> = router
            .checksums_received
            .iter()
            .map(|(dialect, count)| format!("{count} {dialect}"))
            .collect();
        warnings.push(format!(
            "{name}: checksums of several forms were heard since the start ({}), and a router that knows one form drops the other: set `checksum` to the same on every node",
            heard.join(", ")
        ));
    }
}
