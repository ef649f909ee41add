//! The files of Traefik.
//!
//! What differs from the ones k0s 1.37 writes, and why:
//!
//! | here | k0s | because |
//! |---|---|---|
//! | an entry point on each loopback | one of the two | clients say `localhost`, which is either |
//! | check: TCP connect each second | none | every dead controller fails 1/N of all clients, for ever |
//! | dial timeout 1 s | 30 s | that long a client waits for a controller without power |
//! | half-closed connections last 30 s | 100 ms | answers that are still on their way are cut |
//!
//! Traefik tries one server per client, and its check of TCP servers knows no TLS: what it cannot
//! do is said in the documentation.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::doors::Doors;

/// The directory of the files as the container sees it.
pub(crate) const FOLDER: &str = "/etc/traefik";
/// Entry points; read once.
pub(crate) const INSTALL_FILE: &str = "config.yaml";
/// Services; read again whenever another file is moved to its name.
pub(crate) const ROUTING_FILE: &str = "routing.yaml";

/// The first version whose TCP services have health checks. An earlier one would refuse the file.
const WITH_CHECKS: (u32, u32) = (3, 6);

/// What stands in [`INSTALL_FILE`].
pub(crate) fn install(doors: &Doors) -> String {
    let mut text = "global:
  checkNewVersion: false
  sendAnonymousUsage: false
log:
  level: INFO
  noColor: true
entryPoints:
"
    .to_owned();
    for service in doors.services() {
        for (name, address) in service.listeners(doors) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {name}:\n    address: \"{address}\"");
        }
    }
    text + &format!("providers:\n  file:\n    filename: {FOLDER}/{ROUTING_FILE}\n    watch: true\n")
}

/// What stands in [`ROUTING_FILE`], for the Traefik of this version.
pub(crate) fn routing(doors: &Doors, apiservers: &BTreeSet<SocketAddr>, version: &str) -> String {
    let mut text = "tcp:\n  routers:\n".to_owned();
    for service in doors.services() {
        let points: Vec<_> = service.listeners(doors).into_iter().map(|(name, _)| name).collect();
        let points = points.join(", ");
        let name = service.name;
        let _ = write!(
            text,
            "    {name}:
      entryPoints: [{points}]
      rule: HostSNI(`*`)
      service: {name}
"
        );
    }
    text += "  services:\n";
    for service in doors.services() {
        let _ = write!(
            text,
            "    {}:
      loadBalancer:
        serversTransport: controllers
",
            service.name
        );
        if has_checks(version) {
            text +=
                "        healthCheck: { interval: 1s, unhealthyInterval: 1s, timeout: 900ms }\n";
        }
        if apiservers.is_empty() {
            text += "        servers: []\n";
            continue;
        }
        text += "        servers:\n";
        let servers: BTreeSet<_> = apiservers.iter().map(|it| service.server(*it)).collect();
        for server in servers {
            let _ = writeln!(text, "        - address: \"{server}\"");
        }
    }
    text + "  serversTransports:
    controllers:
      dialTimeout: 1s
      dialKeepAlive: 15s
      terminationDelay: 30s
"
}

/// Whether the version, an image tag such as `v3.7.8-k0s.0`, has health checks of TCP services. Of
/// one that says nothing (`latest`) that is taken for granted.
fn has_checks(version: &str) -> bool {
    let number = |part: Option<&str>| part?.parse::<u32>().ok();
    let mut parts = version.strip_prefix('v').unwrap_or(version).split(['.', '-', '@', '+']);
    let (Some(major), minor) = (number(parts.next()), number(parts.next())) else { return true };
    // `v3` is the newest 3 there is.
    (major, minor.unwrap_or(u32::MAX)) >= WITH_CHECKS
}

#[cfg(test)]
mod tests;
