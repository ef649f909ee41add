use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use vrrp::packet::group;
use vrrp::{Action, Datagram, Instant, Outlook, Reason, State, VirtualRouter};

/// The segment at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// The routers of the first family, then those of the second.
    pub(crate) nodes: Vec<Node>,
    pub(crate) machines: usize,
    pub(crate) in_flight: Vec<Packet>,
    pub(crate) faults_left: u8,
    pub(crate) watch: Watch,
    /// A router that had not overslept left its state and came back in the last turn.
    pub(crate) wavered: bool,
}

/// Where a router runs.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Off,
    Running(VirtualRouter),
    /// With what its socket keeps for it.
    Frozen(VirtualRouter, Vec<Packet>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Packet {
    pub(crate) to: usize,
    from: usize,
    /// When it has arrived or is lost.
    by: Instant,
    payload: Arc<[u8]>,
}

/// Since when something is so that must not stay so; a fault begins the time anew.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) nobody_holds: Option<Instant>,
    pub(crate) several_hold: Option<Instant>,
    pub(crate) better_waits: Option<Instant>,
    /// The families are held, but not by the same machines.
    pub(crate) apart: Option<Instant>,
}

/// With priorities of 192 (ready) and 96 (not), and 128 and 64, all skews and their quarters are
/// multiples of a 64th of this.
pub(crate) const INTERVAL: Duration = Duration::from_millis(2_560);
const SIXTEENTH: Duration = Duration::from_millis(160);

/// A packet arrives at any time up to this.
pub(crate) const LONGEST_FLIGHT: Duration = SIXTEENTH;

/// What does not fit into a frozen node's socket is lost.
const SOCKET_BUFFER: usize = 2;

pub(crate) fn address(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + number as u8))
}

impl Moment {
    /// When something has to happen, if nothing happens before.
    pub(crate) fn next(&self) -> Option<Instant> {
        let timers = self.routers().filter_map(VirtualRouter::next_deadline);
        timers.chain(self.in_flight.iter().map(|packet| packet.by)).min()
    }

