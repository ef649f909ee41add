//! kubectl on the client's host, through the virtual IP.

use std::process::Output;
use std::time::Duration;

use lab::world::{Daemon, Launch};

use crate::cluster::{API_PORT, Cluster};

const LIMIT: Duration = Duration::from_secs(30);

/// What it prints; panics when it fails.
#[track_caller]
pub(crate) fn run(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = try_run(cluster, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn try_run(cluster: &Cluster, arguments: &[&str]) -> Output {
    let command = cluster.world.client().command("kubectl");
    let command = command.args(common_arguments(cluster)).args(arguments);
    command.output(LIMIT).expect("kubectl ends in time (Debian: kubernetes-client)")
}

/// `kubectl get configmaps --watch`, running.
pub(crate) struct Watch {
    kubectl: Daemon,
}

impl Watch {
    pub(crate) fn start(cluster: &Cluster, name: &str) -> Self {
        let launch = Launch::new("kubectl").arguments(common_arguments(cluster)).arguments([
            "get",
            "configmaps",
            "--watch",
            "--output=name",
        ]);
        let log = cluster.world.directory().join(format!("{name}.log"));
        let mut kubectl = Daemon::new(name.to_owned(), launch, cluster.world.client(), log);
        kubectl.start().unwrap();
        Self { kubectl }
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.kubectl.state().is_alive()
    }

    pub(crate) fn has_shown(&self, configmap: &str) -> bool {
        let wanted = format!("configmap/{configmap}");
        self.kubectl.log_tail(usize::MAX).lines().any(|line| line == wanted)
    }
}

fn common_arguments(cluster: &Cluster) -> Vec<String> {
    let file = |name: &str| cluster.world.directory().join(name).display().to_string();
    vec![
        format!("--server=https://{}:{API_PORT}", cluster.virtual_ip()),
        format!("--kubeconfig={}", file("admin.conf")),
        // Keyed by address and port otherwise, and shared with every other cluster that was ever there.
        format!("--cache-dir={}", file("kubectl-cache")),
        "--namespace=default".to_owned(),
    ]
}
