use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use kernel::netns::Namespace;
use lab::observer::{Holdings, Observer};
use lab::world::{Launch, Node, Plan, World};
use rustix::process::Pid;
use serde_json::Value;

use crate::case::Case;
use crate::common::error::Error;
use crate::common::interrupt::Interrupt;
use crate::common::speaker::{CPLB, Scheduling, Speaker, directory, document};
use crate::common::{NODES, VIRTUAL_IP, keepalived};
use crate::logs::Logs;
use crate::outcome::Outcome;
use crate::witness::Witness;

/// Nothing that is waited for takes longer. A starved daemon may well take seconds to answer.
const LIMIT: Duration = Duration::from_secs(60);

/// After a claim. keepalived announces the addresses again after 5 s, and logs that.
const QUIET: Duration = Duration::from_secs(8);

/// Log lines of each node that are shown when it does not come to rest.
const LOG_LINES: usize = 15;

/// Three nodes with the same speaker on a switch of their own, and who watches them.
pub(crate) struct Cluster {
    // Watchers are dropped before the world they watch, the readers of its logs after it.
    witness: Witness,
    observer: Observer,
    world: World,
    logs: Logs,
    case: Case,
    origin: Instant,
    interrupt: Interrupt,
}

impl Cluster {
    /// Builds it. Nobody speaks yet; times count from `origin`.
    pub(crate) fn build(case: Case, origin: Instant, interrupt: &Interrupt) -> Result<Self, Error> {
        let address = VirtualAddress { address: VIRTUAL_IP.into(), prefix_length: 24 };
        let document = document(case.scenario.pace(), !case.has_load_balancer());
        let mut world = World::build(Plan::new(Path::new(CPLB), &document, &[address], NODES)?)?;
        for node in 0..NODES {
            let launch = case.launch(&world, world.node(node))?;
            world.node_mut(node).controller.replace(launch);
        }
        let namespaces: Vec<&Namespace> =
            world.nodes().iter().map(|node| &*node.host().namespace).collect();
        Ok(Self {
            witness: Witness::start(world.client(), origin)?,
            observer: Observer::start(&namespaces, VIRTUAL_IP.into(), origin)?,
            logs: Logs::read(world.nodes().iter().map(|node| node.controller.log()))?,
            world,
            case,
            origin,
            interrupt: interrupt.clone(),
        })
    }

    pub(crate) fn start(&mut self) -> Result<(), Error> {
        for node in 0..NODES {
            let node = self.world.node_mut(node);
            if self.case.has_load_balancer() {
                node.apiserver.start()?;
            }
            node.controller.start()?;
        }
        Ok(())
    }

    /// Waits until all are ready and one node has held alone for long enough that nobody else is
    /// about to claim.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        let rest = self.case.scenario.pace().interval() * 4 + QUIET;
        let deadline = Instant::now() + LIMIT;
        loop {
            // Also before the first look: what was just started shows its consequences first.
            self.interrupt.pause(Duration::from_millis(500))?;
            let holdings = self.observer.holdings();
            let last = holdings.changes().last().map_or(Duration::ZERO, |change| change.at);
            let alone = holdings.now().len() == 1 && self.origin.elapsed() > last + rest;
            if alone && self.are_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.restless());
            }
        }
    }

    pub(crate) const fn case(&self) -> Case {
        self.case
    }

    pub(crate) const fn world(&self) -> &World {
        &self.world
    }

    pub(crate) const fn logs(&self) -> &Logs {
        &self.logs
    }

    /// How often a node became the holder since it started, by the daemons' own word.
    pub(crate) fn said(&self) -> Option<u64> {
        match self.case.speaker {
            Speaker::Keepalived => {
                let entered = |text: &String| text.matches("Entering MASTER STATE").count() as u64;
                Some(self.logs.texts().iter().map(entered).sum())
            }
            Speaker::Builtin => self
                .statuses()
                .map(|status| status?["virtual_routers"][0]["became_active"].as_u64())
                .sum(),
        }
    }

    /// How the kernel lets the speakers run.
    pub(crate) fn scheduling(&self) -> Result<Scheduling, Error> {
        for node in self.world.nodes() {
            if !is_realtime(self.process(node)?) {
                return Ok(Scheduling::Ordinary);
            }
        }
        Ok(Scheduling::Realtime)
    }

    /// What became of it, given what the daemons said and how they were scheduled.
    pub(crate) fn outcome(
        &self,
        window: &Range<Duration>,
        scheduling: Scheduling,
        said: Option<u64>,
    ) -> Outcome {
        Outcome::new(window, scheduling, said, &self.holdings(), &self.witness.heard())
    }

    pub(crate) fn holdings(&self) -> Holdings {
        self.observer.holdings()
    }

    fn are_ready(&self) -> bool {
        let ready = |status: Option<Value>| status.is_some_and(|status| status["ready"] == true);
        match self.case.speaker {
            Speaker::Builtin => self.statuses().all(ready),
            Speaker::Keepalived => true,
        }
    }

    fn statuses(&self) -> impl Iterator<Item = Option<Value>> {
        self.world.nodes().iter().map(status)
    }

    fn process(&self, node: &Node) -> Result<Pid, Error> {
        if self.case.speaker == Speaker::Keepalived {
            return keepalived::speaker(&directory(node));
        }
        let number = status(node).and_then(|status| status["pid"].as_i64());
        let process = number.and_then(|number| Pid::from_raw(number.try_into().ok()?));
        process.ok_or_else(|| Error::NoStatus(node.name().to_owned()))
    }

    fn restless(&self) -> Error {
        let missing = format!("{}, holders {:?}", self.case, self.observer.holders());
        let logs = self.logs.texts();
        let tails: Vec<String> = logs
            .iter()
            .map(|text| {
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
            })
            .collect();
        Error::Restless { limit: LIMIT, missing, logs: tails.join("\n---\n") }
    }
}

impl Case {
    /// Only where there is a proxy to flood.
    pub(crate) fn has_load_balancer(self) -> bool {
        self.scenario.is_everything() && self.speaker == Speaker::Builtin
    }

    fn launch(self, world: &World, node: &Node) -> Result<Launch, Error> {
        let directory = directory(node);
        let cplb = match (self.speaker, self.scheduling) {
            (Speaker::Keepalived, scheduling) => {
                return keepalived::launch(&directory, self.scenario.pace(), scheduling);
            }
            (Speaker::Builtin, Scheduling::Realtime) => Launch::new(CPLB),
            // As a container without the capability.
            (Speaker::Builtin, Scheduling::Ordinary) => Launch::new("setpriv").arguments([
                "--bounding-set=-sys_nice",
                "--inh-caps=-sys_nice",
                CPLB,
            ]),
        };
        Ok(cplb
            .argument("controller")
            .option("--config", world.directory().join("config.yaml"))
            .option("--kubeconfig", directory.join("admin.conf"))
            .option("--run-dir", &node.run_dir)
            .option("--state-dir", directory.join("state")))
    }
}

/// What the node's cplb says of itself.
fn status(node: &Node) -> Option<Value> {
    let command = node.command(CPLB).args(["status", "-o", "json", "--run-dir"]).arg(&node.run_dir);
    serde_json::from_slice(&command.output(LIMIT).ok()?.stdout).ok()
}

/// Whether any thread of the process runs before ordinary ones.
fn is_realtime(process: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.into_iter().any(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // proc_pid_stat(5): the name, in parentheses, may hold anything; field 41 is the policy.
        let policy = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(38));
        matches!(policy, Some("1" | "2"))
    })
}
