use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::packet::group;
use crate::{
    Action, Advertisement, DropReason, HOP_LIMIT, Instant, Peer, Peers, Reason, Settings, State,
    Transition, Version,
};

#[cfg(test)]
mod tests;

/// A virtual router: the state machine of RFC 9568 section 6.4, or of RFC 3768 for version 2.
///
/// On the wire it behaves as the RFC says. Four things go beyond it, none of which a foreign peer
/// can notice as anything but an ordinary router:
///
/// - **Readiness.** A router that cannot serve advertises half its priority, so that an equal one
///   that can takes over. If nobody is better, nothing moves.
/// - **Hand-over.** A router that leaves lowers its priority to 1 and goes on serving until its
///   heir is heard; priority 0 is only the last resort.
/// - **Ranks.** Equal routers would time out together. Each waits an extra share of the skew time
///   by its rank among the peers it knows.
/// - **Oversleeping.** An Active router that was not running for a whole down interval knows that
///   another one has taken over, and steps back instead of fighting.
#[derive(Clone, Debug)]
pub struct VirtualRouter {
    settings: Settings,
    state: State,
    since: Instant,
    ready: bool,
    leaving: bool,
    link_up: bool,
    heard_anyone: bool,
    active: Option<ActiveRouter>,
    timers: Timers,
    peers: Peers,
    counters: Counters,
    actions: VecDeque<Action>,
}

/// A received datagram of protocol 112.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The sender's address.
    pub source: IpAddr,
    /// The group or our own address.
    pub destination: IpAddr,
    /// TTL or hop limit as received.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub payload: &'a [u8],
}

/// What was sent, received and dropped since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements accepted.
    pub received: u64,
    /// Packets dropped, by [`DropReason::label`].
    pub dropped: BTreeMap<&'static str, u64>,
    /// Times this router became Active.
    pub became_active: u64,
    /// Accepted advertisements whose list of addresses differs from ours.
    pub address_mismatch: u64,
}

/// The Active router as a Backup sees it.
#[derive(Clone, Copy, Debug)]
struct ActiveRouter {
    address: IpAddr,
    priority: u8,
    /// In version 3 the Active router's own interval decides (RFC 9568 section 6.1).
    interval: Duration,
    heard: Instant,
}

/// A Backup has the first, an Active router the others.
#[derive(Clone, Copy, Debug, Default)]
struct Timers {
    active_down: Option<Instant>,
    advertise: Option<Instant>,
    /// When a hand-over without an heir ends.
    give_up: Option<Instant>,
}

/// The Active router is down after this many intervals without an advertisement, plus the skew.
const DOWN_INTERVALS: u32 = 3;

/// The priority of a router that is about to leave: any other is better.
const LEAVING_PRIORITY: u8 = 1;

/// A router of this rank or worse waits one skew time more than the first.
const LAST_RANK: u32 = 4;

const OWNER: u8 = 255;

