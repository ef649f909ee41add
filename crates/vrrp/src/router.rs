use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::foreign::ForeignRouters;
use crate::{
    Action, Checksum, ChecksumChoice, Counters, DropReason, Foreign, Instant, Peer, Peers, Reason,
    Settings, State,
};

mod check;
mod estate;
mod following;
mod outlook;
mod rules;
#[cfg(test)]
mod tests;
mod timing;

pub use estate::Estate;
pub use following::Lead;
pub use outlook::Outlook;

use timing::Timers;

/// A virtual router: the state machine of RFC 9568 section 6.4, or of RFC 3768 for version 2.
///
/// On the wire it behaves as the RFC says. What goes beyond it no foreign peer can notice as
/// anything but an ordinary router:
///
/// - **Readiness.** A router that cannot serve advertises half its priority, so that an equal one
///   that can takes over. If nobody is better, nothing moves.
/// - **Hand-over.** A router that leaves lowers its priority to 1 and goes on serving until its
///   heir is heard; priority 0 is only the last resort.
/// - **Ranks.** Equal routers would time out together. Each waits an extra share of the skew time by
///   its rank among the peers that it was told of, or its unicast peers. Who knows none ranks itself among those
///   that it has heard, and adds a share by a hash of its address: up to half of the skew time.
/// - **Other clusters.** Beside a router that it has refused to hear it advertises up to 4 % later,
///   without which keepalived would never speak; never so late that its own heirs notice.
/// - **Oversleeping.** An Active router that was not running until its heirs gave it up knows that
///   another one has taken over, and steps back instead of fighting.
/// - **Following.** Routers of one node may be bound to move together: [`Self::set_lead`].
/// - **Listening.** Before its first claim a router listens for a second at least, so that it
///   hears an Active router of a longer interval or another version.
///
/// An advertisement whose addresses are all unknown to us takes part in the election, as with
/// keepalived: the identifier names the virtual router, not the list (RFC 9568 section 7.1 leaves
/// its check to the implementation), which may leave addresses out. Two holders of one address
/// would be worse than an address without a holder. [`Self::foreign`] tells of such a speaker.
///
/// What is written of it is for [`Estate`], the one way to write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VirtualRouter {
    settings: Settings,
    state: State,
    since: Instant,
    ready: bool,
    tracking: i16,
    leaving: bool,
    link_up: bool,
    /// What the router says that this one follows, if any.
    lead: Option<Lead>,
    heard_anyone: bool,
    /// When the start-up delay ends, once it has begun.
    begins: Option<Instant>,
    /// The Active router as a Backup knows it.
    active: Option<ActiveRouter>,
    /// When the delay ends that an Active router of lower priority is granted.
    preempts: Option<Instant>,
    /// Another owner of the addresses.
    rival: Option<Rival>,
    /// An owner no more: another one was there.
    demoted: bool,
    /// The form of the last accepted checksum.
    learned: Checksum,
    timers: Timers,
    peers: Peers,
    #[serde(rename = "last_refused")]
    foreign: ForeignRouters,
    #[serde(skip)]
    counters: Counters,
    #[serde(skip)]
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

/// The Active router as a Backup sees it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ActiveRouter {
    address: IpAddr,
    priority: u8,
    /// In version 3 the Active router's own interval decides (RFC 9568 section 6.1).
    interval: Duration,
    heard: Instant,
}

/// Another owner of the addresses, from its first advertisement to its last.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Rival {
    first: Instant,
    last: Instant,
}

/// The priority of a router that is about to leave: any other is better.
const LEAVING_PRIORITY: u8 = 1;

/// The best priority of a router that does not own the addresses.
const BEST_PRIORITY: u8 = 254;

const OWNER: u8 = 255;

