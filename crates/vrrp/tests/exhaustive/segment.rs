use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use stateright::{Model, Property};
use vrrp::{Authentication, ChecksumChoice, Instant, Settings, State, Version, VirtualRouter};

use crate::moment::{INTERVAL, LONGEST_FLIGHT, Moment, Node, Watch, address};

/// Machines on one segment, and how much may go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// Of the machines, each of which has one router of each family.
    pub(crate) priorities: Vec<u8>,
    /// The routers of the second one follow those of the first.
    pub(crate) families: usize,
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

/// What can happen next. Packets, routers (to a timer) and machines by their number.
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

const PATIENCE: Duration = Duration::from_millis(4 * 2_560);

impl Model for Segment {
    type State = Moment;
    type Action = Event;

    fn init_states(&self) -> Vec<Moment> {
        vec![Moment {
            now: Instant::new(Duration::from_secs(1_000)),
            nodes: vec![Node::Off; self.priorities.len() * self.families],
            machines: self.priorities.len(),
            in_flight: vec![],
            faults_left: self.faults,
            watch: Watch::default(),
            wavered: false,
        }]
    }

    fn actions(&self, moment: &Moment, events: &mut Vec<Event>) {
        if moment.next().is_some_and(|next| next > moment.now) {
            events.push(Event::Wait);
        }
        events.extend((0..moment.in_flight.len()).map(Event::Arrive));
        for (number, node) in moment.nodes.iter().enumerate() {
            match node {
                Node::Running(router) if router.next_deadline() <= Some(moment.now) => {
                    events.push(Event::Timer(number));
                }
                _ => {}
            }
        }
        for machine in 0..moment.machines {
            let mut nodes = moment.routers_of(machine).map(|number| &moment.nodes[number]);
            if nodes.clone().all(|node| matches!(node, Node::Off)) {
                events.push(Event::PowerOn(machine));
            } else if nodes.any(|node| matches!(node, Node::Frozen(..))) {
                events.push(Event::Thaw(machine));
            }
        }
        if moment.faults_left == 0 {
            return;
        }
        events.extend((0..moment.in_flight.len()).map(Event::Lose));
        for machine in 0..moment.machines {
            let nodes = moment.routers_of(machine).map(|number| &moment.nodes[number]);
            let running = nodes.filter_map(|node| match node {
                Node::Running(router) => Some(router.is_ready()),
                _ => None,
            });
            let Some(ready) = running.last() else { continue };
            events.push(Event::Crash(machine));
            if self.kinds == Kinds::All {
                events.extend([
                    Event::Freeze(machine),
                    Event::Ready(machine, !ready),
                    Event::HandOver(machine),
                ]);
            }
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
            // The longest where the holder's last word before it left overtakes the one before:
            // its heir learns of it with the next, and claims then.
            Property::always(
                "the families are apart no longer than an interval, a claim's delay and a flight",
                |_, moment: &Moment| {
                    let longest = INTERVAL + moment.longest_claim_delay() + LONGEST_FLIGHT * 2;
                    moment.time_since(moment.watch.apart) <= longest
                },
            ),
            Property::always(
                "nobody leaves a state and comes back in one turn",
                |_, moment: &Moment| !moment.wavered,
            ),
            Property::always("whoever leads or holds has something due", |_, moment: &Moment| {
                let due = |router: &VirtualRouter| router.next_deadline().is_some();
                let takes_part = |router: &VirtualRouter| router.state() != State::Initialize;
                moment.leaders().all(|router| due(router) == takes_part(router))
                    && moment.holders().all(due)
            }),
            Property::sometimes(
                "the heir of one that crashed holds",
                |segment: &Self, moment: &Moment| {
                    let gone = matches!(moment.nodes[segment.last()], Node::Off);
                    gone && moment.faults_left < segment.faults
                        && moment.holders().count() == segment.families
                },
            ),
            Property::sometimes("everybody holds", |_, moment: &Moment| {
                moment.holders().count() == moment.nodes.len()
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
            Event::Timer(number) => {
                moment.let_do([number], |_, router| router.handle_timeout(now));
            }
            Event::Arrive(number) => {
                let packet = moment.in_flight.remove(number);
                moment.deliver(packet);
            }
            Event::PowerOn(machine) => {
                let alone = moment.routers().next().is_none();
                for number in moment.routers_of(machine) {
                    moment.nodes[number] = Node::Running(self.router(number, now));
                }
                moment.let_do(moment.routers_of(machine), |_, router| router.start(now));
                return if alone { Cause::Repair } else { Cause::Course };
            }
            Event::Thaw(machine) => {
                moment.thaw(machine);
                return Cause::Repair;
            }
            Event::Lose(number) => {
                moment.in_flight.remove(number);
                return Cause::Fault;
            }
            Event::Crash(machine) => {
                for number in moment.routers_of(machine) {
                    moment.nodes[number] = Node::Off;
                    moment.in_flight.retain(|packet| packet.to != number);
                }
                return Cause::Fault;
            }
            Event::Freeze(machine) => {
                for number in moment.routers_of(machine) {
                    if let Node::Running(router) = &moment.nodes[number] {
                        moment.nodes[number] = Node::Frozen(router.clone(), vec![]);
                    }
                }
                return Cause::Fault;
            }
            Event::Ready(machine, ready) => {
                moment.let_do(moment.routers_of(machine), |_, it| it.set_ready(now, ready));
                return Cause::Fault;
            }
            Event::HandOver(machine) => {
                moment.let_do(moment.routers_of(machine), |_, it| it.hand_over(now, PATIENCE));
                return Cause::Fault;
            }
        }
        Cause::Course
    }

    fn router(&self, number: usize, now: Instant) -> VirtualRouter {
        let settings = Settings {
            virtual_router_id: 51,
            version: Version::V3,
            priority: self.priorities[number % self.priorities.len()],
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
        let begin = number / self.priorities.len() * self.priorities.len();
        router.set_peers((begin..begin + self.priorities.len()).map(address).collect());
        router
    }
}
