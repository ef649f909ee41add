//! Up to 50 routers, random faults, and what must hold all the same.
//!
//! A scenario is a sequence of storms, each followed by a calm in which the network loses nothing
//! (it still delays, repeats and reorders). Within the calm, in every connected part:
//!
//! - nobody holds the addresses for no longer than the first heir's down interval,
//! - several hold them for no longer than one interval and the flight of the answer,
//! - in the end one does, and no preempting router of a higher priority is left waiting,
//! - then nothing moves without a cause.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use vrrp::{Authentication, Settings, State, Version};

use crate::lan::{Lan, settings};
use crate::node::Clock;

#[derive(Clone, Debug)]
struct Scenario {
    version: Version,
    interval: Duration,
    routers: Vec<Router>,
    /// Of an interval, in thousandths.
    latency: u32,
    jitter: u32,
    duplication: u64,
    seed: u64,
    storms: Vec<Storm>,
}

#[derive(Clone, Debug)]
struct Router {
    priority: u8,
    preempt: bool,
    preempt_delay: bool,
    /// Version 3 only: advertises at half the pace.
    slow: bool,
    drift: i32,
}

#[derive(Clone, Debug)]
struct Storm {
    loss: u64,
    /// Each with the time until the next, in hundredths of an interval.
    faults: Vec<(Fault, u32)>,
}

/// The number names a router.
#[derive(Clone, Debug)]
enum Fault {
    Crash(usize),
    Restart(usize),
    Freeze(usize),
    Thaw(usize),
    Link(usize, bool),
    Ready(usize, bool),
    Track(usize, i16),
    HandOver(usize),
    Succeed(usize),
    /// Into up to three parts, by this pattern.
    Partition(u64),
    Heal,
}

fn fault() -> impl Strategy<Value = Fault> {
    let number = 0..50_usize;
    prop_oneof![
        3 => number.clone().prop_map(Fault::Crash),
        3 => number.clone().prop_map(Fault::Restart),
        2 => number.clone().prop_map(Fault::Freeze),
        2 => number.clone().prop_map(Fault::Thaw),
        2 => (number.clone(), any::<bool>()).prop_map(|(number, up)| Fault::Link(number, up)),
        3 => (number.clone(), any::<bool>()).prop_map(|(number, ready)| Fault::Ready(number, ready)),
        1 => (number.clone(), -150..50_i16).prop_map(|(number, by)| Fault::Track(number, by)),
        2 => number.clone().prop_map(Fault::HandOver),
        2 => number.prop_map(Fault::Succeed),
        2 => any::<u64>().prop_map(Fault::Partition),
        2 => Just(Fault::Heal),
    ]
}

fn router() -> impl Strategy<Value = Router> {
    (
        prop_oneof![4 => Just(200_u8), 1 => 1..=254_u8],
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
        -5_000..5_000_i32,
    )
        .prop_map(|(priority, preempt, preempt_delay, slow, drift)| Router {
            priority,
            preempt,
            preempt_delay,
            slow,
            drift,
        })
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let pace = prop_oneof![
        (Just(Version::V2), prop_oneof![Just(1_000_u64), Just(2_000)]),
        (Just(Version::V3), prop_oneof![Just(20_u64), Just(100), Just(1_000), Just(40_950 / 2)]),
    ];
    let storm = (prop_oneof![Just(0_u64), 0..60_u64], vec((fault(), 0..400_u32), 1..6))
        .prop_map(|(loss, faults)| Storm { loss, faults });
    let routers = prop_oneof![3 => vec(router(), 2..6), 1 => vec(router(), 2..=50)];
    let network = (1..40_u32, 0..40_u32, prop_oneof![Just(0_u64), Just(20)]);
    (pace, routers, network, any::<u64>(), vec(storm, 1..6)).prop_map(
        |((version, milliseconds), routers, (latency, jitter, duplication), seed, storms)| {
            Scenario {
                version,
                // Version 3 counts hundredths of a second.
                interval: Duration::from_millis(milliseconds / 10 * 10),
                routers,
                latency,
                jitter,
                duplication,
                seed,
                storms,
            }
        },
    )
}

impl Scenario {
    fn settings(&self, number: usize) -> Settings {
        let router = &self.routers[number];
        let (authentication, slow) = match self.version {
            Version::V2 => (Authentication::password("BuyK0s"), false),
            Version::V3 => (Authentication::None, router.slow),
        };
        let interval = self.interval * if slow { 2 } else { 1 };
        Settings {
            version: self.version,
            priority: router.priority,
            interval,
            preempt: router.preempt,
            preempt_delay: interval * if router.preempt_delay { 5 } else { 0 },
            authentication,
            ..settings(number)
        }
    }

    /// No router waits longer between two advertisements.
    fn longest_interval(&self) -> Duration {
        let numbers = 0..self.routers.len();
        numbers.map(|number| self.settings(number).interval).max().unwrap_or_default()
    }

    fn lan(&self) -> Lan {
        let clock = |router: &Router| Clock {
            origin: Duration::from_secs(3_600 + u64::from(router.drift.unsigned_abs())),
            drift: router.drift,
        };
        let nodes = self.routers.iter().enumerate();
        let nodes = nodes.map(|(number, router)| (self.settings(number), clock(router)));
        let mut lan = Lan::new(nodes, self.seed);
        lan.network.latency = self.interval * self.latency / 1_000;
        lan.network.jitter = self.interval * self.jitter / 1_000;
        lan.network.duplication = self.duplication;
        lan
    }

