//! The cluster of the stories.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use kernel::netns::Namespace;
use lab::client::{self, Client};
use lab::pki;
use lab::world::{Daemon, Host, HostPlan, Launch, Plan, World};

/// The program under test.
pub(crate) const CPLB: &str = env!("CARGO_BIN_EXE_cplb");

/// What every worker reads.
pub(crate) const BUILTIN: &str = "spec:
  network:
    nodeLocalLoadBalancing:
      enabled: true
      type: Builtin
";

/// No story waits longer than this for anything, unless it says so.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Log lines of each process shown when a story fails.
const LOG_LINES: usize = 40;

/// Which families the hosts have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    Ipv4,
    Ipv6,
    /// The apiservers advertise IPv4.
    Both,
}

/// Three controllers and two workers. Nothing runs in it at first.
pub(crate) struct Cluster {
    // Dropped before the world, whose directory and namespaces it uses.
    pub(crate) workers: Vec<Worker>,
    pub(crate) world: World,
    /// No longer than this is waited for anything.
    pub(crate) patience: Duration,
    origin: Instant,
    told: Cell<bool>,
}

/// A worker node.
pub(crate) struct Worker {
    place: Place,
    pub(crate) daemon: Daemon,
    pub(crate) directory: PathBuf,
    run_dir: PathBuf,
    /// Systemd's end of the notifications.
    pub(crate) notifications: UnixDatagram,
}

impl Cluster {
    pub(crate) fn build(families: Families) -> Self {
        Self::of_document(families, BUILTIN)
    }

    /// The same, where controllers and workers read another document.
    pub(crate) fn of_document(families: Families, document: &str) -> Self {
        let subnets: &[&str] = match families {
            Families::Ipv4 => &["10.0.0.100/24"],
            Families::Ipv6 => &["fd00::100/64"],
            Families::Both => &["10.0.0.100/24", "fd00::100/64"],
        };
        let subnets: Vec<VirtualAddress> = subnets.iter().map(|it| it.parse().unwrap()).collect();
        let plan = Plan::new(Path::new(CPLB), document, &subnets, 3).unwrap();
        let mut world =
            World::build(plan).expect("these tests make network namespaces: run them as root");
        for number in 0..2 {
            let addresses = subnets.iter().map(|it| neighbour(it, 31 + number)).collect();
            world.add_host(&format!("worker-{number}"), &HostPlan { addresses }).unwrap();
        }
        let workers = (0..2).map(|index| Worker::new(&world, Place::Worker(index))).collect();
        let (origin, told) = (Instant::now(), Cell::new(false));
        Self { workers, world, patience: LONG, origin, told }
    }

    /// With every apiserver and every worker running, all in use.
    pub(crate) fn start(families: Families) -> Self {
        let mut cluster = Self::build(families);
        for node in 0..3 {
            cluster.start_apiserver(node);
        }
        for worker in 0..2 {
            cluster.start_worker(worker);
        }
        for worker in 0..2 {
            cluster.await_learned(worker, &[0, 1, 2]);
        }
        cluster
    }

    pub(crate) fn start_apiserver(&mut self, node: usize) {
        self.world.node_mut(node).apiserver.start().unwrap();
        self.tell(&format!("kube-apiserver-{} started", node + 1));
    }

    pub(crate) fn stop_apiserver(&mut self, node: usize) {
        let apiserver = &mut self.world.node_mut(node).apiserver;
        apiserver.stop().unwrap();
        assert!(apiserver.wait(LONG));
        self.tell(&format!("kube-apiserver-{} stopped", node + 1));
    }

    /// SIGKILL.
    pub(crate) fn kill_apiserver(&mut self, node: usize) {
        let apiserver = &mut self.world.node_mut(node).apiserver;
        apiserver.kill().unwrap();
        assert!(apiserver.wait(LONG));
        self.tell(&format!("kube-apiserver-{} killed", node + 1));
    }

    pub(crate) fn start_worker(&mut self, worker: usize) {
        self.workers[worker].daemon.start().unwrap();
        self.tell(&format!("worker-{worker} started"));
    }

    pub(crate) fn stop_worker(&mut self, worker: usize) {
        let daemon = &mut self.workers[worker].daemon;
        daemon.stop().unwrap();
        assert!(daemon.wait(LONG));
        self.tell(&format!("worker-{worker} stopped"));
    }

