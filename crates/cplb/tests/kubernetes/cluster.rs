//! The cluster: a lab's world whose apiservers are real, and etcd on a host of its own.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use lab::world::{Daemon, HostPlan, Launch, Node, Plan, State, World};

use crate::status::{self, Status};

const VIRTUAL: &str = "10.99.0.100/24";
const ETCD: &str = "10.99.0.20/24";
const ETCD_PORT: u16 = 2379;
pub(crate) const API_PORT: u16 = 6443;
/// By these the apiservers sign service account tokens and check them: all by the same.
const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
const SERVICE_ACCOUNT_CERTIFICATE: &str = "service-account.crt";
/// How long an apiserver goes on serving after SIGTERM.
pub(crate) const SHUTDOWN_DELAY: Duration = Duration::from_secs(5);

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

        let signer = world.authority().client("service-account", "none").unwrap();
        fs::write(world.directory().join(SERVICE_ACCOUNT_KEY), signer.key).unwrap();
        fs::write(world.directory().join(SERVICE_ACCOUNT_CERTIFICATE), signer.certificate).unwrap();
        for node in 0..world.nodes().len() {
            let launch = apiserver(kube_apiserver, &world, node);
            world.node_mut(node).apiserver.replace(launch);
        }
        let mut etcd = etcd(&mut world);
        etcd.start().expect("etcd can be executed (Debian: etcd-server)");
        await_listener(&world, etcd_address());
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

fn etcd_address() -> SocketAddr {
    SocketAddr::new(ETCD.parse::<VirtualAddress>().unwrap().address, ETCD_PORT)
}

fn etcd(world: &mut World) -> Daemon {
    let directory = world.directory().to_owned();
    let plan = HostPlan { addresses: vec![ETCD.parse().unwrap()] };
    let host = world.add_host("etcd", &plan).unwrap();
    let url = format!("http://{}", etcd_address());
    let launch = Launch::new("etcd")
        .option("--data-dir", directory.join("etcd"))
        .option("--listen-client-urls", &url)
        .option("--advertise-client-urls", &url)
        .option("--listen-peer-urls", "http://127.0.0.1:2380")
        .option("--log-level", "warn")
        // Its data need not outlive it, and the disk shall not disturb what is measured.
        .argument("--unsafe-no-fsync");
    Daemon::new("etcd".to_owned(), launch, host, directory.join("etcd.log"))
}

fn apiserver(program: &Path, world: &World, node: usize) -> Launch {
    let host = world.node(node).host();
    let common = |file: &str| world.directory().join(file).display().to_string();
    let own = |file: &str| common(&format!("{}/{file}", host.name));
    let settings = [
        ("advertise-address", host.address().to_string()),
        ("bind-address", "0.0.0.0".to_owned()),
        ("secure-port", API_PORT.to_string()),
        ("etcd-servers", format!("http://{}", etcd_address())),
        ("tls-cert-file", own("apiserver.crt")),
        ("tls-private-key-file", own("apiserver.key")),
        ("client-ca-file", common("ca.crt")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        // The service network whose first address is in the certificates.
        ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
        ("service-account-key-file", common(SERVICE_ACCOUNT_CERTIFICATE)),
        ("service-account-signing-key-file", common(SERVICE_ACCOUNT_KEY)),
        ("shutdown-delay-duration", format!("{}s", SHUTDOWN_DELAY.as_secs())),
    ];
    // From 1.26 on each replica has a lease named after its host, which replicas must not share.
    let script = "hostname \"$1\" && shift && exec \"$@\"";
    Launch::new("unshare")
        .arguments(["--uts", "sh", "-c", script, "sh", &host.name])
        .argument(program)
        .arguments(settings.map(|(name, value)| format!("--{name}={value}")))
}

fn await_listener(world: &World, address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1));
    while let Err(error) = world.client().namespace.run(connect).unwrap() {
        assert!(Instant::now() < deadline, "etcd does not listen: {error}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
