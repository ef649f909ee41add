use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::SystemTime;

use kernel::address::VirtualAddress;
use kernel::link::Link;
use kernel::vrrp_socket::LARGEST_DATAGRAM;
use vrrp::{Action, Advertisement, Instant, Lead, State, Transition, Version, VirtualRouter};

use crate::announcements::Announcements;
use crate::claim::FirstClaim;
use crate::keeper::{Holding, Keeper};
use crate::outbox::Outboxes;
use crate::{Error, Event, Instance, InstanceStatus, PastTransition};

mod holding;
mod passing;
mod tools;

use tools::{Tools, mac, witness};

/// One virtual router at work on its interface: does what the state machine wants done.
pub(crate) struct Running {
    number: usize,
    instance: Instance,
    router: VirtualRouter,
    leader: Option<Leader>,
    tools: Option<Tools>,
    claim: FirstClaim,
    announcements: Announcements,
    /// Whether the addresses are on the interface: nobody is told of them before.
    held: bool,
    /// Until when the addresses stay although the heir is Active: until it has announced them.
    parting: Option<Instant>,
    /// The addresses that another host announced since this one was Active.
    announced: BTreeSet<IpAddr>,
    /// When another host's announcement was last answered by a burst.
    defended: Option<Instant>,
    transitions: VecDeque<PastTransition>,
    told: Told,
}

/// What an instance of IPv6 is told of the one of IPv4 that it goes with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leader {
    source: IpAddr,
    lead: Lead,
    next_claim: Option<Instant>,
}

/// What all instances share on the thread.
pub(crate) struct Machine<'a> {
    pub(crate) keeper: &'a Keeper,
    pub(crate) service_alive: bool,
    pub(crate) tell: &'a dyn Fn(Event),
}

