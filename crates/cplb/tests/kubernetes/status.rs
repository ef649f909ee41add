//! What `cplb status -o json` says, as far as it matters here.

use std::net::SocketAddr;
use std::time::Duration;

use lab::world::Node;
use serde::Deserialize;

/// A frozen controller does not answer.
const LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) load_balancer: LoadBalancer,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LoadBalancer {
    pub(crate) apiservers: Vec<Apiserver>,
    pub(crate) discovery: Discovery,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Apiserver {
    pub(crate) address: SocketAddr,
    pub(crate) health: String,
    pub(crate) usable: bool,
    pub(crate) reason: String,
    pub(crate) since_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Discovery {
    pub(crate) fail_open: bool,
    pub(crate) origin: serde_json::Value,
}

impl Status {
    pub(crate) fn apiserver(&self, address: SocketAddr) -> Option<&Apiserver> {
        self.load_balancer.apiservers.iter().find(|apiserver| apiserver.address == address)
    }

    /// Whether new connections may go to it.
    pub(crate) fn uses(&self, address: SocketAddr) -> bool {
        self.apiserver(address).is_some_and(|apiserver| apiserver.usable)
    }

    /// The kind of object from which the apiservers are known, if the cluster has named them.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.load_balancer.discovery.origin.pointer("/endpoints/resource")?.as_str()
    }

    /// Ready, with exactly these apiservers, all healthy, as the cluster itself lists them.
    pub(crate) fn is_whole(&self, apiservers: &[SocketAddr]) -> bool {
        let known = &self.load_balancer.apiservers;
        self.ready
            && self.resource().is_some()
            && known.iter().map(|apiserver| apiserver.address).eq(apiservers.iter().copied())
            && known.iter().all(|apiserver| apiserver.health == "healthy" && apiserver.usable)
    }
}

/// Asks a controller; `None` when it does not answer.
pub(crate) fn ask(node: &Node) -> Option<Status> {
    let output = node
        .command(env!("CARGO_BIN_EXE_cplb"))
        .args(["status", "-o", "json", "--run-dir"])
        .arg(&node.run_dir)
        .output(LIMIT)
        .ok()?;
    if !output.status.success() {
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).expect("a status is JSON of the expected shape"))
}
