use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrp::packet::group;
use vrrp::{
    Action, Authentication, ChecksumChoice, Datagram, DropReason, Instant, Settings, State,
    Transition, Version, VirtualRouter,
};

use crate::network::{Network, Packet};
use crate::node::{Clock, Condition, Node};

/// Routers 10.0.0.1, 10.0.0.2, ... on one segment.
pub(crate) struct Lan {
    pub(crate) now: Instant,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// If there are any, router n leads router n + pairs of the same machine.
    pub(crate) pairs: usize,
    /// Whether the routers are told of one another.
    pub(crate) acquainted: bool,
    /// Who held the addresses, whenever that changed.
    pub(crate) history: Vec<(Instant, Vec<usize>)>,
    /// Every change of state.
    pub(crate) transitions: Vec<(usize, Transition)>,
}

/// Routers that do not come to rest must not keep a test running for ever.
const MOST_EVENTS: usize = 2_000_000;

/// The address of a node.
pub(crate) fn address(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + number as u8))
}

/// The settings that k0s gives to all its nodes.
pub(crate) fn settings(number: usize) -> Settings {
    Settings {
        virtual_router_id: 51,
        version: Version::V2,
        priority: 200,
        interval: Duration::from_secs(1),
        preempt: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        authentication: Authentication::password("BuyK0s"),
        checksum: ChecksumChoice::Auto,
        source: address(number),
        unicast_peers: vec![],
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))],
    }
}

/// The router as it is in another process.
fn successor(router: &VirtualRouter) -> VirtualRouter {
    let estate = serde_json::to_vec(&router.estate()).expect("all of it can be written");
    VirtualRouter::resume(serde_json::from_slice(&estate).expect("what was written can be read"))
}

impl Lan {
    /// Nodes with these settings and clocks, all started now.
    pub(crate) fn new(nodes: impl IntoIterator<Item = (Settings, Clock)>, seed: u64) -> Self {
        let now = Instant::new(Duration::from_secs(1_000));
        let nodes = nodes.into_iter().map(|(settings, clock)| {
            assert_eq!(settings.check(), Ok(()));
            Node::new(settings, clock, now)
        });
        let mut lan = Self {
            now,
            network: Network::new(seed),
            nodes: nodes.collect(),
            pairs: 0,
            acquainted: true,
            history: vec![],
            transitions: vec![],
        };
        for number in 0..lan.nodes.len() {
            lan.boot(number);
        }
        lan
    }

    /// Nodes as k0s configures them.
    pub(crate) fn of_equals(count: usize) -> Self {
        Self::new((0..count).map(|number| (settings(number), Clock::default())), 0)
    }

    // ---- what goes wrong ---------------------------------------------------------------------

    pub(crate) fn crash(&mut self, number: usize) {
        self.nodes[number].condition = Condition::Crashed;
        self.note_holders();
    }

    /// Starts a node anew, whatever it was doing.
    pub(crate) fn restart(&mut self, number: usize) {
        let Node { settings, clock, .. } = &self.nodes[number];
        self.nodes[number] = Node::new(settings.clone(), *clock, self.now);
        self.boot(number);
    }

    /// Another process goes on in place of a node's, in no time; it does what the other one would.
    pub(crate) fn succeed(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        if !node.runs() {
            return;
        }
        let successor = successor(&node.router);
        let now = node.clock.read(self.now);
        assert_eq!(successor.outlook(now), node.router.outlook(now));
        node.router = successor;
        node.ask_for_deadline();
    }

    /// Another process takes the place of a node's, which has been frozen, and goes on with what it
    /// had left: to be thawed.
    pub(crate) fn succeed_frozen(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.router = successor(&node.router);
    }

    pub(crate) fn freeze(&mut self, number: usize) {
        if self.nodes[number].runs() {
            self.nodes[number].condition = Condition::Frozen;
            self.note_holders();
        }
    }

    pub(crate) fn thaw(&mut self, number: usize) {
        if self.nodes[number].condition != Condition::Frozen {
            return;
        }
        self.nodes[number].condition = Condition::Running;
        for packet in std::mem::take(&mut self.nodes[number].queue) {
            self.deliver(&packet);
        }
        let link_up = self.nodes[number].link_up;
        self.with_router(number, |router, now| {
            router.handle_timeout(now);
            router.set_link(now, link_up);
        });
    }