impl VirtualRouter {
    /// A router in state Initialize. Settings that [`Settings::check`] refuses must not come here.
    pub fn new(settings: Settings, now: Instant) -> Self {
        let mut peers = Peers::default();
        peers.set_unicast(&settings.unicast_peers);
        Self {
            settings,
            state: State::Initialize,
            since: now,
            ready: true,
            tracking: 0,
            leaving: false,
            link_up: true,
            lead: None,
            heard_anyone: false,
            begins: None,
            active: None,
            preempts: None,
            rival: None,
            demoted: false,
            learned: Checksum::default(),
            timers: Timers::default(),
            peers,
            foreign: ForeignRouters::default(),
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
    pub fn priority(&self) -> u8 {
        if self.leaving || self.is_giving_way() {
            return LEAVING_PRIORITY;
        }
        if self.is_owner() {
            return OWNER;
        }
        let priority = self.usual_priority();
        match self.lead {
            Some(Lead::Active) => (priority + 1).min(BEST_PRIORITY),
            _ => priority,
        }
    }

    /// That of a router on its own.
    fn usual_priority(&self) -> u8 {
        let configured = i16::from(self.settings.priority.min(BEST_PRIORITY));
        let tracked = configured.saturating_add(self.tracking).clamp(1, BEST_PRIORITY.into()) as u8;
        if self.ready {
            return tracked;
        }
        // Still better than one that leaves, and never better than ready.
        (tracked / 2).max(LEAVING_PRIORITY + 1).min(tracked)
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

    /// The Active router that a Backup knows: address, priority, last heard. One of a lower
    /// priority is not followed, only tolerated until the down timer ends.
    pub fn active_router(&self) -> Option<(IpAddr, Peer)> {
        self.active
            .map(|active| (active.address, Peer { priority: active.priority, heard: active.heard }))
    }

    /// The other routers.
    pub const fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Who else speaks for this virtual router identifier and seems to be none of ours; the
    /// latest 32.
    pub fn foreign(&self) -> impl Iterator<Item = (IpAddr, &Foreign)> {
        self.foreign.iter()
    }

    /// The form of version 3's checksum over IPv4 to send now, for [`crate::Advertisement::emit`].
    pub const fn checksum(&self) -> Checksum {
        match self.settings.checksum {
            ChecksumChoice::Auto => self.learned,
            ChecksumChoice::Fixed(checksum) => checksum,
        }
    }

    /// The counters.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// When [`Self::handle_timeout`] has to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Timers { start, down: _, advertise, give_up } = self.timers;
        [start, self.next_claim(), advertise, give_up].into_iter().flatten().min()
    }

    /// When a Backup becomes Active if nothing is heard until then. One that follows another
    /// router claims with it.
    pub fn next_claim(&self) -> Option<Instant> {
        match self.lead {
            None => self.timers.down.map(|down| down + self.claim_delay()),
            Some(Lead::Active) => self.timers.down,
            Some(Lead::Backup | Lead::Undecided) => None,
        }
    }

    /// What is to be done next; to be asked after every call that takes `now`, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // ---- what happens ------------------------------------------------------------------------

    /// Starts taking part, after the start-up delay: as a Backup that listens first, or as Active
    /// if it is the owner.
    pub fn start(&mut self, now: Instant) {
        if self.state != State::Initialize || self.leaving || !self.link_up {
            return;
        }
        let begins = *self.begins.get_or_insert(now + self.settings.startup_delay);
        if now < begins {
            self.timers.start = Some(begins);
        } else if self.is_owner() {
            self.become_active(now, Reason::Owner);
        } else {
            self.listen(now);
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
        self.notice_oversleeping(now);
        self.leaving = true;
        if self.state != State::Active || self.peers.are_none() {
            return self.leave(now, Reason::Stopped);
        }
        self.timers.give_up = Some(now + patience);
        self.advertise(now);
    }

    /// Tells whether this node can serve. An Active router announces a change at once.
    pub fn set_ready(&mut self, now: Instant, ready: bool) {
        self.change_priority(now, |router| router.ready = ready);
    }

    /// Adds the sum of what is tracked to the priority, usually a penalty; the result stays
    /// within 1 and 254. Owners have a fixed priority. An Active router announces a change at once.
    pub fn set_tracking(&mut self, now: Instant, adjustment: i16) {
        self.change_priority(now, |router| router.tracking = adjustment);
    }

    /// Names the other control plane nodes, from configuration or from the cluster. An empty list
    /// says that there are none.
    pub fn set_peers(&mut self, addresses: Vec<IpAddr>) {
        self.peers.tell(addresses.into_iter().filter(|a| *a != self.settings.source).collect());
    }

    /// Takes other settings and keeps the state: an Active router advertises them at once, a Backup
    /// goes on watching. Those that [`Settings::check`] refuses must not come here.
    pub fn reconfigure(&mut self, now: Instant, settings: Settings) {
        self.notice_oversleeping(now);
        // Whoever changes the priority of one of two owners has been heard.
        self.demoted &= self.settings.priority == settings.priority;
        let identity = |settings: &Settings| (settings.version, settings.virtual_router_id);
        if identity(&self.settings) != identity(&settings) {
            // Another virtual router, whose Active router is yet to be heard.
            self.active = None;
            self.heard_anyone = false;
        }
        self.peers.set_unicast(&settings.unicast_peers);
        self.settings = settings;
        match self.state {
            State::Active => self.advertise(now),
            State::Backup if self.is_owner() => self.become_active(now, Reason::Owner),
            State::Backup => self.watch(now),
            State::Initialize => {}
        }
    }

    /// Has an Active router advertise at once: it then has a whole interval before the next time.
    pub fn advertise_now(&mut self, now: Instant) {
        self.notice_oversleeping(now);
        if self.state == State::Active {
            self.advertise(now);
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

    /// Takes a received datagram. A dropped one changes nothing but counters and
    /// [`Self::foreign`].
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        self.notice_oversleeping(now);
        let admitted = self.admit(now, datagram);
        match &admitted {
            Ok(_) => self.counters.received += 1,
            Err(reason) => *self.counters.dropped.entry(reason.label()).or_default() += 1,
        }
        let advertisement = admitted?;
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
        if due(self.timers.start) {
            self.timers.start = None;
            self.start(now);
        } else if due(self.next_claim()) {
            let reason = self.reason_to_claim(now);
            self.become_active(now, reason);
        } else if due(self.timers.give_up) && self.leaving {
            self.leave(now, Reason::NoHeir);
        } else if due(self.timers.give_up) {
            self.step_down_without_heir(now);
        } else if due(self.timers.advertise) {
            self.advertise(now);
        }
    }
}
