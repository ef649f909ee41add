//! A lab that runs: the world, those who watch it, and what has happened so far.

use std::net::IpAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::observer::Observer;
use crate::report::{Entry, PhaseReport, Verdict};
use crate::roles::{Role, Roles};
use crate::scenario::{Action, Target, Verb, Which};
use crate::world::{State, World};
use crate::{Error, client};

mod judge;
mod play;

pub(crate) use play::{Play, Step};

/// How long the cluster may take to become steady.
const STEADY_LIMIT: Duration = Duration::from_secs(30);
/// For so long nothing may have changed in a steady cluster.
const STEADY_FOR: Duration = Duration::from_secs(1);
/// A controller just started has not yet heard its peers.
const SETTLING: Duration = Duration::from_secs(2);
/// Lines of a log shown when something went wrong.
const LOG_LINES: usize = 8;

/// A running lab.
pub(crate) struct Session {
    // Watchers are dropped before the world they watch.
    client: Client,
    observer: Observer,
    roles: Roles,
    pub(crate) world: World,
    pub(crate) virtual_address: IpAddr,
    origin: Instant,
    scenario: Option<String>,
    timeline: Vec<Entry>,
    phases: Vec<PhaseReport>,
    cut: Vec<bool>,
    last_start: Duration,
    seen: Seen,
}

/// How far the timeline has taken in what the watchers saw.
#[derive(Default)]
struct Seen {
    holder_changes: usize,
    watch_changes: usize,
    processes: Vec<[State; 2]>,
    roles: Vec<Option<Role>>,
}

impl Session {
    /// Starts everything in a world just built.
    pub(crate) fn start(
        mut world: World,
        options: client::Options,
        scenario: Option<String>,
    ) -> Result<Self, Error> {
        let origin = Instant::now();
        let virtual_address = options.address.ip();
        let namespaces: Vec<_> = world.nodes().iter().map(|node| &*node.host().namespace).collect();
        let observer = Observer::start(&namespaces, virtual_address, origin)?;
        world.start_all()?;
        let client = Client::start(&world.client().namespace, options, origin)?;
        let roles = Roles::start(world.nodes().iter().map(|node| node.run_dir.clone()).collect())?;
        let nodes = world.nodes().len();
        Ok(Self {
            client,
            observer,
            roles,
            world,
            virtual_address,
            origin,
            scenario,
            timeline: Vec::new(),
            phases: Vec::new(),
            cut: vec![false; nodes],
            last_start: Duration::ZERO,
            seen: Seen {
                processes: vec![[State::Running; 2]; nodes],
                roles: vec![None; nodes],
                ..Seen::default()
            },
        })
    }

