use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use vrrp::packet::group;
use vrrp::{Action, Datagram, Instant, Outlook, State, VirtualRouter};

/// The segment at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) in_flight: Vec<Packet>,
    pub(crate) faults_left: u8,
    pub(crate) watch: Watch,
}

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
        self.nodes.iter().filter_map(|node| match node {
            Node::Running(router) => Some(router),
            _ => None,
        })
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.routers().filter(|router| router.state() == State::Active)
    }

    pub(crate) fn time_since(&self, since: Option<Instant>) -> Duration {
        since.map_or(Duration::ZERO, |since| self.now.saturating_since(since))
    }

    /// Three intervals, the skew of (256 - priority) / 256 intervals (RFC 9568 section 6.1), a
    /// quarter of it by rank for each of the others, and the flight of what was heard last.
    pub(crate) fn longest_down_interval(&self) -> Duration {
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

    pub(crate) fn let_do(&mut self, number: usize, act: impl FnOnce(&mut VirtualRouter)) {
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

    pub(crate) fn deliver(&mut self, packet: Packet) {
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

    pub(crate) fn look(&mut self) {
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
