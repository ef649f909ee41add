//! Several routers on one simulated network segment, in virtual time.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vrrp::{
    Action, Authentication, Checksum, Datagram, DropReason, Instant, Settings, State, Version,
    VirtualRouter,
};

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

/// Routers 10.0.0.1, 10.0.0.2, ... on a segment with a fixed latency.
struct Lan {
    now: Instant,
    latency: Duration,
    routers: Vec<VirtualRouter>,
    /// Dead ones neither hear nor act, but their addresses are gone too.
    dead: BTreeSet<usize>,
    /// Frozen ones keep their state.
    frozen: BTreeSet<usize>,
    /// Pairs that cannot hear one another.
    cut: BTreeSet<(usize, usize)>,
    in_flight: Vec<(Instant, usize, Vec<u8>)>,
    /// Who held the addresses, whenever that changed.
    history: Vec<(Instant, Vec<usize>)>,
}

impl Lan {
    fn new(count: usize) -> Self {
        let now = Instant::new(Duration::from_secs(1_000));
        let address = |i: usize| IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + i as u8));
        let routers = (0..count).map(|i| {
            let settings = Settings {
                virtual_router_id: 51,
                version: Version::V2,
                priority: 200,
                interval: Duration::from_secs(1),
                preempt: true,
                authentication: Authentication::password("BuyK0s"),
                checksum: Checksum::default(),
                source: address(i),
                unicast_peers: vec![],
                addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100))],
            };
            let mut router = VirtualRouter::new(settings, now);
            router.set_peers(now, (0..count).map(address).collect());
            router.start(now);
            router
        });
        Self {
            now,
            latency: Duration::from_micros(200),
            routers: routers.collect(),
            dead: BTreeSet::new(),
            frozen: BTreeSet::new(),
            cut: BTreeSet::new(),
            in_flight: vec![],
            history: vec![],
        }
    }

    fn holders(&self) -> Vec<usize> {
        let runs = |i: &usize| !self.dead.contains(i) && !self.frozen.contains(i);
        (0..self.routers.len())
            .filter(runs)
            .filter(|i| self.routers[*i].state() == State::Active)
            .collect()
    }

    fn holder(&self) -> usize {
        let holders = self.holders();
        assert_eq!(holders.len(), 1, "exactly one holder at {:?}: {:?}", self.now, self.history);
        holders[0]
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..1_000_000 {
            self.perform();
            let runs = |i: &usize| !self.dead.contains(i) && !self.frozen.contains(i);
            let timer = (0..self.routers.len())
                .filter(runs)
                .filter_map(|i| self.routers[i].next_deadline())
                .min();
            let packet = self.in_flight.iter().map(|(at, ..)| *at).min();
            let Some(next) = timer.into_iter().chain(packet).min().filter(|next| *next <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            self.deliver();
            for i in 0..self.routers.len() {
                if !self.dead.contains(&i) && !self.frozen.contains(&i) {
                    self.routers[i].handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    /// Does what the routers want done, and notes who holds the addresses.
    fn perform(&mut self) {
        for i in 0..self.routers.len() {
            if self.dead.contains(&i) || self.frozen.contains(&i) {
                continue;
            }
            while let Some(action) = self.routers[i].poll_action() {
                if let Action::Advertise(advertisement) = action {
                    let source = self.routers[i].settings().source;
                    let packet = advertisement.emit(source, GROUP, Checksum::default());
                    self.in_flight.push((self.now + self.latency, i, packet));
                }
            }
        }
        let holders = self.holders();
        if self.history.last().is_none_or(|(_, last)| *last != holders) {
            self.history.push((self.now, holders));
        }
    }

    fn deliver(&mut self) {
        let (due, later) = self.in_flight.drain(..).partition(|(at, ..)| *at <= self.now);
        self.in_flight = later;
        let due: Vec<(Instant, usize, Vec<u8>)> = due;
        for (_, sender, payload) in due {
            let source = self.routers[sender].settings().source;
            let datagram =
                Datagram { source, destination: GROUP, hop_limit: 255, payload: &payload };
            for i in 0..self.routers.len() {
                let apart = self.cut.contains(&(i, sender)) || self.cut.contains(&(sender, i));
                if i != sender && !apart && !self.dead.contains(&i) && !self.frozen.contains(&i) {
                    let taken = self.routers[i].handle_datagram(self.now, &datagram);
                    assert!(matches!(taken, Ok(()) | Err(DropReason::NotRunning)), "{taken:?}");
                }
            }
        }
    }

    /// The times since the last call when the count of holders was `count`, added up.
    fn time_with(&mut self, count: usize) -> Duration {
        let mut total = Duration::ZERO;
        let mut changes = std::mem::take(&mut self.history).into_iter().peekable();
        let mut last = None;
        while let Some((at, holders)) = changes.next() {
            let until = changes.peek().map_or(self.now, |(next, _)| *next);
            if holders.len() == count {
                total += until.saturating_since(at);
            }
            last = Some(holders);
        }
        self.history.extend(last.map(|holders| (self.now, holders)));
        total
    }
}

#[test]
fn three_equal_routers_started_together_elect_the_highest_address_without_a_duel() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(20));
    assert_eq!(lan.holder(), 2);
    assert_eq!(lan.time_with(2), Duration::ZERO);
}

#[test]
fn a_dead_holder_is_followed_by_one_heir_within_the_down_interval() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    lan.time_with(0);
    lan.dead.insert(lan.holder());
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert!(lan.history.iter().all(|(_, holders)| holders.len() < 2), "{:?}", lan.history);
    let none = lan.time_with(0);
    assert!(none <= Duration::from_micros(3_218_750), "{none:?} without a holder");
}

#[test]
fn a_planned_hand_over_leaves_no_moment_without_a_holder() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    lan.time_with(0);
    let now = lan.now;
    lan.routers[2].hand_over(now, Duration::from_secs(4));
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    assert_eq!(lan.routers[2].state(), State::Initialize);
    let both = {
        let mut history = lan.history.iter();
        let start =
            history.find(|(_, holders)| holders.len() == 2).expect("both serve for a while");
        let end = history.next().expect("then only the heir does");
        end.0.saturating_since(start.0)
    };
    // For as long as the heir's advertisement travels.
    assert_eq!(both, Duration::from_micros(200));
    assert_eq!(lan.time_with(0), Duration::ZERO);
}

