use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use backends::{Origin, Resource};

use super::Report;
use super::ago::Ago;
use super::report::{Apiserver, Keepalived, LoadBalancer, VirtualRouter, Worker};

#[cfg(test)]
mod tests;
mod virtual_servers;

/// A report for people: what matters first, and nothing that does not.
pub(crate) struct Text<'a> {
    report: &'a Report,
    ink: Ink,
}

impl Report {
    /// Shows it to people, in colours for a terminal.
    pub(crate) fn text(&self, colours: bool) -> Text<'_> {
        Text { report: self, ink: if colours { Ink::COLOURS } else { Ink::NONE } }
    }
}

/// Transitions shown; JSON has more.
const SHOWN: usize = 5;

/// Packets dropped for these reasons are nobody's fault: several virtual routers on a segment hear
/// one another, and a router hears before it runs.
const UNREMARKABLE: [&str; 2] = ["other_router", "not_running"];

#[derive(Clone, Copy)]
struct Ink {
    good: &'static str,
    bad: &'static str,
    warning: &'static str,
    strong: &'static str,
    reset: &'static str,
}

impl Ink {
    const NONE: Self = Self { good: "", bad: "", warning: "", strong: "", reset: "" };
    const COLOURS: Self = Self {
        good: "\x1b[32m",
        bad: "\x1b[1;31m",
        warning: "\x1b[33m",
        strong: "\x1b[1m",
        reset: "\x1b[0m",
    };
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, ink } = self;
        let Ink { good, bad, warning, reset, .. } = ink;
        let (colour, state) = match (report.leaving, report.ready) {
            (true, _) => (warning, "leaving"),
            (false, true) => (good, "ready"),
            (false, false) => (bad, "NOT READY"),
        };
        let Report { node, version, pid, .. } = report;
        let uptime = Ago(report.uptime_ms);
        writeln!(f, "{node}: {colour}{state}{reset}, up {uptime} (cplb {version}, pid {pid})")?;
        for sentence in &report.warnings {
            writeln!(f, "{warning}! {sentence}{reset}")?;
        }
        let keepalived = report.keepalived.as_ref();
        if let Some(keepalived) = keepalived {
            write_keepalived(f, keepalived, *ink)?;
        }
        for router in &report.virtual_routers {
            writeln!(f)?;
            write_virtual_router(f, router, keepalived.is_some(), *ink)?;
        }
        if let Some(worker) = &report.worker {
            writeln!(f)?;
            write_worker(f, worker, *ink)?;
        }
        if let Some(balancer) = &report.load_balancer {
            writeln!(f)?;
            write_load_balancer(f, balancer, *ink)?;
            for extra in &balancer.extra_ports {
                writeln!(f)?;
                let title = format!("Port {}", extra.port);
                write_proxy(f, [&title, "SERVER"], &extra.balancer, *ink)?;
                writeln!(f, "  checked by {}", extra.check)?;
            }
        }
        if let Some(konnectivity) = report.worker.as_ref().and_then(|it| it.konnectivity.as_ref()) {
            writeln!(f)?;
            write_proxy(f, ["Konnectivity", "SERVER"], konnectivity, *ink)?;
        }
        Ok(())
    }
}

