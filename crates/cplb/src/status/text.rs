use std::fmt;
use std::time::Duration;

use backends::{Origin, Resource};

use super::Report;
use super::report::{LoadBalancer, VirtualRouter};

#[cfg(test)]
mod tests;

/// Transitions shown; JSON has more.
const SHOWN: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.leaving, self.ready) {
            (true, _) => "leaving",
            (false, true) => "ready",
            (false, false) => "NOT READY",
        };
        let Self { node, version, pid, .. } = self;
        writeln!(f, "{node}: {state}, up {} (cplb {version}, pid {pid})", Ago(self.uptime_ms))?;
        for router in &self.virtual_routers {
            writeln!(f)?;
            write_virtual_router(f, router)?;
        }
        if let Some(balancer) = &self.load_balancer {
            writeln!(f)?;
            write_load_balancer(f, balancer)?;
        }
        if !self.realtime {
            writeln!(f, "\nThe VRRP thread has no real-time priority.")?;
        }
        Ok(())
    }
}

fn write_virtual_router(f: &mut fmt::Formatter<'_>, router: &VirtualRouter) -> fmt::Result {
    let virtual_ips = router.virtual_ips.join(", ");
    let since = Ago(router.since_ms);
    let place = match (router.state, router.holder) {
        ("Active", _) => format!("is HERE since {since}: {}", router.reason),
        (_, Some(holder)) => format!("is at {holder}; this node is Backup since {since}"),
        ("Backup", None) => format!("is nowhere yet; listening since {since}"),
        _ => format!("has no router here since {since}: {}", router.reason),
    };
    writeln!(f, "{virtual_ips} {place}")?;
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
    if router.priority != router.configured_priority {
        write!(f, " (lowered from {})", router.configured_priority)?;
    }
    writeln!(
        f,
        "; {} sent, {} received",
        router.advertisements_sent, router.advertisements_received
    )?;
    for peer in &router.peers {
        writeln!(
            f,
            "  heard {} with priority {} {} ago",
            peer.address,
            peer.priority,
            Ago(peer.heard_ms)
        )?;
    }
    for (reason, count) in &router.packets_dropped {
        writeln!(f, "  {count} packets dropped: {reason}")?;
    }
    for transition in router.transitions.iter().rev().take(SHOWN) {
        let time = transition.time.get(11..23).unwrap_or(&transition.time);
        writeln!(f, "  {time}Z {} -> {}: {}", transition.from, transition.to, transition.reason)?;
    }
    Ok(())
}

fn write_load_balancer(f: &mut fmt::Formatter<'_>, balancer: &LoadBalancer) -> fmt::Result {
    let listen: Vec<String> = balancer.listen.iter().map(ToString::to_string).collect();
    write!(
        f,
        "Load balancer on {}: {} open, {} accepted",
        listen.join(", "),
        balancer.open,
        balancer.accepted
    )?;
    for (count, what) in [
        (balancer.rejected, "rejected"),
        (balancer.unserved, "unserved"),
        (balancer.retries, "retried"),
        (balancer.replays, "replayed"),
    ] {
        if count > 0 {
            write!(f, ", {count} {what}")?;
        }
    }
    writeln!(f)?;
    for redirect in &balancer.redirects {
        writeln!(f, "  redirects {redirect}")?;
    }
    writeln!(
        f,
        "  {:<24} {:<10} {:>8} {:>9} {:>6} {:>9} {:>8}",
        "APISERVER", "HEALTH", "SINCE", "LATENCY", "OPEN", "CONNECTS", "FAILED"
    )?;
    for apiserver in &balancer.apiservers {
        write!(
            f,
            "  {:<24} {:<10} {:>8} {:>9} {:>6} {:>9} {:>8}",
            apiserver.address.to_string(),
            apiserver.health,
            Ago(apiserver.since_ms).to_string(),
            apiserver.latency_ms.map_or_else(|| "-".into(), |latency| format!("{latency:.1} ms")),
            apiserver.open,
            apiserver.connects,
            apiserver.failures,
        )?;
        match apiserver.health.as_str() {
            "unhealthy" => writeln!(f, "  {}", apiserver.reason)?,
            _ => writeln!(f)?,
        }
    }
    let discovery = &balancer.discovery;
    if discovery.fail_open {
        writeln!(
            f,
            "  none is healthy: all known ones stay in use, the cause is probably shared (etcd?)"
        )?;
    }
    match &discovery.origin {
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
    for refused in &discovery.refused {
        writeln!(f, "  NOT USED {}: {}", refused.address, refused.reason)?;
    }
    if let Some(error) = &discovery.discovery.error {
        writeln!(f, "  discovery: {error}")?;
    }
    Ok(())
}

/// A duration as people say it: its two largest units.
struct Ago(u64);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.0).as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        let text = match self.0 {
            0..10_000 => format!("{:.1}s", Duration::from_millis(self.0).as_secs_f64()),
            _ if minutes == 0 => format!("{seconds}s"),
            _ if hours == 0 => format!("{minutes}m{}s", seconds % 60),
            _ if days == 0 => format!("{hours}h{}m", minutes % 60),
            _ => format!("{days}d{}h", hours % 24),
        };
        f.pad(&text)
    }
}