#[test]
fn a_thawed_holder_takes_nothing_back() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    lan.frozen.insert(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1);
    lan.time_with(0);
    lan.frozen.clear();
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 1, "the thawed one has the higher address, but it overslept");
    assert_eq!(lan.time_with(0), Duration::ZERO);
}

#[test]
fn a_partition_has_one_holder_on_each_side_and_one_after_healing() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    lan.cut.extend([(2, 0), (2, 1)]);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holders(), [1, 2]);
    lan.cut.clear();
    lan.time_with(2);
    lan.run(Duration::from_secs(10));
    assert_eq!(lan.holder(), 2);
    // One interval at most until the first of them advertises.
    assert!(lan.time_with(2) <= Duration::from_millis(1_001));
}

#[test]
fn the_addresses_leave_a_node_that_is_not_ready_and_do_not_come_back() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    let now = lan.now;
    lan.routers[2].set_ready(now, false);
    lan.run(Duration::from_secs(5));
    assert_eq!(lan.holder(), 1);
    let now = lan.now;
    lan.routers[2].set_ready(now, true);
    lan.run(Duration::from_secs(30));
    assert_eq!(lan.holder(), 1);
}

#[test]
fn if_nobody_is_ready_nothing_moves() {
    let mut lan = Lan::new(3);
    lan.run(Duration::from_secs(10));
    let now = lan.now;
    for i in [0, 1, 2] {
        lan.routers[i].set_ready(now, false);
    }
    lan.run(Duration::from_secs(60));
    assert_eq!(lan.holder(), 2);
    assert_eq!(lan.routers[2].counters().became_active, 1);
}
