use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use kernel::address::VirtualAddress;
use kernel::netns::Namespace;
use lab::observer::{Holdings, Observer};
use lab::world::{Host, Plan, World};

use crate::case::Event;
use crate::client::Client;
use crate::common::adverts::Adverts;
use crate::common::error::Error;
use crate::common::interrupt::Interrupt;
use crate::common::pace::Pace;
use crate::common::speaker::{CPLB, Speaker, document};
use crate::common::{NODES, VIRTUAL_IP};
use crate::service::Service;

/// Nothing that is waited for takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// So many answers in a row are a virtual IP that is served.
const ANSWERS: usize = 250;

/// Log lines of each node that are shown when it does not come to rest.
const LOG_LINES: usize = 15;

/// Three nodes with the same speaker, a service on the virtual IP, and who watches them.
pub(crate) struct Cluster {
    // Watchers are dropped before the world they watch.
    _service: Service,
    observer: Observer,
    adverts: Adverts,
    world: World,
    origin: Instant,
    speaker: Speaker,
    pace: Pace,
    /// What has to be undone before the next event.
    harmed: Option<(usize, Event)>,
    /// How much of each log was shown.
    shown: BTreeMap<usize, usize>,
    interrupt: Interrupt,
}

impl Cluster {
    /// Builds it. Nobody speaks yet.
    pub(crate) fn build(
        speaker: Speaker,
        pace: Pace,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let address = VirtualAddress { address: VIRTUAL_IP.into(), prefix_length: 24 };
        let plan = Plan::new(Path::new(CPLB), &document(pace, true), &[address], NODES)?;
        let mut world = World::build(plan)?;
        for node in 0..NODES {
            let launch = speaker.launch(&world, world.node(node), pace)?;
            world.node_mut(node).controller.replace(launch);
        }
        let origin = Instant::now();
        let namespaces: Vec<&Namespace> =
            world.nodes().iter().map(|node| &*node.host().namespace).collect();
        Ok(Self {
            _service: Service::start(&world)?,
            observer: Observer::start(&namespaces, VIRTUAL_IP.into(), origin)?,
            adverts: Adverts::hear(world.client())?,
            world,
            origin,
            speaker,
            pace,
            harmed: None,
            shown: BTreeMap::new(),
            interrupt: interrupt.clone(),
        })
    }

    /// The host that the client is on.
    pub(crate) const fn client(&self) -> &Host {
        self.world.client()
    }

    /// Undoes the last event and waits until everybody speaks and one node holds; which.
    pub(crate) fn settle(&mut self) -> Result<usize, Error> {
        if let Some((node, event)) = self.harmed.take() {
            self.undo(node, event)?;
        }
        for node in 0..NODES {
            let daemon = &mut self.world.node_mut(node).controller;
            if !daemon.state().is_alive() {
                daemon.start()?;
            }
        }
        self.wait_for_one_holder()
    }

    /// Has the event happen to a node.
    pub(crate) fn befall(&mut self, node: usize, event: Event) -> Result<(), Error> {
        self.harmed = Some((node, event));
        let speaker = self.speaker;
        match event {
            Event::Idle => Ok(()),
            Event::LinkCut => Ok(self.world.cut(node)?),
            Event::Kill => speaker.kill(self.world.node_mut(node)),
            Event::Freeze => speaker.freeze(self.world.node_mut(node)),
            Event::Stop => Ok(self.world.node_mut(node).controller.stop()?),
            Event::Rejoin => Ok(self.world.node_mut(node).controller.start()?),
        }
    }

    /// Stops a node as planned and waits until another one holds.
    pub(crate) fn stop(&mut self, node: usize) -> Result<(), Error> {
        self.befall(node, Event::Stop)?;
        self.wait_for_end(node)?;
        self.wait_for_one_holder().map(drop)
    }

    /// Waits for an advertisement and a share of the interval.
    ///
    /// What a crash costs depends on when the last advertisement was sent. Events that come at
    /// fixed times after one make two speakers comparable.
    pub(crate) fn wait_for_phase(&self, (share, shares): (u32, u32)) -> Result<(), Error> {
        let interval = self.pace.interval();
        if !self.adverts.fresh(LIMIT)? {
            return Err(self.restless("nobody advertises".to_owned()));
        }
        // In the middle of each share: never in the same instant as an advertisement.
        self.pause(interval * (2 * share + 1) / (2 * shares))
    }

    /// Waits until the virtual IP answers the client for a while.
    pub(crate) fn wait_for_answers(&self, client: &Client) -> Result<(), Error> {
        self.wait_until("the virtual IP does not answer", || client.is_answered(ANSWERS))
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Error> {
        self.interrupt.pause(time)
    }

    /// Who held the virtual IP when, in times of [`Self::times`].
    pub(crate) fn holdings(&self) -> Holdings {
        self.observer.holdings()
    }

    /// A window since the cluster was built.
    pub(crate) fn times(&self, window: &Range<Instant>) -> Range<Duration> {
        let since = |time: Instant| time.saturating_duration_since(self.origin);
        since(window.start)..since(window.end)
    }

    /// What the speakers have logged since the last call.
    pub(crate) fn fresh_logs(&mut self) -> String {
        let mut text = String::new();
        for (number, node) in self.world.nodes().iter().enumerate() {
            let log = std::fs::read_to_string(node.controller.log()).unwrap_or_default();
            let shown = self.shown.insert(number, log.len()).unwrap_or(0);
            text.push_str(&format!("--- {}\n{}", node.name(), log.get(shown..).unwrap_or("")));
        }
        text
    }

    fn undo(&mut self, node: usize, event: Event) -> Result<(), Error> {
        match event {
            Event::Idle | Event::Rejoin => Ok(()),
            Event::LinkCut => Ok(self.world.heal(node)?),
            Event::Freeze => self.speaker.thaw(self.world.node_mut(node)),
            Event::Kill | Event::Stop => self.wait_for_end(node),
        }
    }

    fn wait_for_end(&mut self, node: usize) -> Result<(), Error> {
        let daemon = &mut self.world.node_mut(node).controller;
        if daemon.wait(LIMIT) {
            return Ok(());
        }
        Err(Error::NotEnded { name: daemon.name().to_owned(), limit: LIMIT })
    }

    /// Until one node has held alone for long enough that nobody else is about to claim.
    fn wait_for_one_holder(&self) -> Result<usize, Error> {
        let rest = self.pace.interval() * 4 + Duration::from_secs(2);
        let is_at_rest = || {
            let holdings = self.observer.holdings();
            let last = holdings.changes().last().map_or(Duration::ZERO, |change| change.at);
            holdings.now().len() == 1 && self.origin.elapsed() > last + rest
        };
        // Whatever was just done shows its consequences first.
        self.pause(rest)?;
        self.wait_until("not one holder alone", is_at_rest)?;
        let holders = self.observer.holders();
        let held = || self.restless("the holder changed".to_owned());
        holders.first().copied().ok_or_else(held)
    }

    fn wait_until(&self, missing: &str, holds: impl Fn() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + LIMIT;
        while !holds() {
            if Instant::now() > deadline {
                return Err(self.restless(missing.to_owned()));
            }
            self.pause(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn restless(&self, missing: String) -> Error {
        let logs: Vec<String> = self
            .world
            .nodes()
            .iter()
            .map(|node| format!("--- {}\n{}", node.name(), node.controller.log_tail(LOG_LINES)))
            .collect();
        let missing = format!("{missing}, holders {:?}", self.observer.holders());
        Error::Restless { limit: LIMIT, missing, logs: logs.join("\n") }
    }
}