    /// Makes a controller a worker as well, which does not run yet; its index among the workers.
    pub(crate) fn make_worker(&mut self, node: usize) -> usize {
        self.workers.push(Worker::new(&self.world, Place::Controller(node)));
        self.workers.len() - 1
    }

    /// The host of a worker.
    pub(crate) fn host(&self, worker: usize) -> &Host {
        self.workers[worker].place.host(&self.world)
    }

    /// The address at which a controller's apiserver is listed.
    pub(crate) fn apiserver(&self, node: usize) -> SocketAddr {
        SocketAddr::new(self.world.node(node).host().address(), 6443)
    }

    /// Waits until a worker keeps exactly these controllers' apiservers on its disk.
    pub(crate) fn await_learned(&self, worker: usize, nodes: &[usize]) {
        let wanted: BTreeSet<SocketAddr> = nodes.iter().map(|it| self.apiserver(*it)).collect();
        self.eventually(&format!("worker-{worker} has learned of {nodes:?}"), |cluster| {
            cluster.workers[worker].cached() == wanted
        });
    }

    /// Waits until every one of these controllers answers through a worker's door, and no other.
    pub(crate) fn await_served_by(&self, worker: usize, nodes: &[usize]) {
        let wanted: BTreeSet<String> =
            nodes.iter().map(|it| format!("kube-apiserver-{}", it + 1)).collect();
        let door = self.door();
        self.eventually(&format!("worker-{worker} is served by {nodes:?}"), |cluster| {
            let shown: BTreeSet<String> =
                (0..6).filter_map(|_| cluster.certificate(worker, door)).collect();
            shown == wanted
        });
    }

    /// The first door of every worker.
    pub(crate) fn door(&self) -> SocketAddr {
        "127.0.0.1:7443".parse().unwrap()
    }

    /// Who shows a certificate at an address, asked from a worker.
    pub(crate) fn certificate(&self, worker: usize, address: SocketAddr) -> Option<String> {
        let address = address.to_string();
        let output = self.on(worker, &["openssl", "s_client", "-connect", &address]);
        let text = text(&output.stdout);
        Some(text.lines().find_map(|line| line.strip_prefix("subject=CN = "))?.to_owned())
    }

