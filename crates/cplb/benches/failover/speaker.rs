//! What can be done to either speaker on a node.

use std::path::{Path, PathBuf};

use lab::world::{Launch, Node, World};

use crate::case::{Pace, Speaker};
use crate::cluster::VIRTUAL_IP;
use crate::error::Error;
use crate::keepalived;

/// The program under test.
pub(crate) const CPLB: &str = env!("CARGO_BIN_EXE_cplb");

/// What every cplb reads.
pub(crate) fn document(pace: Pace) -> String {
    format!(
        "spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        disableLoadBalancer: true
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
    /// How to start it on a node.
    pub(crate) fn launch(self, world: &World, node: &Node, pace: Pace) -> Result<Launch, Error> {
        match self {
            Self::Keepalived => keepalived::launch(&directory(node), pace),
            Self::Builtin => Ok(Launch::new(CPLB)
                .argument("controller")
                .option("--config", world.directory().join("config.yaml"))
                .option("--run-dir", &node.run_dir)
                .option("--state-dir", directory(node).join("state"))),
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

/// Where the node's files are.
fn directory(node: &Node) -> PathBuf {
    node.run_dir.parent().map_or_else(|| node.run_dir.clone(), Path::to_owned)
}
