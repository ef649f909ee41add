use std::fmt;
use std::path::{Path, PathBuf};

use lab::world::{Launch, Node, World};

use super::error::Error;
use super::pace::Pace;
use super::{VIRTUAL_IP, keepalived};

/// Who speaks VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Speaker {
    Builtin,
    Keepalived,
}

/// How the kernel lets the thread that speaks VRRP run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheduling {
    /// As everything else (SCHED_OTHER).
    Ordinary,
    /// Before everything ordinary (SCHED_RR).
    Realtime,
}

/// The program under test.
pub(crate) const CPLB: &str = env!("CARGO_BIN_EXE_cplb");

/// What every cplb reads.
pub(crate) fn document(pace: Pace, disable_load_balancer: bool) -> String {
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        disableLoadBalancer: {disable_load_balancer}
        vrrpInstances:
        - virtualIPs: [\"{VIRTUAL_IP}/24\"]
          authPass: BuyK0s
          version: {version}
          advertInterval: {interval}ms
",
        version = pace.version(),
        interval = pace.interval().as_millis(),
    )
}

impl Speaker {
    pub(crate) const ALL: [Self; 2] = [Self::Builtin, Self::Keepalived];

    /// How to start it on a node.
    pub(crate) fn launch(self, world: &World, node: &Node, pace: Pace) -> Result<Launch, Error> {
        match self {
            Self::Keepalived => keepalived::launch(&directory(node), pace, Scheduling::Ordinary),
            Self::Builtin => {
                let launch = Launch::new(CPLB)
                    .argument("controller")
                    .option("--config", world.directory().join("config.yaml"))
                    .option("--run-dir", &node.run_dir)
                    .option("--state-dir", directory(node).join("state"));
                // Without a load balancer, nobody else tells it of the others.
                Ok(world.nodes().iter().fold(launch, |launch, node| {
                    launch.option("--apiserver", format!("{}:6443", node.host().addresses[0]))
                }))
            }
        }
    }

    /// Kills all its processes.
    pub(crate) fn kill(self, node: &mut Node) -> Result<(), Error> {
        match self {
            Self::Builtin => Ok(node.controller.kill()?),
            Self::Keepalived => {
                let directory = directory(node);
                keepalived::kill(&mut node.controller, &directory)
            }
        }
    }

    /// Lets all its processes hang.
    pub(crate) fn freeze(self, node: &mut Node) -> Result<(), Error> {
        match self {
            Self::Builtin => Ok(node.controller.freeze()?),
            Self::Keepalived => {
                let directory = directory(node);
                keepalived::freeze(&mut node.controller, &directory)
            }
        }
    }

    /// Lets them go on.
    pub(crate) fn thaw(self, node: &mut Node) -> Result<(), Error> {
        match self {
            Self::Builtin => Ok(node.controller.thaw()?),
            Self::Keepalived => {
                let directory = directory(node);
                keepalived::thaw(&mut node.controller, &directory)
            }
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ordinary => "ordinary",
            Self::Realtime => "real-time",
        })
    }
}

impl fmt::Display for Speaker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Builtin => "builtin",
            Self::Keepalived => "keepalived",
        })
    }
}

/// Where the node's files are.
pub(crate) fn directory(node: &Node) -> PathBuf {
    node.run_dir.parent().map_or_else(|| node.run_dir.clone(), Path::to_owned)
}
