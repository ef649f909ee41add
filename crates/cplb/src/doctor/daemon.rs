//! The daemon of this host, and what it says of itself.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use kernel::address::VirtualAddress;
use serde::Deserialize;
use tokio::time::timeout;

use super::Finding;
use crate::admin_client::ask;
use crate::error::Error;
use crate::run_dir::{self, admin_socket};

#[cfg(test)]
mod tests;

const CHECK: &str = "daemon";
const PATIENCE: Duration = Duration::from_secs(2);

/// A foreign router heard within this time, 10 minutes, is probably still there.
const RECENT_MS: u64 = 600_000;

/// A running daemon.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    pub(crate) status: Status,
}

/// The part of its status that is of interest here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    pub(crate) ready: bool,
    pub(crate) leaving: bool,
    pub(crate) realtime: bool,
    pub(crate) virtual_routers: Vec<VirtualRouter>,
    pub(crate) load_balancer: Option<LoadBalancer>,
    /// Of a worker alone.
    pub(crate) worker: Option<Worker>,
}

/// What a worker says of itself besides.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Worker {
    pub(crate) doors: Vec<SocketAddr>,
    pub(crate) unreached: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct VirtualRouter {
    name: String,
    pub(crate) interface: String,
    pub(crate) virtual_router_id: u8,
    pub(crate) version: u8,
    pub(crate) source: IpAddr,
    virtual_ips: Vec<String>,
    pub(crate) state: String,
    pub(crate) holder: Option<IpAddr>,
    /// A daemon from before an upgrade knows none.
    #[serde(default)]
    foreign: Vec<Foreign>,
    packets_dropped: BTreeMap<String, u64>,
    address_mismatches: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Foreign {
    address: IpAddr,
    difference: String,
    packets: u64,
    heard_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LoadBalancer {
    pub(crate) listen: Vec<SocketAddr>,
    apiservers: Vec<Apiserver>,
    discovery: Discovery,
}

#[derive(Clone, Debug, Deserialize)]
struct Apiserver {
    address: SocketAddr,
    health: String,
    reason: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Discovery {
    fail_open: bool,
    refused: Vec<Refused>,
    discovery: Reading,
}

#[derive(Clone, Debug, Deserialize)]
struct Refused {
    address: SocketAddr,
    reason: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Reading {
    error: Option<String>,
}

impl Daemon {
    /// Asks the daemon with this run directory.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when there is none, or none that answers.
    pub(crate) fn ask(run_dir: &Path) -> Result<Self, Error> {
        let socket = admin_socket(run_dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async { timeout(PATIENCE, ask(&socket, "/status")).await });
        let failed = |source: io::Error| Error::NotRunning { socket: socket.clone(), source };
        let text = answer.map_err(|_| failed(ErrorKind::TimedOut.into()))??;
        let status = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
        Ok(Self { status })
    }
}

impl VirtualRouter {
    /// Its virtual addresses, without prefix lengths.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.virtual_addresses().iter().map(|address| address.address).collect()
    }

    pub(crate) fn virtual_addresses(&self) -> Vec<VirtualAddress> {
        self.virtual_ips.iter().filter_map(|text| text.parse().ok()).collect()
    }

    pub(crate) fn is_active(&self) -> bool {
        self.state == "Active"
    }
}

/// The daemons of a node with this run directory: the controller's, and the worker's below it, or
/// in it where the node is a worker alone.
pub(crate) fn ask_both(run_dir: &Path) -> [Result<Daemon, Error>; 2] {
    match Daemon::ask(run_dir) {
        Ok(worker) if worker.status.worker.is_some() => {
            let source = ErrorKind::NotFound.into();
            [Err(Error::NotRunning { socket: admin_socket(run_dir), source }), Ok(worker)]
        }
        controller => [controller, Daemon::ask(&run_dir::of_worker(run_dir))],
    }
}

/// Whether there is, or may be, a daemon: one that hangs or may not be asked is one too.
pub(crate) fn may_run(asked: &Result<Daemon, Error>) -> bool {
    match asked {
        Err(Error::NotRunning { source, .. }) => {
            !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        }
        _ => true,
    }
}

/// What its status says that should not be so.
pub(crate) fn check(asked: &Result<Daemon, Error>) -> Vec<Finding> {
    let status = match asked {
        Ok(daemon) => &daemon.status,
        Err(Error::NotRunning { source, .. }) if source.kind() == ErrorKind::TimedOut => {
            return vec![
                Finding::error(CHECK, "the daemon does not answer on its admin socket")
                    .because("it hangs or is stopped, so this node serves nothing")
                    .advise("look at its log, then restart it"),
            ];
        }
        Err(error) => return vec![Finding::skipped(CHECK, error.to_string())],
    };
    let mut findings = Vec::new();
    if !status.ready && !status.leaving {
        findings.push(
            Finding::warning(CHECK, "this node is not ready")
                .because("it reaches no apiserver, so another node should hold the virtual IP")
                .advise("`cplb status` shows why each apiserver is out"),
        );
    }
    for router in &status.virtual_routers {
        check_router(router, &mut findings);
    }
    if let Some(balancer) = &status.load_balancer {
        check_balancer(CHECK, balancer, &mut findings);
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("runs (pid {}) and is ready", status.pid)));
    }
    findings
}

fn check_router(router: &VirtualRouter, findings: &mut Vec<Finding>) {
    let name = &router.name;
    for foreign in router.foreign.iter().filter(|it| it.heard_ms < RECENT_MS) {
        let Foreign { address, packets, heard_ms, .. } = foreign;
        let seconds = heard_ms / 1_000;
        findings.push(
            Finding::error(
                CHECK,
                format!(
                    "{name} hears the foreign router {address}: {packets} packets, the last {seconds} s ago"
                ),
            )
            .because("it speaks for the same virtual router identifier and is none of this cluster, or configured differently")
            .advise(foreign.difference.clone()),
        );
    }
    for (reason, count) in &router.packets_dropped {
        // Other virtual routers on the segment are nobody's fault.
        if reason == "other_router" {
            continue;
        }
        findings.push(
            Finding::warning(CHECK, format!("{name} has dropped {count} packets: {reason}"))
                .because("somebody speaks on this virtual router whom this node cannot follow")
                .advise(
                    "the daemon's log names the sender and what to change; `cplb scan` shows whether it still speaks",
                ),
        );
    }
    if router.address_mismatches > 0 {
        let count = router.address_mismatches;
        findings.push(
            Finding::warning(
                CHECK,
                format!(
                    "{name} has heard {count} advertisements with other addresses than its own"
                ),
            )
            .because("after a failover an address is missing, or one too many is there")
            .advise("give every node the same virtualIPs"),
        );
    }
}

pub(crate) fn check_balancer(
    check: &'static str,
    balancer: &LoadBalancer,
    findings: &mut Vec<Finding>,
) {
    for refused in &balancer.discovery.refused {
        findings.push(
            Finding::error(check, format!("apiserver {} is not used", refused.address))
                .because(refused.reason.clone()),
        );
    }
    if let Some(error) = &balancer.discovery.discovery.error {
        findings.push(
            Finding::warning(check, format!("the list of apiservers cannot be read: {error}"))
                .because("new apiservers are not found, and gone ones stay on the list"),
        );
    }
    for apiserver in balancer.apiservers.iter().filter(|one| one.health == "unhealthy") {
        findings.push(
            Finding::warning(
                check,
                format!("apiserver {} is unhealthy: {}", apiserver.address, apiserver.reason),
            )
            .because("fewer apiservers are left to fail over to"),
        );
    }
    if balancer.discovery.fail_open {
        findings.push(
            Finding::error(check, "no apiserver is healthy, all known ones stay in use")
                .because("a cause that all share, most often etcd")
                .advise("look at etcd and at the apiservers' own /readyz?verbose"),
        );
    }
}