    /// Those that run.
    pub(crate) fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        running(&self.nodes)
    }

    /// The routers of each family that run. No family hears another.
    fn families(&self) -> impl Iterator<Item = impl Iterator<Item = &VirtualRouter> + Clone> {
        self.nodes.chunks(self.machines).map(running)
    }

    /// Those that follow nobody.
    pub(crate) fn leaders(&self) -> impl Iterator<Item = &VirtualRouter> {
        running(&self.nodes[..self.machines])
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.routers().filter(holds)
    }

    /// The routers of a machine: one of each family.
    pub(crate) fn routers_of(&self, machine: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        (machine..self.nodes.len()).step_by(self.machines)
    }

    pub(crate) fn time_since(&self, since: Option<Instant>) -> Duration {
        since.map_or(Duration::ZERO, |since| self.now.saturating_since(since))
    }

    /// Three intervals, what an heir waits beyond them, and the flight of what was heard last.
    pub(crate) fn longest_down_interval(&self) -> Duration {
        INTERVAL * 3 + self.longest_claim_delay() + LONGEST_FLIGHT
    }

    /// The skew of (256 - priority) / 256 intervals (RFC 9568 section 6.1), and a quarter of it by
    /// rank for each of the others.
    pub(crate) fn longest_claim_delay(&self) -> Duration {
        let skew = |router: &VirtualRouter| match router.priority() {
            192 => SIXTEENTH * 4,
            128 => SIXTEENTH * 8,
            96 => SIXTEENTH * 10,
            64 => SIXTEENTH * 12,
            _ => Duration::ZERO,
        };
        let skew = self.routers().map(skew).max().unwrap_or_default();
        skew + skew * (self.machines - 1) as u32 / 4
    }

    /// Lets something happen to routers of one machine, as one turn of its process.
    pub(crate) fn let_do(
        &mut self,
        routers: impl IntoIterator<Item = usize>,
        act: impl Fn(usize, &mut VirtualRouter),
    ) {
        let mut machine = None;
        for number in routers {
            if let Node::Running(router) = &mut self.nodes[number] {
                act(number, router);
                machine = Some(number % self.machines);
            }
        }
        let Some(machine) = machine else { return };
        self.move_together(machine);
        self.wavered = false;
        for number in self.routers_of(machine) {
            self.perform(number);
        }
    }

    /// The router of the first family leads the other one.
    fn move_together(&mut self, machine: usize) {
        let now = self.now;
        let (first, others) = self.nodes.split_at_mut(self.machines);
        let Node::Running(leader) = &first[machine] else { return };
        let lead = (!leader.is_leaving()).then(|| leader.lead());
        if let Some(Node::Running(follower)) = others.get_mut(machine) {
            follower.set_lead(now, lead);
        }
    }

    /// Does what a router wants done.
    fn perform(&mut self, number: usize) {
        let Node::Running(router) = &mut self.nodes[number] else { return };
        let (mut sent, mut transitions) = (vec![], vec![]);
        while let Some(action) = router.poll_action() {
            match action {
                Action::Advertise(advertisement) => {
                    let source = address(number);
                    let payload = advertisement.emit(source, group(source), router.checksum());
                    sent.push(Arc::from(payload));
                }
                Action::Transition(transition) => transitions.push(transition),
                _ => {}
            }
        }
        // Each router notices by its own timers that it has overslept, a follower by a moment before
        // its leader, perhaps, which then still tells it to hold.
        self.wavered |= transitions.windows(2).any(|pair| {
            pair[0].from == pair[1].to && !matches!(pair[0].reason, Reason::Overslept(_))
        });
        if router.is_leaving() && router.state() == State::Initialize {
            self.nodes[number] = Node::Off;
        }
        for payload in sent {
            self.send(number, &payload);
        }
    }

    /// To the others of its family.
    fn send(&mut self, from: usize, payload: &Arc<[u8]>) {
        let begin = from / self.machines * self.machines;
        for to in (begin..begin + self.machines).filter(|to| *to != from) {
            if !matches!(self.nodes[to], Node::Off) {
                let by = self.now + LONGEST_FLIGHT;
                self.in_flight.push(Packet { to, from, by, payload: Arc::clone(payload) });
            }
        }
        // Equal moments list equal events.
        self.in_flight.sort();
    }

    pub(crate) fn deliver(&mut self, packet: Packet) {
        let now = self.now;
        if let Node::Frozen(_, kept) = &mut self.nodes[packet.to] {
            if kept.len() < SOCKET_BUFFER {
                kept.push(Packet { by: Instant::default(), ..packet });
            }
            return;
        }
        self.let_do([packet.to], |_, router| packet.arrive(now, router));
    }

    /// Lets a machine go on: first all that its sockets have kept, then the timers.
    pub(crate) fn thaw(&mut self, machine: usize) {
        let now = self.now;
        let mut kept = vec![];
        for number in self.routers_of(machine) {
            if let Node::Frozen(router, packets) = &mut self.nodes[number] {
                kept.append(packets);
                self.nodes[number] = Node::Running(router.clone());
            }
        }
        self.let_do(self.routers_of(machine), |number, router| {
            for packet in kept.iter().filter(|packet| packet.to == number) {
                packet.arrive(now, router);
            }
            router.handle_timeout(now);
        });
    }

    pub(crate) fn look(&mut self) {
        let now = self.now;
        let (mut nobody_holds, mut several_hold, mut better_waits) = (false, false, false);
        for family in self.families() {
            let holders = family.clone().filter(holds).count();
            let best = |state: State| {
                let such = family.clone().filter(|router| router.state() == state);
                such.map(VirtualRouter::priority).max()
            };
            nobody_holds |= holders == 0 && family.clone().next().is_some();
            several_hold |= holders > 1;
            better_waits |= holders > 0 && best(State::Backup) > best(State::Active);
        }
        let since = |so: bool, since: Option<Instant>| so.then(|| since.unwrap_or(now));
        self.watch = Watch {
            nobody_holds: since(nobody_holds, self.watch.nobody_holds),
            several_hold: since(several_hold, self.watch.several_hold),
            better_waits: since(better_waits, self.watch.better_waits),
            apart: since(self.is_apart(), self.watch.apart),
        };
    }

    /// A family that nobody holds is told of elsewhere.
    fn is_apart(&self) -> bool {
        let active = |node: &Node| matches!(node, Node::Running(router) if holds(&router));
        let families: Vec<Vec<bool>> = (self.nodes.chunks(self.machines))
            .map(|family| family.iter().map(active).collect())
            .collect();
        let held = |family: &Vec<bool>| family.contains(&true);
        families.iter().all(held) && families.iter().any(|family| *family != families[0])
    }

    /// What tells moments apart; all times count from now.
    fn key(&self) -> Key<'_> {
        let Watch { nobody_holds, several_hold, better_waits, apart } = self.watch;
        let packets = |packets: &[Packet]| {
            let rest = |packet: &Packet| packet.by.saturating_since(self.now);
            packets.iter().map(|p| (p.to, p.from, rest(p), Arc::clone(&p.payload))).collect()
        };
        let node = |node| match node {
            &Node::Off => NodeKey::Off,
            Node::Running(router) => NodeKey::Running(router.outlook(self.now)),
            Node::Frozen(router, kept) => NodeKey::Frozen(router.outlook(self.now), packets(kept)),
        };
        Key {
            nodes: self.nodes.iter().map(node).collect(),
            in_flight: packets(&self.in_flight),
            faults_left: self.faults_left,
            watch: [nobody_holds, several_hold, better_waits, apart]
                .map(|since| since.map(|since| self.now.saturating_since(since))),
            wavered: self.wavered,
        }
    }
}

impl Packet {
    fn arrive(&self, now: Instant, router: &mut VirtualRouter) {
        let source = address(self.from);
        let datagram =
            Datagram { source, destination: group(source), hop_limit: 255, payload: &self.payload };
        // A router that does not run takes nothing, all else is good.
        let _ = router.handle_datagram(now, &datagram);
    }
}

fn running(nodes: &[Node]) -> impl Iterator<Item = &VirtualRouter> + Clone {
    nodes.iter().filter_map(|node| match node {
        Node::Running(router) => Some(router),
        _ => None,
    })
}

fn holds(router: &&VirtualRouter) -> bool {
    router.state() == State::Active
}

type PacketKey = (usize, usize, Duration, Arc<[u8]>);

#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    nodes: Vec<NodeKey<'a>>,
    in_flight: Vec<PacketKey>,
    faults_left: u8,
    watch: [Option<Duration>; 4],
    wavered: bool,
}

#[derive(PartialEq, Eq, Hash)]
enum NodeKey<'a> {
    Off,
    Running(Outlook<'a>),
    Frozen(Outlook<'a>, Vec<PacketKey>),
}

impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
