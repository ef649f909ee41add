use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use stateright::{Model, Property};
use vrrp::packet::group;
use vrrp::{
    Action, Authentication, ChecksumChoice, Datagram, Instant, Outlook, Settings, State, Version,
    VirtualRouter,
};

/// Routers on one segment, and how much may go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) priorities: Vec<u8>,
    /// How many, at most.
    pub(crate) faults: u8,
    pub(crate) kinds: Kinds,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// Everything: packets, nodes, readiness, hand-overs.
    All,
    /// Packets get lost, nodes crash.
    LossAndCrash,
}

/// The segment at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    now: Instant,
    nodes: Vec<Node>,
    in_flight: Vec<Packet>,
    faults_left: u8,
    watch: Watch,
}

#[derive(Clone, Debug)]
enum Node {
    Off,
    Running(VirtualRouter),
    /// With what its socket keeps for it.
    Frozen(VirtualRouter, Vec<Packet>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Packet {
    to: usize,
    from: usize,
    /// When it has arrived or is lost.
    by: Instant,
    payload: Arc<[u8]>,
}

/// Since when something is so that must not stay so; a fault begins the time anew.
#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    nobody_holds: Option<Instant>,
    several_hold: Option<Instant>,
    better_waits: Option<Instant>,
}

/// What can happen next. Packets and nodes by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Wait,
    Timer(usize),
    Arrive(usize),
    PowerOn(usize),
    Lose(usize),
    Crash(usize),
    Freeze(usize),
    Thaw(usize),
    Ready(usize, bool),
    HandOver(usize),
}

/// With priorities of 192 (ready) and 96 (not), and 128 and 64, all skews and their quarters are
/// multiples of a 64th of this.
const INTERVAL: Duration = Duration::from_millis(2_560);
const SIXTEENTH: Duration = Duration::from_millis(160);

/// A packet arrives at any time up to this.
const LONGEST_FLIGHT: Duration = SIXTEENTH;

const PATIENCE: Duration = Duration::from_millis(4 * 2_560);

/// What does not fit into a frozen node's socket is lost.
const SOCKET_BUFFER: usize = 2;

impl Model for Segment {
    type State = Moment;
    type Action = Event;

    fn init_states(&self) -> Vec<Moment> {
        vec![Moment {
            now: Instant::new(Duration::from_secs(1_000)),
            nodes: vec![Node::Off; self.priorities.len()],
            in_flight: vec![],
            faults_left: self.faults,
            watch: Watch::default(),
        }]
    }

    fn actions(&self, moment: &Moment, events: &mut Vec<Event>) {
        if moment.next().is_some_and(|next| next > moment.now) {
            events.push(Event::Wait);
        }
        events.extend((0..moment.in_flight.len()).map(Event::Arrive));
        for (number, node) in moment.nodes.iter().enumerate() {
            match node {
                Node::Off => events.push(Event::PowerOn(number)),
                Node::Running(router) if router.next_deadline() <= Some(moment.now) => {
                    events.push(Event::Timer(number));
                }
                Node::Running(_) => {}
                Node::Frozen(..) => events.push(Event::Thaw(number)),
            }
        }
        if moment.faults_left == 0 {
            return;
        }
        events.extend((0..moment.in_flight.len()).map(Event::Lose));
        for (number, node) in moment.nodes.iter().enumerate() {
            let Node::Running(router) = node else { continue };
            events.push(Event::Crash(number));
            if self.kinds == Kinds::LossAndCrash {
                continue;
            }
            events.extend([
                Event::Freeze(number),
                Event::Ready(number, !router.is_ready()),
                Event::HandOver(number),
            ]);
        }
    }