    /// Runs a command on a worker.
    pub(crate) fn on(&self, worker: usize, words: &[&str]) -> Output {
        let command = self.host(worker).command(words[0]).args(&words[1..]);
        command.output(LONG).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// kubectl on a worker by the kubeconfig that its daemon wrote; what it prints.
    pub(crate) fn kubectl(&self, worker: usize, words: &[&str]) -> Result<String, String> {
        let kubeconfig = self.workers[worker].run_dir.join("kubeconfig.yaml").display().to_string();
        let cache = self.workers[worker].path("kubectl-cache").display().to_string();
        let options = ["kubectl", "--kubeconfig", &kubeconfig, "--cache-dir", &cache];
        let output = self.on(worker, &[&options, words].concat());
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    /// A client on a worker that asks an address of it every 10 ms, and holds a watch.
    pub(crate) fn client(&self, worker: usize, address: SocketAddr) -> Client {
        let options = self.world.client_options(Duration::from_millis(10));
        let options = client::Options { address, ..options };
        self.start_client(&self.host(worker).namespace, options)
    }

    /// A client anywhere, as soon as it is answered and holds a watch.
    pub(crate) fn start_client(&self, namespace: &Namespace, options: client::Options) -> Client {
        let client = Client::start(namespace, options, self.origin).unwrap();
        self.eventually("the client is answered and holds a watch", |_| {
            let watches = client.watch_changes().last().is_some_and(|it| it.established);
            client.first_answer().is_some() && watches
        });
        client
    }

    /// Since the story began.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Prints what happened.
    pub(crate) fn tell(&self, what: &str) {
        println!("{:9.3} s  {what}", self.now().as_secs_f64());
    }

    /// Waits until something holds; how long that took.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now();
        while !holds(self) {
            let limit = self.patience;
            assert!(self.now() < begin + limit, "not within {limit:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = self.now() - begin;
        self.tell(&format!("{what} (after {took:.1?})"));
        took
    }
}

/// Where a worker runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// On a host of its own.
    Worker(usize),
    /// Beside this controller.
    Controller(usize),
}

impl Place {
    fn host(self, world: &World) -> &Host {
        match self {
            Self::Worker(index) => &world.others()[index],
            Self::Controller(node) => world.node(node).host(),
        }
    }

    /// Where its files are, and its run directory: beside a controller below that one's, as by default.
    fn directories(self, world: &World) -> [PathBuf; 2] {
        let own = world.directory().join(&self.host(world).name);
        match self {
            Self::Worker(_) => [own.clone(), own.join("run")],
            Self::Controller(node) => [own.join("worker"), world.node(node).run_dir.join("worker")],
        }
    }
}

impl Worker {
    fn new(world: &World, place: Place) -> Self {
        let host = place.host(world);
        let [directory, run_dir] = place.directories(world);
        for folder in ["manifests", "pki"] {
            fs::create_dir_all(directory.join(folder)).unwrap();
        }
        let notifications = UnixDatagram::bind(directory.join("notify")).unwrap();
        notifications.set_nonblocking(true).unwrap();
        fs::write(directory.join("config.yaml"), &world.plan().document).unwrap();
        for name in ["ca.crt", "admin.crt", "admin.key"] {
            fs::copy(world.directory().join(name), directory.join("pki").join(name)).unwrap();
        }
        // As of a node that joined by the first controller.
        let server = SocketAddr::new(world.node(0).host().address(), 6443);
        let [ca, certificate, key] =
            ["ca.crt", "admin.crt", "admin.key"].map(|it| Path::new("pki").join(it));
        let kubeconfig = pki::kubeconfig(&format!("https://{server}"), &ca, &certificate, &key);
        fs::write(directory.join("kubelet.conf"), kubeconfig).unwrap();

        let log = directory.join("worker.log");
        let launch = Launch::new("true");
        let daemon = Daemon::new(host.name.clone(), launch, host, log);
        let mut worker = Self { place, daemon, directory, run_dir, notifications };
        worker.configure(&[]);
        worker
    }

    /// Gives it these options besides the necessary ones, from its next start on.
    pub(crate) fn configure(&mut self, options: &[&str]) {
        let kubeconfig = self.path("kubelet.conf");
        let launch = self.launch(&kubeconfig).arguments(options);
        self.daemon.replace(launch);
    }

    /// The same, with another kubeconfig.
    pub(crate) fn launch(&self, kubeconfig: &Path) -> Launch {
        Launch::new("env")
            .argument(format!("NOTIFY_SOCKET={}", self.path("notify").display()))
            .arguments([CPLB, "worker"])
            .option("--config", self.path("config.yaml"))
            .option("--kubeconfig", kubeconfig)
            .option("--run-dir", &self.run_dir)
            .option("--state-dir", self.path("state"))
    }

    /// A file of this worker.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Replaces its configuration. The daemon reads it at the next start or SIGHUP.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    /// The apiservers that it keeps on its disk.
    pub(crate) fn cached(&self) -> BTreeSet<SocketAddr> {
        let Ok(text) = fs::read_to_string(self.path("state/apiservers.json")) else {
            return BTreeSet::new();
        };
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let servers = document["apiservers"].as_array().unwrap().iter();
        servers.map(|it| it.as_str().unwrap().parse().unwrap()).collect()
    }

    /// What systemd was told since it was last asked.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 1024];
        while let Ok(length) = self.notifications.recv(&mut buffer) {
            told.extend(text(&buffer[..length]).lines().map(str::to_owned));
        }
        told
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.daemon.log()).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() || self.told.replace(true) {
            return;
        }
        self.tell("the story ends here");
        let nodes = self.world.nodes().iter();
        let daemons = nodes.flat_map(|it| [&it.apiserver, &it.controller]);
        for daemon in daemons.chain(self.workers.iter().map(|it| &it.daemon)) {
            println!("--- {}\n{}", daemon.name(), daemon.log_tail(LOG_LINES));
        }
    }
}

/// Another address of the same subnet.
fn neighbour(subnet: &VirtualAddress, last: u16) -> VirtualAddress {
    let address = match subnet.address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, u8::try_from(last).unwrap()])
        }
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[7] = last;
            IpAddr::from(segments)
        }
    };
    VirtualAddress { address, prefix_length: subnet.prefix_length }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