    /// Only nodes with the same part number hear one another.
    pub(crate) fn partition(&mut self, part_of: impl Fn(usize) -> usize) {
        self.network.heal();
        let count = self.nodes.len();
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
            if part_of(a) != part_of(b) {
                self.network.cut(a, b);
            }
        }
    }

    pub(crate) fn set_link(&mut self, number: usize, up: bool) {
        self.nodes[number].link_up = up;
        self.with_router(number, |router, now| router.set_link(now, up));
    }

    /// Lets something happen to a router that runs.
    pub(crate) fn with_router(
        &mut self,
        number: usize,
        happen: impl FnOnce(&mut VirtualRouter, Instant),
    ) {
        let node = &mut self.nodes[number];
        if node.runs() {
            happen(&mut node.router, node.clock.read(self.now));
            self.perform(number);
        }
    }

    // ---- what comes of it --------------------------------------------------------------------

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..MOST_EVENTS {
            let timers = self.nodes.iter().filter_map(Node::next_deadline);
            let next = timers.chain(self.network.next_arrival()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while let Some(packet) = self.network.arrived(self.now) {
                self.deliver(&packet);
            }
            for number in 0..self.nodes.len() {
                if self.nodes[number].next_deadline().is_some_and(|at| at <= self.now) {
                    self.with_router(number, VirtualRouter::handle_timeout);
                }
            }
        }
        panic!("the routers do not come to rest: {:?}", self.transitions);
    }

    pub(crate) fn holders(&self) -> Vec<usize> {
        let holds = |node: &Node| node.runs() && node.router.state() == State::Active;
        (0..self.nodes.len()).filter(|number| holds(&self.nodes[*number])).collect()
    }

    pub(crate) fn holder(&self) -> usize {
        let holders = self.holders();
        assert_eq!(holders.len(), 1, "exactly one holder at {:?}: {:?}", self.now, self.history);
        holders[0]
    }

    /// Forgets the past; what is true now begins the new history.
    pub(crate) fn begin_history(&mut self) {
        self.transitions.clear();
        self.history = vec![(self.now, self.holders())];
    }

    /// The longest time without interruption, in the history, that the count of holders among
    /// `members` was as asked for.
    pub(crate) fn longest(&self, members: &[usize], asked: impl Fn(usize) -> bool) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = None;
        for (at, holders) in &self.history {
            let count = members.iter().filter(|member| holders.contains(member)).count();
            since = match (asked(count), since) {
                (true, since) => since.or(Some(*at)),
                (false, Some(since)) => {
                    longest = longest.max(at.saturating_since(since));
                    None
                }
                (false, None) => None,
            };
        }
        let still = since.map_or(Duration::ZERO, |since| self.now.saturating_since(since));
        longest.max(still)
    }

    pub(crate) fn boot(&mut self, number: usize) {
        // Those of the own family, whoever runs.
        let family = if self.pairs == 0 { self.nodes.len() } else { self.pairs };
        let begin = number / family * family;
        let peers: Vec<IpAddr> = (begin..begin + family).map(address).collect();
        let (link_up, acquainted) = (self.nodes[number].link_up, self.acquainted);
        self.with_router(number, |router, now| {
            router.set_link(now, link_up);
            if acquainted {
                router.set_peers(peers);
            }
            router.start(now);
        });
    }

    fn deliver(&mut self, packet: &Packet) {
        let destination = group(address(packet.from));
        let node = &mut self.nodes[packet.to];
        match node.condition {
            Condition::Crashed => return,
            Condition::Frozen => return node.queue.push(packet.clone()),
            Condition::Running if !node.link_up => return,
            Condition::Running => {}
        }
        let taken = node.router.handle_datagram(
            node.clock.read(self.now),
            &Datagram {
                source: address(packet.from),
                destination,
                hop_limit: 255,
                payload: &packet.payload,
            },
        );
        assert!(matches!(taken, Ok(()) | Err(DropReason::NotRunning)), "{taken:?}");
        self.perform(packet.to);
    }

    /// Does what a router wants done, and tells the other one of its pair.
    fn perform(&mut self, number: usize) {
        self.perform_alone(number);
        if self.pairs == 0 {
            return;
        }
        let (leader, follower) = (number % self.pairs, number % self.pairs + self.pairs);
        let now = self.nodes[follower].clock.read(self.now);
        if self.nodes[leader].runs() && self.nodes[follower].runs() {
            let leader = &self.nodes[leader].router;
            let lead = (!leader.is_leaving()).then(|| leader.lead());
            self.nodes[follower].router.set_lead(now, lead);
            self.perform_alone(follower);
        }
    }

    fn perform_alone(&mut self, number: usize) {
        let mut changed = false;
        while let Some(action) = self.nodes[number].router.poll_action() {
            match action {
                Action::Advertise(advertisement) => {
                    let source = address(number);
                    let checksum = self.nodes[number].router.checksum();
                    let payload = advertisement.emit(source, group(source), checksum).into();
                    self.send(Packet { from: number, to: number, payload });
                }
                Action::Transition(transition) => {
                    changed = true;
                    self.transitions.push((number, transition));
                }
                Action::Hold | Action::Announce | Action::Release => {}
            }
        }
        self.nodes[number].ask_for_deadline();
        if changed {
            self.note_holders();
        }
    }

    /// To everybody else on the segment.
    fn send(&mut self, packet: Packet) {
        if !self.nodes[packet.from].link_up {
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != packet.from) {
            self.network.send(self.now, &Packet { to, ..packet.clone() });
        }
    }

    fn note_holders(&mut self) {
        let holders = self.holders();
        if self.history.last().is_none_or(|(_, last)| *last != holders) {
            self.history.push((self.now, holders));
        }
    }
}
