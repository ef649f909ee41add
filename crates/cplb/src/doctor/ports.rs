//! Who listens on the ports of the load balancer and of the apiserver.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::processes;
use super::target::Target;
use super::{Daemon, Finding};

#[cfg(test)]
mod tests;

const CHECK: &str = "ports";

/// A TCP socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    inode: u64,
}

/// A listener and its process, where that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) address: SocketAddr,
    pub(crate) pid: Option<u32>,
    /// For messages.
    pub(crate) by: String,
}

/// Judges who has the ports. `daemon_may_run`: there is a daemon, or one that cannot be asked.
pub(crate) fn check(
    target: &Target,
    taken: &[Taken],
    daemon: Option<&Daemon>,
    daemon_may_run: bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(port) = target.proxy_port {
        findings.push(check_proxy(port, taken, daemon, daemon_may_run));
    }
    findings.push(check_apiserver(target, taken));
    findings
}

fn check_proxy(
    port: u16,
    taken: &[Taken],
    daemon: Option<&Daemon>,
    daemon_may_run: bool,
) -> Finding {
    let owner = taken.iter().find(|it| it.address.port() == port);
    let daemon = daemon.map(|daemon| daemon.status.pid);
    match (owner, daemon) {
        (None, None) => Finding::ok(CHECK, format!("port {port} is free for the load balancer")),
        (None, Some(pid)) => {
            Finding::error(CHECK, format!("the daemon (pid {pid}) does not listen on port {port}"))
                .because("the document names another userSpaceProxyBindPort than the daemon has")
                .advise("restart the daemon, which hands the virtual IP over")
        }
        (Some(owner), Some(pid)) if owner.pid.is_none_or(|it| it == pid) => {
            Finding::ok(CHECK, format!("the load balancer listens on port {port}"))
        }
        (Some(owner), None)
            if daemon_may_run && (owner.pid.is_none() || owner.by.starts_with("cplb")) =>
        {
            Finding::skipped(
                CHECK,
                format!(
                    "port {port} is taken by {}, perhaps the daemon that cannot be asked",
                    owner.by
                ),
            )
        }
        (Some(owner), _) => {
            Finding::error(CHECK, format!("port {port} is taken by {}", owner.by))
                .because("the load balancer cannot listen there, and the daemon refuses to start")
                .advise("stop that program, or choose another userSpaceProxyBindPort (k0s' own load balancer has 6444, k3s and RKE2 theirs too)")
        }
    }
}

fn check_apiserver(target: &Target, taken: &[Taken]) -> Finding {
    const APISERVERS: [&str; 5] = ["kube-apiserver", "k0s", "k3s", "rke2", "cplb"];
    let port = target.apiserver.port();
    let listening: Vec<&Taken> = taken.iter().filter(|it| it.address.port() == port).collect();
    let virtual_addresses = target.addresses();
    let Some(first) = listening.first() else {
        return Finding::skipped(
            CHECK,
            format!("nothing listens on port {port}: no apiserver runs here yet"),
        );
    };
    if let Some(bound) = listening.iter().find(|it| virtual_addresses.contains(&it.address.ip())) {
        return Finding::error(CHECK, format!("{} listens on {}", bound.by, bound.address))
            .because("it cannot start where the virtual IP is not, and takes connections past the load balancer where it is")
            .advise("bind it to the node's own address or to all addresses");
    }
    if !APISERVERS.iter().any(|name| first.by.starts_with(name)) {
        return Finding::warning(CHECK, format!("port {port} is taken by {}", first.by))
            .because("the apiserver is expected there")
            .advise(
                "if that is another load balancer, cplb need not balance: disableLoadBalancer",
            );
    }
    let reached = listening
        .iter()
        .any(|it| it.address.ip().is_unspecified() || it.address.ip() == target.apiserver.ip());
    if !reached {
        return Finding::warning(CHECK, format!("{} listens on {} alone", first.by, first.address))
            .because(format!("this node expects it at {}", target.apiserver))
            .advise("set api.address and api.onlyBindToAddress: true in the document, or bind it to all addresses");
    }
    Finding::ok(CHECK, format!("{} listens on {}", first.by, first.address))
}

/// The listeners of this network namespace, with their processes.
pub(crate) fn taken(ports: &[u16]) -> Vec<Taken> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let lines = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    let mut listeners: Vec<Listener> = lines.flat_map(|text| listeners(&text)).collect();
    listeners.retain(|listener| ports.contains(&listener.address.port()));
    if listeners.is_empty() {
        return Vec::new();
    }
    let processes = processes::all();
    let owner = |inode| processes.iter().map(|it| it.pid).find(|pid| has_socket(*pid, inode));
    listeners
        .iter()
        .map(|listener| {
            let pid = owner(listener.inode);
            let by = pid.map_or_else(|| "another program".to_owned(), processes::name_of);
            Taken { address: listener.address, pid, by }
        })
        .collect()
}

fn has_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
    let mut descriptors = descriptors.into_iter().flatten().filter_map(Result::ok);
    descriptors.any(|it| fs::read_link(it.path()).is_ok_and(|link| link == Path::new(&wanted)))
}

/// Reads proc_net_tcp: the sockets in state LISTEN (0A).
fn listeners(text: &str) -> Vec<Listener> {
    text.lines().skip(1).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    (*fields.get(3)? == "0A").then_some(())?;
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.get(9)?.parse().ok()?;
    Some(Listener { address: SocketAddr::new(hexadecimal(address)?, port), inode })
}

/// An address as 32-bit words in the machine's byte order.
fn hexadecimal(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks_exact(8).map(|word| {
        u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok().map(u32::to_ne_bytes)
    });
    let octets = words.collect::<Option<Vec<[u8; 4]>>>()?.concat();
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_canonical()),
        _ => None,
    }
}