    /// Since the lab began.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    pub(crate) fn timeline(&self) -> &[Entry] {
        &self.timeline
    }

    pub(crate) fn figures(&self, window: &Range<Duration>) -> client::Figures {
        self.client.figures(window)
    }

    pub(crate) fn holders(&self) -> Vec<usize> {
        self.observer.holders()
    }

    pub(crate) fn role(&self, node: usize) -> Option<Role> {
        self.roles.now().get(node).cloned().flatten()
    }

    pub(crate) fn is_cut(&self, node: usize) -> bool {
        self.cut[node]
    }

    /// Takes what has happened since the last call into the timeline.
    pub(crate) fn take_note(&mut self) {
        let holdings = self.observer.holdings();
        for change in &holdings.changes()[self.seen.holder_changes..] {
            let event = match change.held {
                true => format!("holds {}", self.virtual_address),
                false => format!("lost {}", self.virtual_address),
            };
            self.note_at(change.at, self.name(change.node), event, None);
        }
        self.seen.holder_changes = holdings.changes().len();

        let watches = self.client.watch_changes();
        for change in &watches[self.seen.watch_changes..] {
            let event = if change.established { "watch established" } else { "watch cut" };
            self.note_at(change.at, "client".to_owned(), event.to_owned(), None);
        }
        self.seen.watch_changes = watches.len();
        self.note_ended_processes();
        self.note_new_roles();
        self.timeline.sort_by_key(|entry| entry.at);
    }

    /// Does something to the cluster; whom it concerned is found now.
    pub(crate) fn apply(&mut self, action: Action, reason: &str) -> Result<(), Error> {
        let nodes = self.world.nodes().len();
        match action.target {
            Target::All => {
                (0..nodes).try_for_each(|node| self.apply_to_all_of(node, action.verb, reason))
            }
            Target::Controller(which) => {
                let node = self.find(which)?;
                self.apply_to_process(node, Part::Controller, action.verb, reason)
            }
            Target::Apiserver(which) => {
                let node = self.find(which)?;
                self.apply_to_process(node, Part::Apiserver, action.verb, reason)
            }
            Target::Node(which) => {
                let node = self.find(which)?;
                self.connect(node, action.verb == Verb::Heal, reason)
            }
        }
    }

    /// Puts right what faults have done, as far as it can be done now.
    pub(crate) fn restore(&mut self) -> Result<(), Error> {
        for node in 0..self.world.nodes().len() {
            for verb in [Verb::Heal, Verb::Thaw, Verb::Start] {
                self.apply_to_all_of(node, verb, "the lab restores")?;
            }
        }
        Ok(())
    }

    /// What is missing for a steady cluster; `None` when it is one.
    pub(crate) fn missing(&mut self) -> Option<String> {
        let now = self.now();
        for node in 0..self.world.nodes().len() {
            for part in [Part::Apiserver, Part::Controller] {
                let daemon = part.of(&mut self.world, node);
                if daemon.state() != State::Running {
                    return Some(format!("{} does not run", daemon.name()));
                }
            }
        }
        if now < self.last_start + SETTLING {
            return Some("a process has only just started".to_owned());
        }
        let holders = self.holders();
        if holders.len() != 1 {
            return Some(format!("{} nodes hold {}", holders.len(), self.virtual_address));
        }
        let window = now.saturating_sub(STEADY_FOR)..now;
        if self.observer.holdings().time_with(&window, |holders| holders != 1) > Duration::ZERO {
            return Some("the virtual IP has only just moved".to_owned());
        }
        let figures = self.client.figures(&window);
        if let Some((failure, _)) = figures.failures.first_key_value() {
            return Some(format!("the client's requests fail: {failure}"));
        }
        let silent = (0..self.world.nodes().len())
            .map(|node| self.name(node))
            .find(|name| !figures.replicas.contains_key(name));
        silent.map(|name| format!("no answer by the apiserver of {name}"))
    }

    /// The last log lines of every process.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for node in self.world.nodes() {
            for daemon in [&node.controller, &node.apiserver] {
                text.push_str(&format!("--- {}\n{}\n", daemon.name(), daemon.log_tail(LOG_LINES)));
            }
        }
        text
    }

    /// The outcome so far; `complete` unless a scenario was left before its end.
    pub(crate) fn verdict(&self, complete: bool) -> Verdict {
        let met = |phase: &PhaseReport| phase.judgements.iter().all(|judgement| judgement.met);
        Verdict {
            passed: complete && self.phases.iter().all(met),
            complete,
            scenario: self.scenario.clone(),
            phases: self.phases.clone(),
            client: self.client.figures(&self.measured()),
            timeline: self.timeline.clone(),
        }
    }

    /// From the first answer until now: before it there is no silence to speak of.
    pub(crate) fn measured(&self) -> Range<Duration> {
        self.client.first_answer().unwrap_or_default()..self.now()
    }

    pub(crate) fn name(&self, node: usize) -> String {
        self.world.node(node).name().to_owned()
    }

    fn find(&self, which: Which) -> Result<usize, Error> {
        let nodes = self.world.nodes().len();
        let holder = self.holders().first().copied().unwrap_or(0);
        match which {
            Which::Holder => Ok(holder),
            Which::Standby => Ok((0..nodes).find(|node| *node != holder).unwrap_or(holder)),
            Which::Number(number) if (1..=nodes).contains(&number) => Ok(number - 1),
            Which::Number(number) => Err(Error::NoSuchNode { number, nodes }),
        }
    }

    fn apply_to_all_of(&mut self, node: usize, verb: Verb, reason: &str) -> Result<(), Error> {
        if verb.is_for_nodes() {
            return self.connect(node, verb == Verb::Heal, reason);
        }
        for part in [Part::Apiserver, Part::Controller] {
            self.apply_to_process(node, part, verb, reason)?;
        }
        Ok(())
    }

    /// Does what makes sense in the process's present state, and nothing else.
    fn apply_to_process(
        &mut self,
        node: usize,
        part: Part,
        verb: Verb,
        reason: &str,
    ) -> Result<(), Error> {
        let at = self.now();
        let daemon = part.of(&mut self.world, node);
        let state = daemon.state();
        let applies = match verb {
            Verb::Start => !state.is_alive(),
            Verb::Stop | Verb::Freeze => state == State::Running,
            Verb::Kill => state.is_alive(),
            Verb::Thaw => state == State::Frozen,
            Verb::Cut | Verb::Heal => false,
        };
        if !applies {
            return Ok(());
        }
        match verb {
            Verb::Start => daemon.start()?,
            Verb::Stop => daemon.stop()?,
            Verb::Kill => daemon.kill()?,
            Verb::Freeze => daemon.freeze()?,
            Verb::Thaw => daemon.thaw()?,
            Verb::Cut | Verb::Heal => {}
        }
        let who = daemon.name().to_owned();
        if verb == Verb::Start {
            self.last_start = at;
            self.seen.processes[node][part as usize] = State::Running;
        }
        self.note_at(at, who, verb.to_string(), Some(reason.to_owned()));
        Ok(())
    }

    fn connect(&mut self, node: usize, connected: bool, reason: &str) -> Result<(), Error> {
        if self.cut[node] != connected {
            return Ok(());
        }
        let at = self.now();
        if connected {
            self.world.heal(node)?;
        } else {
            self.world.cut(node)?;
        }
        self.cut[node] = !connected;
        let event = if connected { "heal" } else { "cut" };
        self.note_at(at, self.name(node), event.to_owned(), Some(reason.to_owned()));
        Ok(())
    }

    fn note_ended_processes(&mut self) {
        let at = self.now();
        for node in 0..self.world.nodes().len() {
            for part in [Part::Controller, Part::Apiserver] {
                let daemon = part.of(&mut self.world, node);
                let (state, name) = (daemon.state(), daemon.name().to_owned());
                let before = &mut self.seen.processes[node][part as usize];
                if state == *before {
                    continue;
                }
                *before = state;
                if let State::Ended { code } = state {
                    let reason = match code {
                        Some(code) => format!("exit code {code}"),
                        None => "by a signal".to_owned(),
                    };
                    self.note_at(at, name, "ended".to_owned(), Some(reason));
                }
            }
        }
    }

    fn note_new_roles(&mut self) {
        let at = self.now();
        for (node, role) in self.roles.now().into_iter().enumerate() {
            let Some(role) = role else { continue };
            if self.seen.roles[node].as_ref() == Some(&role) {
                continue;
            }
            let reason = Some(role.reason.clone()).filter(|reason| !reason.is_empty());
            self.note_at(at, self.name(node), format!("says it is {}", role.state), reason);
            self.seen.roles[node] = Some(role);
        }
    }

    fn note_at(&mut self, at: Duration, who: String, event: String, reason: Option<String>) {
        self.timeline.push(Entry { at, who, event, reason });
    }
}

/// One of a node's two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Controller,
    Apiserver,
}

impl Part {
    pub(crate) fn of(self, world: &mut World, node: usize) -> &mut crate::world::Daemon {
        let node = world.node_mut(node);
        match self {
            Self::Controller => &mut node.controller,
            Self::Apiserver => &mut node.apiserver,
        }
    }
}
