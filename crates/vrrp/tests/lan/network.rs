use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use vrrp::Instant;

/// A segment that delays, loses, repeats and reorders packets, the same way for the same seed.
pub(crate) struct Network {
    /// The least time that a packet takes.
    pub(crate) latency: Duration,
    /// The most time that it takes beyond that; more than the pause between two packets reorders.
    pub(crate) jitter: Duration,
    /// How many of a hundred packets get lost.
    pub(crate) loss: u64,
    /// How many of a hundred packets come twice.
    pub(crate) duplication: u64,
    /// From the first of a pair nothing reaches the second.
    cut: BTreeSet<(usize, usize)>,
    in_flight: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    random: Random,
}

/// One packet on its way to one receiver.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) payload: Rc<[u8]>,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            latency: Duration::from_micros(200),
            jitter: Duration::ZERO,
            loss: 0,
            duplication: 0,
            cut: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            random: Random(seed),
        }
    }

    /// The longest time that a packet takes.
    pub(crate) fn longest_flight(&self) -> Duration {
        self.latency + self.jitter
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn connects(&self, a: usize, b: usize) -> bool {
        !self.cut.contains(&(a, b)) && !self.cut.contains(&(b, a))
    }

    pub(crate) fn send(&mut self, now: Instant, packet: &Packet) {
        let copies = 1 + u64::from(self.random.percent() < self.duplication);
        for _ in 0..copies {
            if self.random.percent() < self.loss {
                continue;
            }
            let arrival = now + self.latency + self.random.up_to(self.jitter);
            self.sent += 1;
            self.in_flight.insert((arrival, self.sent), packet.clone());
        }
    }

    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.keys().next().map(|(arrival, _)| *arrival)
    }

    /// The next packet that has arrived by now.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Packet> {
        while self.next_arrival().is_some_and(|arrival| arrival <= now) {
            let (_, packet) = self.in_flight.pop_first()?;
            if !self.cut.contains(&(packet.from, packet.to)) {
                return Some(packet);
            }
        }
        None
    }
}

/// SplitMix64, by Guy Steele and others: small, and good enough to shake a network.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn percent(&mut self) -> u64 {
        self.next() % 100
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.next() % (most.as_nanos() as u64 + 1))
    }
}
