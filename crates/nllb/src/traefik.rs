//! The files of Traefik.
//!
//! What differs from the ones k0s 1.37 writes, and why:
//!
//! | here | k0s | because |
//! |---|---|---|
//! | an entry point on each loopback | one of the two | clients say `localhost`, which is either |
//! | a service for each entry point | one for all | its check takes servers out of only one entry point otherwise |
//! | check each second: a plain request, which apiservers refuse | none | every dead controller fails 1/N of all clients, for ever |
//! | dial timeout 1 s | 30 s | that long a client waits for a controller without power |
//! | half-closed connections last 30 s | 100 ms | answers that are still on their way are cut |
//! | connections may go on for a day after it was told to end | 10 s | another port, another type or another version would cut them |
//! | `reusePort` | none | its successor listens before it ends |
//!
//! Traefik tries one server per client: what it cannot do is said in the documentation.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::doors::{Doors, Service};
use crate::pod::DRAIN_SECONDS;

/// The directory of the files as the container sees it.
pub(crate) const FOLDER: &str = "/etc/traefik";
/// Entry points; read once.
pub(crate) const INSTALL_FILE: &str = "config.yaml";
/// Services; read again whenever another file is moved to its name.
pub(crate) const ROUTING_FILE: &str = "routing.yaml";

/// The first version whose TCP services have health checks. An earlier one would refuse the file.
const WITH_CHECKS: (u32, u32) = (3, 6);

/// The first version that can listen beside another process.
const WITH_SHARING: (u32, u32) = (3, 0);

/// What stands in [`INSTALL_FILE`], for the Traefik of this version.
pub(crate) fn install(doors: &Doors, version: &str) -> String {
    let sharing = if can_share(version) { "    reusePort: true\n" } else { "" };
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
            let _ = write!(
                text,
                "  {name}:
    address: \"{address}\"
{sharing}    transport:
      lifeCycle: {{ graceTimeOut: {DRAIN_SECONDS}s }}
"
            );
        }
    }
    text + &format!("providers:\n  file:\n    filename: {FOLDER}/{ROUTING_FILE}\n    watch: true\n")
}

/// Traefik checks TCP servers without TLS. A server of Go, such as every kube-apiserver, answers a
/// plain request at its TLS port with `HTTP/1.0 400`; one that hangs does not.
const PLAIN_REQUEST: &str = r#", send: "GET / HTTP/1.0\r\n\r\n", expect: "HTTP/1.""#;

/// What stands in [`ROUTING_FILE`], for the Traefik of this version.
///
/// Traefik builds a service once for each entry point that leads to it, and gives its check the one
/// that it built last: so each has a service of its own.
pub(crate) fn routing(doors: &Doors, apiservers: &BTreeSet<SocketAddr>, version: &str) -> String {
    let mut text = "tcp:\n  routers:\n".to_owned();
    let names = |service: &Service| service.listeners(doors).into_iter().map(|(name, _)| name);
    for name in doors.services().flat_map(|it| names(&it)) {
        let _ = write!(
            text,
            "    {name}:
      entryPoints: [{name}]
      rule: HostSNI(`*`)
      service: {name}
"
        );
    }
    text += "  services:\n";
    for service in doors.services() {
        for name in names(&service) {
            let _ = write!(
                text,
                "    {name}:
      loadBalancer:
        serversTransport: controllers
"
            );
            if is_from(version, WITH_CHECKS) {
                text += &check(&service);
            }
            text += &servers(&service, apiservers);
        }
    }
    text + "  serversTransports:
    controllers:
      dialTimeout: 1s
      dialKeepAlive: 15s
      terminationDelay: 30s
"
}

fn check(service: &Service) -> String {
    let exchange = match service.name {
        "apiserver" => PLAIN_REQUEST,
        // A konnectivity server says nothing before it is asked by an agent.
        _ => "",
    };
    format!(
        "        healthCheck: {{ interval: 1s, unhealthyInterval: 1s, timeout: 900ms{exchange} }}\n"
    )
}

fn servers(service: &Service, apiservers: &BTreeSet<SocketAddr>) -> String {
    if apiservers.is_empty() {
        return "        servers: []\n".to_owned();
    }
    let servers: BTreeSet<_> = apiservers.iter().map(|it| service.server(*it)).collect();
    servers.iter().fold("        servers:\n".to_owned(), |mut text, server| {
        let _ = writeln!(text, "        - address: \"{server}\"");
        text
    })
}

/// Whether it can listen beside another process that lets it.
pub(crate) fn can_share(version: &str) -> bool {
    is_from(version, WITH_SHARING)
}

/// Whether the version, an image tag such as `v3.7.8-k0s.0`, is this one or a later one. Of one that
/// says nothing (`latest`) that is taken for granted.
fn is_from(version: &str, first: (u32, u32)) -> bool {
    let number = |part: Option<&str>| part?.parse::<u32>().ok();
    let mut parts = version.strip_prefix('v').unwrap_or(version).split(['.', '-', '@', '+']);
    let (Some(major), minor) = (number(parts.next()), number(parts.next())) else { return true };
    // `v3` is the newest 3 there is.
    (major, minor.unwrap_or(u32::MAX)) >= first
}

#[cfg(test)]
mod tests;