/// What was told already, so that a repeated trouble is one log line a state.
#[derive(Debug, Default)]
struct Told(BTreeSet<(IpAddr, &'static str)>);

const TRANSITIONS_KEPT: usize = 16;

/// A forger of sources must fill neither memory nor log.
const MOST_TOLD: usize = 64;

/// A flood must not keep the thread from its timers; what is left is read at the next turn.
const DATAGRAMS_A_TURN: usize = 512;

impl Running {
    /// Its router is not started yet.
    pub(crate) fn open(number: usize, instance: Instance, now: Instant) -> Result<Self, Error> {
        instance
            .router
            .check()
            .map_err(|source| Error::Settings { instance: instance.name.clone(), source })?;
        let mac = mac(&instance.link)?;
        let kernel = |source| Error::Kernel {
            instance: instance.name.clone(),
            interface: instance.link.name.clone(),
            source,
        };
        let tools = Tools::open(&instance, mac).map_err(kernel)?;
        let claim = FirstClaim::new(&instance, mac).map_err(kernel)?;
        let mut router = VirtualRouter::new(instance.router.clone(), now);
        if !instance.link.up {
            router.set_link(now, false);
        }
        Ok(Self {
            number,
            instance,
            router,
            leader: None,
            tools: Some(tools),
            claim,
            announcements: Announcements::none(),
            held: false,
            parting: None,
            announced: BTreeSet::new(),
            defended: None,
            transitions: VecDeque::new(),
            told: Told::default(),
        })
    }

    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn router(&mut self) -> &mut VirtualRouter {
        &mut self.router
    }

    pub(crate) fn speaks_from(&self, address: IpAddr) -> bool {
        self.instance.router.source == address
    }

    pub(crate) fn is_over(&self) -> bool {
        self.router.is_leaving()
            && self.router.state() == State::Initialize
            && self.parting.is_none()
    }

    /// Whether this instance follows the other one: both virtual routers of one name move together,
    /// and IPv4 leads. One that leaves leads nobody.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        self.instance.name == other.instance.name
            && self.instance.router.source.is_ipv6()
            && other.instance.router.source.is_ipv4()
            && !other.router.is_leaving()
    }

    /// What those that follow it have to know.
    pub(crate) fn as_leader(&self) -> Leader {
        Leader {
            source: self.instance.router.source,
            lead: self.router.lead(),
            next_claim: self.router.next_claim(),
        }
    }

    /// Goes with the leader, if there is one. An error means that this node must not take part.
    pub(crate) fn follow(&mut self, now: Instant, leader: Option<Leader>) -> Result<(), Error> {
        self.leader = leader;
        let lead = leader.map(|leader| leader.lead);
        if lead == Some(Lead::Active)
            && self.router.state() == State::Backup
            && let Some(objection) = self.claim.objection(&self.router, &self.instance)
        {
            return Err(objection);
        }
        self.router.set_lead(now, lead);
        Ok(())
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let tools = self.tools.iter();
        tools.flat_map(|tools| [tools.socket.as_fd(), tools.witness.as_fd()])
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let claim = self.claim.next(self.next_claim());
        [self.router.next_deadline(), self.announcements.next(), claim, self.parting]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes other settings without leaving the state.
    pub(crate) fn update(&mut self, now: Instant, to: Instance, keeper: &Keeper) {
        self.end_parting(keeper);
        let active = self.router.state() == State::Active;
        let dropped = |held: &&VirtualAddress| !to.addresses.contains(held);
        let gone: Vec<VirtualAddress> =
            self.instance.addresses.iter().filter(dropped).copied().collect();
        if active && !gone.is_empty() {
            keeper.release(self.number, Holding { addresses: gone, ..self.holding() });
        }
        // The interface as it is now, which the settings may know less well.
        let link = self.instance.link.clone();
        self.router.reconfigure(now, to.router.clone());
        self.instance = Instance { link, ..to };
        if let Some(tools) = &mut self.tools
            && let Ok(witness) = witness(&self.instance, tools.mac)
        {
            tools.witness = witness;
        }
        if active {
            self.hold(keeper);
        }
    }

    pub(crate) fn receive(&mut self, now: Instant, tell: &dyn Fn(Event)) {
        self.receive_advertisements(now, tell);
        self.receive_announcements(now);
    }

    fn receive_advertisements(&mut self, now: Instant, tell: &dyn Fn(Event)) {
        let Some(tools) = &self.tools else { return };
        let mut buffer = [0; LARGEST_DATAGRAM];
        for _ in 0..DATAGRAMS_A_TURN {
            let Ok(Some(received)) = tools.socket.receive(&mut buffer) else { return };
            let source = received.source;
            let before = self.router.counters().address_mismatch;
            let result = self.router.handle_datagram(
                now,
                &vrrp::Datagram {
                    source,
                    destination: received.destination,
                    hop_limit: received.hop_limit,
                    payload: received.payload,
                },
            );
            let instance = || self.instance.name.clone();
            match result {
                // Several virtual routers on one interface hear one another; that is no news.
                Err(vrrp::DropReason::OtherRouter(_) | vrrp::DropReason::NotRunning) => {}
                Err(reason) if self.told.is_news(source, reason.label()) => {
                    tell(Event::Dropped { instance: instance(), source, reason });
                }
                Ok(())
                    if self.router.counters().address_mismatch > before
                        && self.told.is_news(source, "addresses") =>
                {
                    tell(Event::AddressesDiffer { instance: instance(), source });
                }
                _ => {}
            }
        }
    }

    /// Lets timers fire. An error means that this node must not take part.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        self.claim.turn(now, self.next_claim(), &self.router, &self.instance);
        if self.router.next_deadline().is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        if let Some(objection) = self.claim.objection(&self.router, &self.instance) {
            return Err(objection);
        }
        self.router.handle_timeout(now);
        Ok(())
    }

    /// Does what the state machine wants done, in its order.
    pub(crate) fn perform(&mut self, now: Instant, machine: &Machine<'_>, outboxes: &mut Outboxes) {
        while let Some(action) = self.router.poll_action() {
            match action {
                Action::Advertise(advertisement) => self.advertise(&advertisement, machine.tell),
                Action::Hold => self.hold(machine.keeper),
                Action::Announce if self.held => self.announcements.start(now),
                // Comes with the addresses.
                Action::Announce => {}
                // With the transition that comes next, which tells why.
                Action::Release => {}
                Action::Transition(transition) => {
                    if transition.from == State::Active {
                        self.part(now, transition.reason, machine.keeper);
                    }
                    self.note(transition, machine.tell);
                }
            }
        }
        if self.parting.is_some_and(|until| until <= now) || self.is_announced_by_heir() {
            self.end_parting(machine.keeper);
        }
        if self.announcements.take(now) {
            self.announce(outboxes);
        }
    }

    /// Follows the interface: down and up, and made anew under the same name.
    pub(crate) fn link_changed(&mut self, now: Instant, link: &Link, tell: &dyn Fn(Event)) {
        let same = link.index == self.instance.link.index;
        if !same && (link.name != self.instance.link.name || self.tools.is_some()) {
            return;
        }
        self.instance.link = link.clone();
        let current = self.tools.as_ref().map(|tools| tools.mac);
        if link.up && (current.is_none() || current != link.mac) {
            let opened = mac(link).map_err(|error| error.to_string()).and_then(|mac| {
                Tools::open(&self.instance, mac).map_err(|error| error.to_string())
            });
            match opened {
                Ok(tools) => {
                    self.tools = Some(tools);
                    if self.held {
                        // The neighbours know the address that was.
                        self.announcements.start_anew(now);
                    }
                }
                Err(error) => {
                    let instance = self.instance.name.clone();
                    return tell(Event::Trouble { instance, error });
                }
            }
        }
        if let (true, Some(tools)) = (link.up, &self.tools) {
            // Switches that snoop forget a group while the link is down.
            let _ = tools.socket.rejoin();
        }
        self.router.set_link(now, link.up);
    }

    pub(crate) fn link_gone(&mut self, now: Instant, index: u32) {
        if index == self.instance.link.index {
            self.tools = None;
            self.parting = self.parting.map(|_| now);
            self.router.set_link(now, false);
        }
    }

    pub(crate) fn status(&self) -> InstanceStatus {
        let router = &self.router;
        let settings = router.settings();
        InstanceStatus {
            name: self.instance.name.clone(),
            interface: self.instance.link.name.clone(),
            virtual_router_id: settings.virtual_router_id,
            version: if settings.version == Version::V2 { 2 } else { 3 },
            source: settings.source,
            state: router.state(),
            since: router.since(),
            priority: (router.priority(), settings.priority),
            ready: router.is_ready(),
            leaving: router.is_leaving(),
            addresses: self.instance.addresses.clone(),
            follows: self.leader.map(|leader| leader.source),
            active_router: router.active_router(),
            peers: router.peers().heard().collect(),
            foreign: router.foreign().map(|(source, it)| (source, it.clone())).collect(),
            checksum: router.checksum(),
            counters: router.counters().clone(),
            transitions: self.transitions.iter().copied().collect(),
        }
    }

    /// When its first claim comes: that of its leader, if it has one.
    fn next_claim(&self) -> Option<Instant> {
        let own = self.router.next_claim();
        self.leader.map_or(own, |leader| leader.next_claim.or(own))
    }

    fn advertise(&mut self, advertisement: &Advertisement, tell: &dyn Fn(Event)) {
        let Some(tools) = &mut self.tools else { return };
        let settings = self.router.settings();
        let group = [vrrp::packet::group(settings.source)];
        let destinations = match settings.unicast_peers.as_slice() {
            [] => &group,
            peers => peers,
        };
        for destination in destinations {
            let packet = advertisement.emit(settings.source, *destination, self.router.checksum());
            if let Err(error) = tools.socket.send(settings.source, *destination, &packet)
                && self.told.is_news(*destination, "send")
            {
                let error = format!("cannot send an advertisement to {destination}: {error}");
                tell(Event::Trouble { instance: self.instance.name.clone(), error });
            }
        }
    }

    fn note(&mut self, transition: Transition, tell: &dyn Fn(Event)) {
        if self.transitions.len() == TRANSITIONS_KEPT {
            self.transitions.pop_front();
        }
        self.transitions.push_back(PastTransition { time: SystemTime::now(), transition });
        self.told = Told::default();
        tell(Event::Transition { instance: self.instance.name.clone(), transition });
    }
}

impl Told {
    fn is_news(&mut self, who: IpAddr, what: &'static str) -> bool {
        self.0.len() < MOST_TOLD && self.0.insert((who, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_and_a_forger_is_not_believed_for_ever() {
        let mut told = Told::default();
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        assert!(told.is_news(one, "password"));
        assert!(!told.is_news(one, "password"));
        assert!(told.is_news(one, "version") && told.is_news(other, "password"));
        let forged = (0..=255).map(|last| IpAddr::from([10, 1, 0, last]));
        assert_eq!(forged.filter(|it| told.is_news(*it, "password")).count(), 61);
    }
}
