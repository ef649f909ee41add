//! `type: Keepalived`: the daemon with a real keepalived beside it keeps the promises it makes with
//! its own VRRP, as far as keepalived can. In network namespaces; needs root and keepalived.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod families;
mod frozen;
mod moves;
mod refusals;
mod reloads;
mod status;
mod stranger;

use std::fs;
use std::time::Duration;

use lab::world::{Plan, VrrpEngine};
use rustix::process::Pid;
use serde_json::Value;

use common::{Cluster, plan};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// keepalived's down interval at 1 s and priority 200 (RFC 3768 6.1: 3 x 1 s + 56/256 s).
pub(crate) const DOWN: Duration = Duration::from_millis(3_220);

pub(crate) fn keepalived() -> Plan {
    let mut plan = plan();
    plan.vrrp = VrrpEngine::Keepalived;
    plan
}

/// As [`Cluster::start`].
pub(crate) fn start(plan: Plan) -> Cluster {
    let mut cluster = Cluster::build(plan);
    cluster.world.start_all().unwrap();
    cluster.settle();
    cluster
}

/// Three apiservers, and one controller that holds the virtual IP.
pub(crate) fn start_alone(document: &str) -> Cluster {
    let mut plan = keepalived();
    plan.document = document.to_owned();
    let mut cluster = Cluster::build(plan);
    for node in 0..3 {
        cluster.world.node_mut(node).apiserver.start().unwrap();
    }
    cluster.world.node_mut(0).controller.start().unwrap();
    cluster.eventually("the only controller is ready and Active", |cluster| {
        let Some(status) = cluster.status_of(0) else { return false };
        status["ready"] == true && states(&status).iter().all(|state| state == "Active")
    });
    cluster
}

pub(crate) fn states(status: &Value) -> Vec<String> {
    let routers = status["virtual_routers"].as_array().unwrap();
    routers.iter().map(|it| it["state"].as_str().unwrap().to_owned()).collect()
}

/// A process that a file of the run directory names.
pub(crate) fn pid(cluster: &Cluster, node: usize, file: &str) -> Pid {
    let path = cluster.world.node(node).run_dir.join(file);
    Pid::from_raw(fs::read_to_string(path).unwrap().trim().parse().unwrap()).unwrap()
}

/// The watchdog of a node, by its command line.
pub(crate) fn watchdog(cluster: &Cluster, node: usize) -> Option<Pid> {
    let run_dir = cluster.world.node(node).run_dir.display().to_string();
    let line = format!("cplb\0keepalived-watchdog\0{run_dir}\0");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = processes
        .filter(|path| fs::read(path.join("cmdline")).is_ok_and(|it| it == line.as_bytes()))
        .collect();
    assert!(found.len() <= 1, "one watchdog at most: {found:?}");
    Pid::from_raw(found.first()?.file_name()?.to_str()?.parse().ok()?)
}

pub(crate) fn wait_for_another_holder(cluster: &Cluster, than: usize) -> usize {
    cluster.eventually("another one holds alone", |cluster| {
        let holders = cluster.holders();
        holders.len() == 1 && holders != [than]
    });
    cluster.holder()
}