    /// The longest that this router waits before it claims: RFC 9568 section 6.1, or RFC 3768
    /// section 6.1, with our share by rank, which is at most the skew again. Clocks differ by up to
    /// one in a hundred.
    fn longest_wait(&self, lan: &Lan, number: usize, fresh: bool) -> Duration {
        let unit = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.longest_interval(),
        };
        let skew = unit * (256 - u32::from(lan.nodes[number].router.priority())) / 256;
        let silence = self.longest_interval() * 3;
        let silence = if fresh { silence.max(Duration::from_millis(1_100)) } else { silence };
        (silence + skew * 2) * 101 / 100 + lan.network.longest_flight()
    }

    /// Runs a storm; what it started anew is told.
    fn storm(&self, lan: &mut Lan, storm: &Storm) -> BTreeSet<usize> {
        let mut fresh = BTreeSet::new();
        lan.network.loss = storm.loss;
        for (fault, pause) in &storm.faults {
            fresh.extend(self.strike(lan, fault));
            lan.run(self.interval * *pause / 100);
        }
        lan.network.loss = 0;
        fresh
    }

    fn strike(&self, lan: &mut Lan, fault: &Fault) -> Option<usize> {
        let nth = |number: &usize| number % self.routers.len();
        match fault {
            Fault::Crash(number) => lan.crash(nth(number)),
            Fault::Restart(number) => {
                lan.restart(nth(number));
                return Some(nth(number));
            }
            Fault::Freeze(number) => lan.freeze(nth(number)),
            Fault::Thaw(number) => lan.thaw(nth(number)),
            Fault::Link(number, up) => {
                lan.set_link(nth(number), *up);
                return Some(nth(number)).filter(|_| *up);
            }
            Fault::Ready(number, ready) => {
                lan.with_router(nth(number), |router, now| router.set_ready(now, *ready));
            }
            Fault::Track(number, by) => {
                lan.with_router(nth(number), |router, now| router.set_tracking(now, *by));
            }
            Fault::HandOver(number) => {
                let patience = self.longest_interval() * 4;
                lan.with_router(nth(number), |router, now| router.hand_over(now, patience));
            }
            Fault::Succeed(number) => lan.succeed(nth(number)),
            Fault::Partition(pattern) => {
                lan.partition(|number| (pattern >> (number % 32 * 2)) as usize % 4 % 3);
            }
            Fault::Heal => lan.network.heal(),
        }
        None
    }

    fn calm(&self, lan: &mut Lan, fresh: &BTreeSet<usize>) -> Result<(), TestCaseError> {
        lan.begin_history();
        // For a hand-over, a preempt delay, and a preemption after it; listening, or the skew of
        // version 2, which does not depend on the interval.
        lan.run(self.longest_interval() * 20 + Duration::from_secs(3));

        for all in parts(lan) {
            let takes_part =
                |number: &usize| lan.nodes[*number].router.state() != State::Initialize;
            let part: Vec<usize> = all.iter().copied().filter(takes_part).collect();
            if part.is_empty() {
                continue;
            }
            let context = || format!("part {part:?}, {:?}, {:?}", lan.history, lan.transitions);
            let waits =
                part.iter().map(|number| self.longest_wait(lan, *number, fresh.contains(number)));
            let bound = waits.min().unwrap_or_default();
            // Who handed over was there until then.
            let none = lan.longest(&all, |count| count == 0);
            prop_assert!(none <= bound, "no holder for {none:?}, not {bound:?}: {}", context());

            let bound = self.longest_interval() * 101 / 100 + lan.network.longest_flight() * 2;
            let several = lan.longest(&all, |count| count > 1);
            prop_assert!(several <= bound, "several for {several:?}: {}", context());

            let held: Vec<usize> =
                part.iter().filter(|number| lan.holders().contains(number)).copied().collect();
            prop_assert_eq!(held.len(), 1, "{}", context());
            let priority = |number: usize| lan.nodes[number].router.priority();
            let better = part.iter().find(|number| {
                lan.nodes[**number].settings.preempt && priority(**number) > priority(held[0])
            });
            prop_assert!(better.is_none(), "{better:?} is better: {}", context());
        }

        lan.begin_history();
        lan.run(self.longest_interval() * 10);
        prop_assert!(lan.transitions.is_empty(), "without a cause: {:?}", lan.transitions);
        Ok(())
    }
}

/// The routers that run, by who hears whom.
fn parts(lan: &Lan) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = vec![];
    for number in (0..lan.nodes.len()).filter(|number| lan.nodes[*number].runs()) {
        match parts.iter_mut().find(|part| lan.network.connects(part[0], number)) {
            Some(part) => part.push(number),
            None => parts.push(vec![number]),
        }
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn one_holder_in_every_part_whatever_happens(scenario in scenario()) {
        let mut lan = scenario.lan();
        let everybody = (0..scenario.routers.len()).collect();
        scenario.calm(&mut lan, &everybody)?;
        for storm in &scenario.storms {
            let fresh = scenario.storm(&mut lan, storm);
            scenario.calm(&mut lan, &fresh)?;
        }
    }
}
