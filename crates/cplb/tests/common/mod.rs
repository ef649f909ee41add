//! A cluster in namespaces, told as a story: what is done to it and what is seen of it is printed
//! with its time. Needs root.

#![allow(dead_code, reason = "every test file uses a part")]

pub(crate) mod tls;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use lab::client::{Client, Figures};
use lab::observer::{Holdings, Observer};
use lab::world::{Host, Launch, Plan, World};
use serde_json::Value;

/// The program under test.
pub(crate) const CPLB: &str = env!("CARGO_BIN_EXE_cplb");

/// The virtual IP of [`DOCUMENT`].
pub(crate) const VIP: &str = "10.0.0.100";

/// What every controller reads.
pub(crate) const DOCUMENT: &str = r#"spec:
  network:
    controlPlaneLoadBalancing:
      enabled: true
      type: Builtin
      keepalived:
        vrrpInstances:
        - virtualIPs: ["10.0.0.100/24"]
          authPass: BuyK0s
"#;

/// No test waits longer than this for anything.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Log lines of each process shown when a test fails.
const LOG_LINES: usize = 25;

/// Three controllers with an apiserver each, and a client.
pub(crate) struct Cluster {
    // Watchers are dropped before the world they watch.
    client: Option<Client>,
    observer: Observer,
    pub(crate) world: World,
    origin: Instant,
    /// Changes of the holder that are told already.
    told: Cell<usize>,
}

/// The plan of three nodes that read [`DOCUMENT`].
pub(crate) fn plan() -> Plan {
    let virtual_ip: VirtualAddress = format!("{VIP}/24").parse().unwrap();
    Plan::new(Path::new(CPLB), DOCUMENT, &[virtual_ip], 3).unwrap()
}

/// The world of a plan; nothing runs in it.
pub(crate) fn world(plan: Plan) -> World {
    World::build(plan).expect("these tests make network namespaces: run them as root")
}

impl Cluster {
    /// Builds a cluster in which nothing runs yet.
    pub(crate) fn build(plan: Plan) -> Self {
        let origin = Instant::now();
        let world = world(plan);
        let namespaces: Vec<_> = world.nodes().iter().map(|node| &*node.host().namespace).collect();
        let observer =
            Observer::start(&namespaces, world.plan().virtual_address(), origin).unwrap();
        Self { client: None, observer, world, origin, told: Cell::new(0) }
    }