    fn next_state(&self, before: &Moment, event: Event) -> Option<Moment> {
        let mut moment = before.clone();
        let happened = self.happen(&mut moment, event);
        if happened == Cause::Fault {
            moment.faults_left = moment.faults_left.checked_sub(1)?;
        }
        if happened != Cause::Course {
            moment.watch = Watch::default();
        }
        moment.look();
        Some(moment)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "nobody holds no longer than a down interval",
                |_, moment: &Moment| {
                    let waited = moment.time_since(moment.watch.nobody_holds);
                    waited <= moment.longest_down_interval()
                },
            ),
            Property::always(
                "several hold no longer than an interval and a flight",
                |_, moment: &Moment| {
                    moment.time_since(moment.watch.several_hold) <= INTERVAL + LONGEST_FLIGHT * 2
                },
            ),
            Property::always(
                "a better router waits no longer than a down interval",
                |_, moment: &Moment| {
                    let waited = moment.time_since(moment.watch.better_waits);
                    waited <= moment.longest_down_interval()
                },
            ),
            Property::always("whoever takes part has something due", |_, moment: &Moment| {
                moment.routers().all(|router| {
                    (router.state() == State::Initialize) == router.next_deadline().is_none()
                })
            }),
            Property::sometimes(
                "the heir of one that crashed holds",
                |segment: &Self, moment: &Moment| {
                    let gone = matches!(moment.nodes[segment.last()], Node::Off);
                    gone && moment.faults_left < segment.faults && moment.holders().count() == 1
                },
            ),
            Property::sometimes("everybody holds", |segment: &Self, moment: &Moment| {
                moment.holders().count() == segment.priorities.len()
            }),
        ]
    }
}

/// Why the segment is no longer as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It would have come so anyhow.
    Course,
    /// Somebody set something right.
    Repair,
    Fault,
}

impl Segment {
    fn last(&self) -> usize {
        self.priorities.len() - 1
    }

    fn happen(&self, moment: &mut Moment, event: Event) -> Cause {
        let now = moment.now;
        match event {
            Event::Wait => {
                moment.now = moment.next().unwrap_or(now);
            }
            Event::Timer(number) => moment.let_do(number, |router| router.handle_timeout(now)),
            Event::Arrive(number) => {
                let packet = moment.in_flight.remove(number);
                moment.deliver(packet);
            }
            Event::PowerOn(number) => {
                let alone = moment.routers().next().is_none();
                moment.nodes[number] = Node::Running(self.router(number, now));
                moment.let_do(number, |router| router.start(now));
                return if alone { Cause::Repair } else { Cause::Course };
            }
            Event::Thaw(number) => {
                let Node::Frozen(router, kept) = &mut moment.nodes[number] else {
                    return Cause::Course;
                };
                let (router, kept) = (router.clone(), std::mem::take(kept));
                moment.nodes[number] = Node::Running(router);
                for packet in kept {
                    moment.deliver(packet);
                }
                moment.let_do(number, |router| router.handle_timeout(now));
                return Cause::Repair;
            }
            Event::Lose(number) => {
                moment.in_flight.remove(number);
                return Cause::Fault;
            }
            Event::Crash(number) => {
                moment.nodes[number] = Node::Off;
                moment.in_flight.retain(|packet| packet.to != number);
                return Cause::Fault;
            }
            Event::Freeze(number) => {
                if let Node::Running(router) = &moment.nodes[number] {
                    moment.nodes[number] = Node::Frozen(router.clone(), vec![]);
                }
                return Cause::Fault;
            }
            Event::Ready(number, ready) => {
                moment.let_do(number, |router| router.set_ready(now, ready));
                return Cause::Fault;
            }
            Event::HandOver(number) => {
                moment.let_do(number, |router| router.hand_over(now, PATIENCE));
                return Cause::Fault;
            }
        }
        Cause::Course
    }

    fn router(&self, number: usize, now: Instant) -> VirtualRouter {
        let settings = Settings {
            virtual_router_id: 51,
            version: Version::V3,
            priority: self.priorities[number],
            interval: INTERVAL,
            preempt: true,
            preempt_delay: Duration::ZERO,
            startup_delay: Duration::ZERO,
            authentication: Authentication::None,
            checksum: ChecksumChoice::Auto,
            source: address(number),
            unicast_peers: vec![],
            addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))],
        };
        let mut router = VirtualRouter::new(settings, now);
        router.set_peers((0..self.priorities.len()).map(address).collect());
        router
    }
}

fn address(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + number as u8))
}

impl Moment {
    /// When something has to happen, if nothing happens before.
    fn next(&self) -> Option<Instant> {
        let timers = self.routers().filter_map(VirtualRouter::next_deadline);
        timers.chain(self.in_flight.iter().map(|packet| packet.by)).min()
    }

