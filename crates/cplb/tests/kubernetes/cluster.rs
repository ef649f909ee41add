//! The cluster: a lab's world whose apiservers are real, and etcd on a host of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use kernel::address::VirtualAddress;
use lab::world::{Daemon, Node, Plan, State, World};

pub(crate) use crate::launch::{API_PORT, SHUTDOWN_DELAY};
use crate::launch::{await_etcd, etcd, prepare_apiservers};
use crate::status::{self, Status};

const VIRTUAL: &str = "10.99.0.100/24";
const ETCD: &str = "10.99.0.20/24";

const DOCUMENT: &str = "
spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        vrrpInstances:
        - virtualIPs: [10.99.0.100/24]
          authPass: Secret
";

/// Three controllers, each with a kube-apiserver, and their etcd.
pub(crate) struct Cluster {
    // Dropped before the world, whose directory holds its data.
    pub(crate) etcd: Daemon,
    pub(crate) world: World,
}

impl Cluster {
    /// Everything is started; nothing need answer yet.
    pub(crate) fn start(kube_apiserver: &Path) -> Self {
        let virtual_address: VirtualAddress = VIRTUAL.parse().unwrap();
        let cplb = Path::new(env!("CARGO_BIN_EXE_cplb"));
        let plan = Plan::new(cplb, DOCUMENT, &[virtual_address], 3).unwrap();
        let mut world = World::build(plan).expect("namespaces can be made: run this test as root");

        let etcd_address: VirtualAddress = ETCD.parse().unwrap();
        prepare_apiservers(kube_apiserver, &mut world, etcd_address.address);
        let mut etcd = etcd(&mut world, &[etcd_address]);
        etcd.start().expect("etcd can be executed (Debian: etcd-server)");
        await_etcd(&world, etcd_address.address);
        world.start_all().unwrap();
        Self { etcd, world }
    }

    pub(crate) fn virtual_ip(&self) -> IpAddr {
        self.world.plan().virtual_address()
    }

    /// The address under which the cluster lists a node's apiserver.
    pub(crate) fn apiserver(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.world.node(node).host().address(), API_PORT)
    }

    /// What each controller says of itself; `None` for one that does not answer.
    pub(crate) fn statuses(&self) -> Vec<Option<Status>> {
        self.world.nodes().iter().map(status::ask).collect()
    }

    /// Panics when a process has ended.
    #[track_caller]
    pub(crate) fn assert_all_run(&mut self) {
        let Self { etcd, world } = self;
        assert_eq!(etcd.state(), State::Running, "etcd");
        for node in 0..world.nodes().len() {
            let Node { apiserver, controller, .. } = world.node_mut(node);
            for daemon in [apiserver, controller] {
                assert_eq!(daemon.state(), State::Running, "{}", daemon.name());
            }
        }
    }

    /// The last words of every process.
    pub(crate) fn logs(&self) -> String {
        let mut daemons = vec![&self.etcd];
        for node in self.world.nodes() {
            daemons.extend([&node.apiserver, &node.controller]);
        }
        let tail = |daemon: &Daemon| format!("--- {}\n{}\n", daemon.name(), daemon.log_tail(25));
        daemons.into_iter().map(tail).collect()
    }
}