    /// Builds a cluster, starts everything and waits until all is well.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::build(plan());
        cluster.world.start_all().unwrap();
        cluster.settle();
        cluster
    }

    /// Lets the client ask the virtual IP every 10 ms from now on.
    pub(crate) fn ask(&mut self) {
        self.ask_every(Duration::from_millis(10));
    }

    /// The same at another pace.
    pub(crate) fn ask_every(&mut self, interval: Duration) {
        let options = self.world.client_options(interval);
        let namespace = &self.world.client().namespace;
        self.client = Some(Client::start(namespace, options, self.origin).unwrap());
        self.eventually("the client is answered and holds a watch", |cluster| {
            cluster.client().first_answer().is_some() && cluster.watch_is_established()
        });
    }

    /// Lets the client ask no more.
    pub(crate) fn stop_asking(&mut self) {
        self.client = None;
    }

    /// Since the story began.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Prints what happened, after the changes of the holder until now.
    pub(crate) fn tell(&self, what: &str) {
        let holdings = self.holdings();
        for change in &holdings.changes()[self.told.get()..] {
            let verb = if change.held { "holds" } else { "lost" };
            let name = self.world.node(change.node).name();
            let address = self.world.plan().virtual_address();
            println!("{:9.3} s    {name} {verb} {address}", change.at.as_secs_f64());
        }
        self.told.set(holdings.changes().len());
        println!("{:9.3} s  {what}", self.now().as_secs_f64());
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        std::thread::sleep(time);
        self.tell(&format!("({time:.1?} later)"));
    }

    /// Waits until something holds, 20 s at most; how long that took.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        self.eventually_within(LONG, what, holds)
    }

    /// The same with another limit.
    pub(crate) fn eventually_within(
        &self,
        limit: Duration,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Duration {
        let begin = self.now();
        while !holds(self) {
            assert!(self.now() < begin + limit, "not within {limit:?}: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = self.now() - begin;
        self.tell(&format!("{what} (after {took:.1?})"));
        took
    }

    /// Waits until everything that runs is well and knows of the others; who holds the virtual IP.
    pub(crate) fn settle(&self) -> usize {
        self.eventually("all is well", |cluster| {
            let nodes = cluster.world.nodes().len();
            cluster.holders().len() == 1
                && (0..nodes).all(|node| {
                    let Some(status) = cluster.status_of(node) else { return false };
                    let apiservers = status["load_balancer"]["apiservers"].as_array().unwrap();
                    let healthy = apiservers.iter().filter(|one| one["health"] == "healthy");
                    status["ready"] == true && healthy.count() == nodes
                })
        });
        self.holder()
    }

    /// The nodes that hold the virtual IP, by their kernels' word.
    pub(crate) fn holders(&self) -> Vec<usize> {
        self.world.holders(self.world.plan().virtual_address()).unwrap()
    }

    /// The one node that holds it.
    pub(crate) fn holder(&self) -> usize {
        match self.holders().as_slice() {
            [holder] => *holder,
            holders => panic!("exactly one node should hold it, these do: {holders:?}"),
        }
    }

    /// Who held it when.
    pub(crate) fn holdings(&self) -> Holdings {
        self.observer.holdings()
    }

    /// How often it moved since then.
    pub(crate) fn moves_since(&self, begin: Duration) -> u64 {
        self.holdings().moves(&(begin..self.now()))
    }

    /// For how long since then several nodes held it.
    pub(crate) fn doubly_held_since(&self, begin: Duration) -> Duration {
        self.holdings().time_with(&(begin..self.now()), |holders| holders > 1)
    }

    /// What the client met since then; all its requests are finished.
    pub(crate) fn figures_since(&self, begin: Duration) -> Figures {
        let window = begin..self.now();
        self.figures(&window)
    }

    /// What the client met in a window; all its requests are finished.
    pub(crate) fn figures(&self, window: &Range<Duration>) -> Figures {
        while !self.client().has_finished(window.end) {
            std::thread::sleep(Duration::from_millis(10));
            assert!(self.now() < window.end + LONG, "requests have a deadline of 5 s");
        }
        let figures = self.client().figures(window);
        self.tell(&format!(
            "the client: {} answered, failed {:?}, longest silence {:.1?}, slowest handshake {:.1?}",
            figures.answered, figures.failures, figures.longest_silence, figures.slowest_handshake
        ));
        figures
    }

    /// Whether the client's watch flows.
    pub(crate) fn watch_is_established(&self) -> bool {
        self.client().watch_changes().last().is_some_and(|last| last.established)
    }

    /// When the client's watch was cut since then, and when it was back.
    pub(crate) fn watch_changes_since(&self, begin: Duration) -> Vec<(Duration, bool)> {
        let changes = self.client().watch_changes().into_iter();
        changes
            .filter(|change| change.at >= begin)
            .map(|change| (change.at - begin, change.established))
            .collect()
    }

    /// The status of a node as JSON, `None` if it gives none.
    pub(crate) fn status_of(&self, node: usize) -> Option<Value> {
        let run_dir = &self.world.node(node).run_dir;
        let output = Command::new(CPLB)
            .args(["status", "-o", "json", "--run-dir"])
            .arg(run_dir)
            .output()
            .unwrap();
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// The same for people.
    pub(crate) fn status_text_of(&self, node: usize) -> String {
        let run_dir = &self.world.node(node).run_dir;
        let output = Command::new(CPLB).args(["status", "--run-dir"]).arg(run_dir).output();
        text(&output.unwrap().stdout)
    }

    /// What `node` says of the apiserver of `of`: healthy, unhealthy, or nothing at all.
    pub(crate) fn health_at(&self, node: usize, of: usize) -> Option<String> {
        let status = self.status_of(node)?;
        let address = format!("{}:6443", self.address(of));
        let apiservers = status["load_balancer"]["apiservers"].as_array()?;
        let found = apiservers.iter().find(|one| one["address"] == address.as_str())?;
        Some(found["health"].as_str()?.to_owned())
    }

    /// A node's own address.
    pub(crate) fn address(&self, node: usize) -> IpAddr {
        self.world.node(node).host().address()
    }

    /// All of a controller's log.
    pub(crate) fn log_of(&self, node: usize) -> String {
        std::fs::read_to_string(self.world.node(node).controller.log()).unwrap()
    }

    /// The firewall tables of a node, as `nft list tables` prints them.
    pub(crate) fn tables(&self, node: usize) -> String {
        on(self.world.node(node).host(), "nft list tables")
    }

    /// How often the virtual IP is on a node's interfaces.
    pub(crate) fn addresses(&self, node: usize) -> usize {
        virtual_addresses_on(self.world.node(node).host())
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("the story lets the client ask before")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.tell("the story ends here");
        for node in self.world.nodes() {
            for daemon in [&node.controller, &node.apiserver] {
                println!("--- {}\n{}", daemon.name(), daemon.log_tail(LOG_LINES));
            }
        }
    }
}

/// The virtual IP.
pub(crate) fn virtual_ip() -> IpAddr {
    VIP.parse().unwrap()
}

/// The launch of a controller in `world`'s node with these options besides the necessary ones.
pub(crate) fn controller(world: &World, node: usize, options: &[&str]) -> Launch {
    let state_dir = world.node(node).run_dir.with_file_name("state");
    Launch::new(CPLB)
        .argument("controller")
        .option("--config", world.directory().join("config.yaml"))
        .option("--run-dir", &world.node(node).run_dir)
        .option("--state-dir", state_dir)
        .arguments(options)
}

/// Runs a command line on a host; its standard output. It must succeed.
pub(crate) fn on(host: &Host, line: &str) -> String {
    let output = try_on(host, line);
    assert!(output.status.success(), "{line} on {}: {}", host.name, text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command line on a host.
pub(crate) fn try_on(host: &Host, line: &str) -> Output {
    let mut words = line.split(' ');
    let command = host.command(words.next().unwrap()).args(words);
    command.output(LONG).unwrap_or_else(|error| panic!("{line} on {}: {error}", host.name))
}

/// How often the virtual IP is on a host's interfaces.
pub(crate) fn virtual_addresses_on(host: &Host) -> usize {
    on(host, "ip -o address").matches(&format!(" {VIP}/")).count()
}

/// Makes TLS connections from a host, one after the other; how often which certificate was shown.
pub(crate) fn certificates(
    host: &Host,
    target: &str,
    connections: usize,
) -> BTreeMap<String, usize> {
    let mut shown = BTreeMap::new();
    for _ in 0..connections {
        let output = try_on(host, &format!("openssl s_client -connect {target}"));
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        let subject = out.lines().find_map(|line| line.strip_prefix("subject=CN = "));
        let Some(subject) = subject else {
            panic!("no certificate from {target} at {}: {out}{errors}", host.name);
        };
        *shown.entry(subject.to_owned()).or_default() += 1;
    }
    shown
}

/// Every apiserver's certificate, each shown so often.
pub(crate) fn each(times: usize) -> BTreeMap<String, usize> {
    (1..=3).map(|number| (format!("kube-apiserver-{number}"), times)).collect()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