    /// Those that run.
    fn routers(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Running(router) => Some(router),
            _ => None,
        })
    }

    fn holders(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.routers().filter(|router| router.state() == State::Active)
    }

    fn time_since(&self, since: Option<Instant>) -> Duration {
        since.map_or(Duration::ZERO, |since| self.now.saturating_since(since))
    }

    /// Three intervals, the skew of (256 - priority) / 256 intervals (RFC 9568 section 6.1), a
    /// quarter of it by rank for each of the others, and the flight of what was heard last.
    fn longest_down_interval(&self) -> Duration {
        let skew = |router: &VirtualRouter| match router.priority() {
            192 => SIXTEENTH * 4,
            128 => SIXTEENTH * 8,
            96 => SIXTEENTH * 10,
            64 => SIXTEENTH * 12,
            _ => Duration::ZERO,
        };
        let skew = self.routers().map(skew).max().unwrap_or_default();
        INTERVAL * 3 + skew + skew * (self.nodes.len() - 1) as u32 / 4 + LONGEST_FLIGHT
    }

    fn let_do(&mut self, number: usize, act: impl FnOnce(&mut VirtualRouter)) {
        let Node::Running(router) = &mut self.nodes[number] else { return };
        act(router);
        let mut sent = vec![];
        while let Some(action) = router.poll_action() {
            if let Action::Advertise(advertisement) = action {
                let source = address(number);
                let payload = advertisement.emit(source, group(source), router.checksum());
                sent.push(Arc::from(payload));
            }
        }
        if router.is_leaving() && router.state() == State::Initialize {
            self.nodes[number] = Node::Off;
        }
        for payload in sent {
            self.send(number, &payload);
        }
    }

    fn send(&mut self, from: usize, payload: &Arc<[u8]>) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if !matches!(self.nodes[to], Node::Off) {
                let by = self.now + LONGEST_FLIGHT;
                self.in_flight.push(Packet { to, from, by, payload: Arc::clone(payload) });
            }
        }
        // Equal moments list equal events.
        self.in_flight.sort();
    }

    fn deliver(&mut self, packet: Packet) {
        let now = self.now;
        if let Node::Frozen(_, kept) = &mut self.nodes[packet.to] {
            if kept.len() < SOCKET_BUFFER {
                kept.push(Packet { by: Instant::default(), ..packet });
            }
            return;
        }
        let source = address(packet.from);
        let datagram = Datagram {
            source,
            destination: group(source),
            hop_limit: 255,
            payload: &packet.payload,
        };
        self.let_do(packet.to, |router| {
            // A node that does not run takes nothing, all else is good.
            let _ = router.handle_datagram(now, &datagram);
        });
    }

    fn look(&mut self) {
        let now = self.now;
        let holders = self.holders().count();
        let best = |routers: &mut dyn Iterator<Item = &VirtualRouter>| {
            routers.map(VirtualRouter::priority).max()
        };
        let waiting = best(&mut self.routers().filter(|router| router.state() == State::Backup));
        let better_waits = holders > 0 && waiting > best(&mut self.holders());
        let nobody_holds = holders == 0 && self.routers().next().is_some();
        let since = |so: bool, since: Option<Instant>| so.then(|| since.unwrap_or(now));
        self.watch = Watch {
            nobody_holds: since(nobody_holds, self.watch.nobody_holds),
            several_hold: since(holders > 1, self.watch.several_hold),
            better_waits: since(better_waits, self.watch.better_waits),
        };
    }

    /// What tells moments apart; all times count from now.
    fn key(&self) -> Key<'_> {
        let Watch { nobody_holds, several_hold, better_waits } = self.watch;
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
            watch: [nobody_holds, several_hold, better_waits]
                .map(|since| since.map(|since| self.now.saturating_since(since))),
        }
    }
}

type PacketKey = (usize, usize, Duration, Arc<[u8]>);

#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    nodes: Vec<NodeKey<'a>>,
    in_flight: Vec<PacketKey>,
    faults_left: u8,
    watch: [Option<Duration>; 3],
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
