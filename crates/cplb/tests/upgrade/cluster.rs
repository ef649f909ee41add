//! The clusters of the stories, and what is done to them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use kernel::address::VirtualAddress;
use lab::world::{Launch, Plan, VrrpEngine, World};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::{CPLB, Cluster, VIP, text};

pub(crate) const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Both families, which move together, ten advertisements a second.
pub(crate) const DOCUMENT: &str = r#"spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      keepalived:
        vrrpInstances:
        - virtualIPs: ["10.0.0.100/24", "fd00:10::100/64"]
          authPass: BuyK0s
          version: 3
          advertInterval: 100ms
      loadBalancer:
        extraPorts: [{port: 9443, listenPort: 9444}]
"#;

pub(crate) const VIP_V6: &str = "fd00:10::100";

/// Kills what is left of a world's processes, successors too, which are no children of the test.
pub(crate) struct Strays(PathBuf);

impl Drop for Strays {
    fn drop(&mut self) {
        for pid in processes(&self.0, "") {
            // It may end by itself.
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

/// The processes with this directory, which is the world's own, and this word in their arguments.
fn processes(directory: &Path, word: &str) -> Vec<i32> {
    let directory = directory.to_str().unwrap();
    let belongs = |pid: &i32| {
        // Gone meanwhile: empty.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = text(&line);
        line.contains(directory) && line.contains(word)
    };
    let numbers = fs::read_dir("/proc").unwrap();
    numbers.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).filter(belongs).collect()
}

fn strays(world: &World) -> Strays {
    Strays(world.directory().to_owned())
}

/// The controllers that run on a node.
pub(crate) fn controllers(cluster: &Cluster, node: usize) -> Vec<i32> {
    processes(cluster.world.node(node).run_dir.parent().unwrap(), "controller\0")
}

/// Three nodes that read a document, with those virtual IPs that are in it.
pub(crate) fn start(document: &str) -> (Cluster, Strays) {
    start_with(document, VrrpEngine::Builtin)
}

/// The same where somebody else may speak VRRP.
pub(crate) fn start_with(document: &str, vrrp: VrrpEngine) -> (Cluster, Strays) {
    let wanted = [format!("{VIP}/24"), format!("{VIP_V6}/64")];
    let wanted = wanted.iter().filter(|it| document.contains(*it));
    let addresses: Vec<VirtualAddress> = wanted.map(|it| it.parse().unwrap()).collect();
    let plan = Plan::new(Path::new(CPLB), document, &addresses, 3).unwrap();
    let mut cluster = Cluster::build(Plan { vrrp, ..plan });
    let strays = strays(&cluster.world);
    cluster.world.start_all().unwrap();
    cluster.settle();
    (cluster, strays)
}

/// `cplb upgrade` for a node.
pub(crate) fn upgrade(cluster: &Cluster, node: usize, options: &[&str]) -> Output {
    let run_dir = &cluster.world.node(node).run_dir;
    let output =
        Command::new(CPLB).args(["upgrade", "--run-dir"]).arg(run_dir).args(options).output();
    let output = output.unwrap();
    cluster.tell(&format!("upgrade: {}{}", text(&output.stdout), text(&output.stderr)));
    output
}

#[track_caller]
pub(crate) fn upgraded(cluster: &Cluster, node: usize) {
    let before = pid(cluster, node);
    let output = upgrade(cluster, node, &[]);
    assert!(output.status.success(), "{output:?}");
    cluster.eventually("the new process answers", |cluster| {
        cluster.status_of(node).is_some_and(|status| status["pid"] != before)
    });
}

pub(crate) fn pid(cluster: &Cluster, node: usize) -> i32 {
    cluster.status_of(node).unwrap()["pid"].as_i64().unwrap() as i32
}

pub(crate) fn transitions(status: &Value) -> Vec<Value> {
    let routers = status["virtual_routers"].as_array().unwrap();
    routers.iter().map(|router| router["transitions"].clone()).collect()
}

/// A program of the world's own, in place of the one under test.
pub(crate) fn install(program: &Path, from: impl FnOnce(&Path)) {
    let new = program.with_extension("new");
    from(&new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    // A program that runs cannot be written to.
    fs::rename(&new, program).unwrap();
}

pub(crate) fn script(text: &'static str) -> impl FnOnce(&Path) {
    move |path| fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap()
}

pub(crate) fn the_real_one(path: &Path) {
    fs::copy(CPLB, path).unwrap();
}

/// A cluster of IPv4 alone whose controllers run a program of the world's own, which is returned.
pub(crate) fn start_installed() -> (Cluster, Strays, PathBuf) {
    let plan = {
        let address = format!("{VIP}/24").parse().unwrap();
        Plan::new(Path::new(CPLB), &ipv4_alone(), &[address], 3).unwrap()
    };
    let mut cluster = Cluster::build(plan);
    let strays = strays(&cluster.world);
    let directory = cluster.world.directory().to_owned();
    let program = directory.join("cplb");
    install(&program, the_real_one);
    for node in 0..3 {
        let node_directory = cluster.world.node(node).run_dir.parent().unwrap().to_owned();
        let launch = Launch::new("env")
            .argument(format!("NOTIFY_SOCKET={}", notify_socket(&cluster.world, node).display()))
            .argument(&program)
            .argument("controller")
            .option("--config", directory.join("config.yaml"))
            .option("--kubeconfig", node_directory.join("admin.conf"))
            .option("--run-dir", &cluster.world.node(node).run_dir)
            .option("--state-dir", node_directory.join("state"));
        cluster.world.node_mut(node).controller.replace(launch);
    }
    (cluster, strays, program)
}

/// Where a controller of [`start_installed`] tells systemd.
pub(crate) fn notify_socket(world: &World, node: usize) -> PathBuf {
    world.node(node).run_dir.with_file_name("notify")
}

/// IPv4 alone, where the old process may take a while to end, and a machine that is held up for a
/// second moves nothing.
pub(crate) fn ipv4_alone() -> String {
    let document = DOCUMENT.replace(r#", "fd00:10::100/64""#, "").replace("100ms", "1s");
    document.replace("loadBalancer:", "loadBalancer:\n        drainTimeout: 3s")
}