fn write_worker(f: &mut fmt::Formatter<'_>, worker: &Worker, ink: Ink) -> fmt::Result {
    let Ink { strong, reset, .. } = ink;
    let list = |doors: &[SocketAddr]| -> String {
        doors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    write!(f, "{strong}Apiservers{reset} at {}", list(&worker.doors))?;
    match &worker.image {
        Some(image) => writeln!(f, " by {} in a static pod, {image}", worker.balancer)?,
        None => writeln!(f)?,
    }
    if !worker.konnectivity_doors.is_empty() {
        writeln!(f, "  konnectivity at {}", list(&worker.konnectivity_doors))?;
    }
    for kubeconfig in &worker.kubeconfigs {
        writeln!(f, "  for the kubelet: {}", kubeconfig.display())?;
    }
    if worker.draining > 0 {
        writeln!(f, "  {} connections through ports closed since", worker.draining)?;
    }
    Ok(())
}

fn write_keepalived(f: &mut fmt::Formatter<'_>, keepalived: &Keepalived, ink: Ink) -> fmt::Result {
    write!(f, "VRRP by keepalived {}", keepalived.version)?;
    match keepalived.pid {
        Some(pid) => write!(f, ", pid {pid}")?,
        None => write!(f, ", {}NOT RUNNING{}", ink.bad, ink.reset)?,
    }
    match keepalived.restarts {
        0 => writeln!(f),
        1 => writeln!(f, ", restarted once"),
        times => writeln!(f, ", restarted {times} times"),
    }
}

/// keepalived tells of its state, but not whom it hears.
fn write_virtual_router(
    f: &mut fmt::Formatter<'_>,
    router: &VirtualRouter,
    by_keepalived: bool,
    ink: Ink,
) -> fmt::Result {
    let Ink { good, strong, reset, .. } = ink;
    let virtual_ips = router.virtual_ips.join(", ");
    let since = Ago(router.since_ms);
    let place = match (router.state, router.holder) {
        // It was so before this process took over.
        ("Active", _) if router.reason.is_empty() => format!("is {good}HERE{reset} since {since}"),
        ("Active", _) => format!("is {good}HERE{reset} since {since}: {}", router.reason),
        (_, Some(holder)) => format!("is at {holder}; this node is Backup since {since}"),
        ("Backup", None) if by_keepalived => {
            format!("is not here; this node is Backup since {since}")
        }
        ("Backup", None) => format!("is nowhere yet; listening since {since}"),
        _ => format!("has no router here since {since}: {}", router.reason),
    };
    writeln!(f, "{strong}{virtual_ips}{reset} {place}")?;
    write!(
        f,
        "  {}: VRRPv{} router {} on {} as {}, priority {}",
        router.name,
        router.version,
        router.virtual_router_id,
        router.interface,
        router.source,
        router.priority
    )?;
    match router.priority.cmp(&router.configured_priority) {
        Ordering::Less => write!(f, " (lowered from {})", router.configured_priority)?,
        Ordering::Equal => {}
        // One more, so that routers that follow nobody give way.
        Ordering::Greater => write!(f, " (with its IPv4 router)")?,
    }
    if let Some(leader) = router.follows {
        write!(f, ", moves with {leader}")?;
    }
    if let Some(dialect) = router.checksum {
        write!(f, ", checksum {dialect}")?;
    }
    let VirtualRouter { advertisements_sent: sent, advertisements_received: received, .. } = router;
    match by_keepalived {
        true => writeln!(f)?,
        false => writeln!(f, "; {sent} sent, {received} received")?,
    }
    for peer in &router.peers {
        writeln!(
            f,
            "  heard {} with priority {} {} ago",
            peer.address,
            peer.priority,
            Ago(peer.heard_ms)
        )?;
    }
    let dropped: Vec<String> = router
        .packets_dropped
        .iter()
        .filter(|(reason, _)| !UNREMARKABLE.contains(reason))
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    if !dropped.is_empty() {
        writeln!(f, "  packets dropped: {}", dropped.join(", "))?;
    }
    if router.address_mismatches > 0 {
        let count = router.address_mismatches;
        writeln!(f, "  advertisements with other virtual IPs than ours: {count}")?;
    }
    for transition in router.transitions.iter().rev().take(SHOWN) {
        let time = transition.time.get(11..23).unwrap_or(&transition.time);
        writeln!(f, "  {time}Z {} -> {}: {}", transition.from, transition.to, transition.reason)?;
    }
    let shown = router.transitions.len().min(SHOWN) as u64;
    match router.transition_count.saturating_sub(shown) {
        0 => {}
        1 => writeln!(f, "  and one transition before")?,
        earlier => writeln!(f, "  and {earlier} transitions before")?,
    }
    Ok(())
}

fn write_load_balancer(
    f: &mut fmt::Formatter<'_>,
    balancer: &LoadBalancer,
    ink: Ink,
) -> fmt::Result {
    if !balancer.virtual_servers.is_empty() {
        virtual_servers::write(f, &balancer.virtual_servers, ink)?;
    } else if !balancer.listen.is_empty() {
        write_proxy(f, ["Load balancer", "APISERVER"], balancer, ink)?;
    }
    // Others balance, and what they count they keep to themselves.
    if balancer.listen.is_empty() {
        write_checks(f, balancer, ink)?;
    }
    match &balancer.discovery.origin {
        Origin::Endpoints { via, resource } => {
            let resource = match resource {
                Resource::Slices => "EndpointSlices",
                Resource::Endpoints => "Endpoints",
            };
            writeln!(f, "  list from the cluster's {resource} through {via}")?;
        }
        Origin::Cache { age } => writeln!(
            f,
            "  list from disk, last changed {} ago",
            Ago(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
        )?,
        Origin::Static => writeln!(f, "  list from the command line")?,
        Origin::Local => writeln!(f, "  only the apiserver of this machine is known")?,
    }
    Ok(())
}

fn write_proxy(
    f: &mut fmt::Formatter<'_>,
    [title, column]: [&str; 2],
    balancer: &LoadBalancer,
    ink: Ink,
) -> fmt::Result {
    let Ink { strong, reset, .. } = ink;
    let listen: Vec<String> = balancer.listen.iter().map(ToString::to_string).collect();
    write!(
        f,
        "{strong}{title}{reset} on {}: {} open, {} accepted",
        listen.join(", "),
        balancer.open,
        balancer.accepted
    )?;
    if balancer.rejected > 0 {
        write!(f, ", {} rejected", balancer.rejected)?;
        write_reasons(f, &balancer.rejected_by_reason)?;
    }
    for (count, what) in [
        (balancer.unserved, "unserved"),
        (balancer.retries, "retried"),
        (balancer.replays, "replayed"),
        (balancer.rebalanced, "rebalanced"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)?;
    // One says nothing that the line above does not.
    for listener in balancer.listeners.iter().filter(|_| balancer.listeners.len() > 1) {
        write!(f, "  at {}: {} accepted", listener.address, listener.accepted)?;
        let rejected: u64 = listener.rejected_by_reason.values().sum();
        if rejected > 0 {
            write!(f, ", {rejected} rejected")?;
            write_reasons(f, &listener.rejected_by_reason)?;
        }
        writeln!(f)?;
    }
    for redirect in &balancer.redirects {
        writeln!(f, "  redirects {redirect}")?;
    }
    writeln!(
        f,
        "  {:<24} {:<10} {:>8} {:>9} {:>6} {:>9} {:>15} {:>8}",
        column, "HEALTH", "SINCE", "LATENCY", "OPEN", "CONNECTS", "P50/P99", "FAILED"
    )?;
    for apiserver in &balancer.apiservers {
        write_apiserver(f, apiserver, ink)?;
        let Apiserver { open, connects, failures, connect_latency, .. } = apiserver;
        let took = match (connect_latency.p50_ms, connect_latency.p99_ms) {
            (Some(p50), Some(p99)) => format!("{p50:.1}/{p99:.1} ms"),
            _ => "-".to_owned(),
        };
        write!(f, " {open:>6} {connects:>9} {took:>15} {failures:>8}")?;
        write_trouble(f, apiserver)?;
    }
    Ok(())
}

/// Those that there are, by the names that the metrics have.
fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<&str, u64>) -> fmt::Result {
    let met = reasons.iter().filter(|(_, count)| **count > 0);
    let met: Vec<String> = met.map(|(reason, count)| format!("{count} {reason}")).collect();
    write!(f, " ({})", met.join(", "))
}

fn write_checks(f: &mut fmt::Formatter<'_>, balancer: &LoadBalancer, ink: Ink) -> fmt::Result {
    writeln!(f, "  {:<24} {:<10} {:>8} {:>9}", "APISERVER", "HEALTH", "SINCE", "LATENCY")?;
    for apiserver in &balancer.apiservers {
        write_apiserver(f, apiserver, ink)?;
        write_trouble(f, apiserver)?;
    }
    Ok(())
}

fn write_apiserver(f: &mut fmt::Formatter<'_>, apiserver: &Apiserver, ink: Ink) -> fmt::Result {
    let colour = match apiserver.health.as_str() {
        "healthy" => ink.good,
        "unhealthy" => ink.bad,
        _ => ink.warning,
    };
    write!(
        f,
        "  {:<24} {colour}{:<10}{} {:>8} {:>9}",
        apiserver.address.to_string(),
        apiserver.health,
        ink.reset,
        Ago(apiserver.since_ms).to_string(),
        apiserver.latency_ms.map_or_else(|| "-".into(), |latency| format!("{latency:.1} ms")),
    )
}

fn write_trouble(f: &mut fmt::Formatter<'_>, apiserver: &Apiserver) -> fmt::Result {
    match apiserver.health.as_str() {
        "unhealthy" => writeln!(f, "  {}", apiserver.reason),
        _ => writeln!(f),
    }
}