impl VirtualRouter {
    /// A router in state Initialize. Settings that [`Settings::check`] refuses must not come here.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            state: State::Initialize,
            since: now,
            ready: true,
            leaving: false,
            link_up: true,
            heard_anyone: false,
            active: None,
            timers: Timers::default(),
            peers: Peers::default(),
            counters: Counters::default(),
            actions: VecDeque::new(),
        }
    }

    // ---- what is true now --------------------------------------------------------------------

    /// The state.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Since when the state holds.
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// The settings it runs with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The priority that is advertised at this moment.
    pub const fn priority(&self) -> u8 {
        if self.leaving {
            return LEAVING_PRIORITY;
        }
        if self.ready || self.settings.priority == OWNER {
            return self.settings.priority;
        }
        match self.settings.priority / 2 {
            // Still better than one that leaves.
            0 | 1 => LEAVING_PRIORITY + 1,
            half => half,
        }
    }

    /// Whether this node is able to serve.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether a hand-over is under way or done.
    pub const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether any other router was heard since the start.
    pub const fn heard_anyone(&self) -> bool {
        self.heard_anyone
    }

    /// The Active router that this Backup follows: address, priority, last heard.
    pub fn active_router(&self) -> Option<(IpAddr, Peer)> {
        self.active
            .map(|active| (active.address, Peer { priority: active.priority, heard: active.heard }))
    }

    /// The other routers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The counters.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When [`Self::handle_timeout`] has to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Timers { active_down, advertise, give_up } = self.timers;
        [active_down, advertise, give_up].into_iter().flatten().min()
    }

    /// What is to be done next; to be asked after every call that takes `now`, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // ---- what happens ------------------------------------------------------------------------

    /// Starts taking part: as a Backup that listens first, or as Active if it is the owner.
    pub fn start(&mut self, now: Instant) {
        if self.state != State::Initialize || self.leaving || !self.link_up {
            return;
        }
        self.active = None;
        if self.settings.priority == OWNER {
            self.become_active(now, Reason::Owner);
        } else {
            self.become_backup(now, Reason::Started);
        }
    }

    /// Leaves at once: tells the others with priority 0 and releases the addresses.
    pub fn stop(&mut self, now: Instant) {
        self.leave(now, Reason::Stopped);
    }

    /// Starts a planned hand-over. An Active router goes on serving until its heir is heard or
    /// `patience` is over; with nobody there to inherit, and for a Backup, it ends at once.
    ///
    /// The hand-over is over when the state is Initialize.
    pub fn hand_over(&mut self, now: Instant, patience: Duration) {
        if self.leaving {
            return;
        }
        self.leaving = true;
        if self.state != State::Active || self.peers.are_none() {
            return self.leave(now, Reason::Stopped);
        }
        self.timers.give_up = Some(now + patience);
        self.advertise(now);
    }

    /// Tells whether this node can serve. An Active router announces a change at once.
    pub fn set_ready(&mut self, now: Instant, ready: bool) {
        if self.ready == ready {
            return;
        }
        let before = self.own_wait();
        self.ready = ready;
        if self.state == State::Active {
            self.advertise(now);
        }
        self.adjust_down_timer(now, before);
    }

    /// Names the other control plane nodes, from configuration or from the cluster. An empty list
    /// says that there are none.
    pub fn set_peers(&mut self, now: Instant, addresses: Vec<IpAddr>) {
        let before = self.own_wait();
        self.peers.tell(addresses.into_iter().filter(|a| *a != self.settings.source).collect());
        self.adjust_down_timer(now, before);
    }

    /// Takes other settings and keeps the state: an Active router advertises them at once, a Backup
    /// goes on watching. Those that [`Settings::check`] refuses must not come here.
    pub fn reconfigure(&mut self, now: Instant, settings: Settings) {
        self.settings = settings;
        match self.state {
            State::Active => self.advertise(now),
            State::Backup => self.timers.active_down = Some(now + self.down_interval()),
            State::Initialize => {}
        }
    }

    /// Tells that the interface can or cannot carry packets.
    pub fn set_link(&mut self, now: Instant, up: bool) {
        if self.link_up == up {
            return;
        }
        self.link_up = up;
        if up {
            self.start(now);
        } else if self.state != State::Initialize {
            self.enter(now, State::Initialize, Reason::LinkDown);
        }
    }

    /// Takes a received datagram. A dropped one changes nothing but a counter.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.notice_oversleeping(now);
        let checked = self.check(datagram);
        match &checked {
            Ok(_) => self.counters.received += 1,
            Err(reason) => *self.counters.dropped.entry(reason.label()).or_default() += 1,
        }
        let advertisement = checked?;

        self.heard_anyone = true;
        self.peers.hear(datagram.source, Peer { priority: advertisement.priority, heard: now });
        if self.addresses_differ(&advertisement) {
            self.counters.address_mismatch += 1;
        }
        match self.state {
            State::Active => self.hear_as_active(now, datagram.source, &advertisement),
            _ => self.hear_as_backup(now, datagram.source, &advertisement),
        }
        Ok(())
    }

    /// To be called when [`Self::next_deadline`] has come, after everything that was received by
    /// then: a late caller must not take its own lateness for another router's silence.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.notice_oversleeping(now);
        let due = |timer: Option<Instant>| timer.is_some_and(|at| at <= now);
        if due(self.timers.active_down) {
            let reason = self.reason_to_claim(now);
            self.become_active(now, reason);
        } else if due(self.timers.give_up) {
            self.leave(now, Reason::NoHeir);
        } else if due(self.timers.advertise) {
            self.advertise(now);
        }
    }

    // ---- the rules ---------------------------------------------------------------------------

    /// The checks of RFC 9568 section 7.1, and of RFC 3768 section 7.1 for version 2.
    fn check(&self, datagram: &Datagram<'_>) -> Result<Advertisement, DropReason> {
        let Settings { version, authentication, interval, unicast_peers, .. } = &self.settings;
        if self.state == State::Initialize {
            return Err(DropReason::NotRunning);
        }
        if datagram.source == self.settings.source {
            return Err(DropReason::Own);
        }
        let (theirs, _) =
            Advertisement::parse(datagram.payload, datagram.source, datagram.destination)?;
        if theirs.virtual_router_id != self.settings.virtual_router_id {
            return Err(DropReason::OtherRouter(theirs.virtual_router_id));
        }
        // keepalived's unicast packets may be routed, so only the group's must be fresh.
        let multicast = datagram.destination.is_multicast();
        if multicast && datagram.hop_limit != HOP_LIMIT {
            return Err(DropReason::HopLimit(datagram.hop_limit));
        }
        if multicast != unicast_peers.is_empty()
            || (multicast && datagram.destination != group(datagram.source))
        {
            return Err(DropReason::Destination(datagram.destination));
        }
        if !multicast && !unicast_peers.contains(&datagram.source) {
            return Err(DropReason::NoPeer(datagram.source));
        }
        if theirs.version != *version {
            let number = |version| if version == Version::V2 { 2 } else { 3 };
            return Err(DropReason::Version {
                theirs: number(theirs.version),
                ours: number(*version),
            });
        }
        if theirs.authentication.kind() != authentication.kind() {
            return Err(DropReason::Authentication {
                theirs: theirs.authentication.kind(),
                ours: authentication.kind(),
            });
        }
        if theirs.authentication != *authentication {
            return Err(DropReason::Password);
        }
        if *version == Version::V2 && theirs.interval != *interval {
            return Err(DropReason::Interval { theirs: theirs.interval, ours: *interval });
        }
        Ok(theirs)
    }

    fn hear_as_backup(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        if theirs.priority == 0 {
            // RFC 9568 section 6.4.2, (345): wait for the skew only.
            self.active = Some(self.active_router_of(now, source, theirs));
            self.timers.active_down = Some(now + self.own_wait());
            return;
        }
        if !self.settings.preempt || theirs.priority >= self.priority() {
            self.active = Some(self.active_router_of(now, source, theirs));
            self.timers.active_down = Some(now + self.down_interval());
            return;
        }
        // A lower priority is discarded (RFC 9568 section 6.4.2, (370)): the down timer runs on.
        // If it is the Active router itself that lowered its priority, it wants to be relieved.
        let Some(active) = &mut self.active else { return };
        if active.address != source {
            return;
        }
        let lowered = theirs.priority < active.priority;
        active.priority = theirs.priority;
        active.heard = now;
        if lowered {
            let soon = now + self.own_wait();
            let down = self.timers.active_down.map_or(soon, |down| down.min(soon));
            self.timers.active_down = Some(down);
        }
    }

    fn hear_as_active(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        let ours = self.priority();
        if theirs.priority == 0 {
            return self.advertise(now);
        }
        let higher_address = theirs.priority == ours && source > self.settings.source;
        if theirs.priority < ours || (theirs.priority == ours && !higher_address) {
            // RFC 9568 section 6.4.3, (740): the other one must learn of us, and so must whoever
            // believed its announcements.
            self.advertise(now);
            self.actions.push_back(Action::Announce);
            return;
        }
        if self.leaving {
            return self.enter(now, State::Initialize, Reason::HandedOver(source));
        }
        let reason = match higher_address {
            true => Reason::HigherAddress(source),
            false => Reason::HigherPriority { address: source, theirs: theirs.priority, ours },
        };
        self.active = Some(self.active_router_of(now, source, theirs));
        self.become_backup(now, reason);
    }

    /// An Active router that did not run for a down interval was given up by the others.
    fn notice_oversleeping(&mut self, now: Instant) {
        let Some(due) = self.timers.advertise else { return };
        let late = now.saturating_since(due);
        if late < self.down_interval() || self.settings.priority == OWNER {
            return;
        }
        if self.leaving {
            return self.leave(now, Reason::Overslept(late));
        }
        self.active = None;
        self.become_backup(now, Reason::Overslept(late));
    }

    fn reason_to_claim(&self, now: Instant) -> Reason {
        let Some(active) = self.active else {
            return Reason::NobodyHeard(now.saturating_since(self.since));
        };
        let address = active.address;
        if active.priority == 0 {
            return Reason::ActiveLeft(address);
        }
        let silence = now.saturating_since(active.heard);
        if silence > active.interval * 2 || active.priority >= self.priority() {
            return Reason::ActiveSilent { address, silence };
        }
        Reason::LowerPriority { address, theirs: active.priority, ours: self.priority() }
    }

    fn become_backup(&mut self, now: Instant, reason: Reason) {
        self.enter(now, State::Backup, reason);
        self.timers.active_down = Some(now + self.down_interval());
    }

    fn become_active(&mut self, now: Instant, reason: Reason) {
        // The advertisement goes first: the other holder, if any, must let go of the addresses
        // before the neighbours hear from us.
        self.send(self.advertisement());
        self.enter(now, State::Active, reason);
        self.timers.advertise = Some(now + self.settings.interval);
        self.active = None;
        self.counters.became_active += 1;
        self.actions.push_back(Action::Announce);
    }

    fn leave(&mut self, now: Instant, reason: Reason) {
        if self.state == State::Initialize {
            return;
        }
        if self.state == State::Active {
            self.send(Advertisement { priority: 0, ..self.advertisement() });
        }
        self.enter(now, State::Initialize, reason);
    }

    /// The one place where the state changes. Timers are for the caller to set.
    fn enter(&mut self, now: Instant, to: State, reason: Reason) {
        let from = self.state;
        self.timers = Timers::default();
        self.state = to;
        self.since = now;
        match (from, to) {
            (State::Active, _) => self.actions.push_back(Action::Release),
            (_, State::Active) => self.actions.push_back(Action::Hold),
            _ => {}
        }
        self.actions.push_back(Action::Transition(Transition { at: now, from, to, reason }));
    }

    /// Re-arms the timer too: nothing but sending does.
    fn advertise(&mut self, now: Instant) {
        self.send(self.advertisement());
        self.timers.advertise = Some(now + self.settings.interval);
    }

    fn send(&mut self, advertisement: Advertisement) {
        self.counters.sent += 1;
        self.actions.push_back(Action::Advertise(advertisement));
    }

    fn advertisement(&self) -> Advertisement {
        Advertisement {
            version: self.settings.version,
            virtual_router_id: self.settings.virtual_router_id,
            priority: self.priority(),
            interval: self.settings.interval,
            authentication: self.settings.authentication,
            addresses: self.settings.addresses.clone(),
        }
    }

    fn active_router_of(
        &self,
        now: Instant,
        address: IpAddr,
        theirs: &Advertisement,
    ) -> ActiveRouter {
        ActiveRouter { address, priority: theirs.priority, interval: theirs.interval, heard: now }
    }

    fn addresses_differ(&self, theirs: &Advertisement) -> bool {
        let ours = &self.settings.addresses;
        ours.len() != theirs.addresses.len()
            || !ours.iter().all(|address| theirs.addresses.contains(address))
    }

    /// Three intervals of the Active router and the skew, plus our share by rank.
    fn down_interval(&self) -> Duration {
        self.active_interval() * DOWN_INTERVALS + self.own_wait()
    }

    fn active_interval(&self) -> Duration {
        match (self.settings.version, self.active) {
            (Version::V3, Some(active)) => active.interval,
            _ => self.settings.interval,
        }
    }

    /// (256 - priority) / 256 of a second in version 2 (RFC 3768 section 6.1), of the Active
    /// router's interval in version 3 (RFC 9568 section 6.1).
    fn skew(&self) -> Duration {
        let unit = match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.active_interval(),
        };
        unit * (256 - u32::from(self.priority())) / 256
    }

    /// What this router waits beyond the Active router's intervals.
    fn own_wait(&self) -> Duration {
        self.skew() + self.share_of_skew()
    }

    /// Readiness or rank changed while the down timer runs.
    fn adjust_down_timer(&mut self, now: Instant, before: Duration) {
        if let Some(down) = self.timers.active_down {
            self.timers.active_down = Some((down - before + self.own_wait()).max(now));
        }
    }

    fn share_of_skew(&self) -> Duration {
        let gone = self.active.map(|active| active.address);
        let rank = self.peers.rank(self.settings.source, gone);
        self.skew() * rank.min(LAST_RANK) / LAST_RANK
    }
}
