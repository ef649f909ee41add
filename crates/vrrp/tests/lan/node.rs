use std::time::Duration;

use vrrp::{Instant, Settings, VirtualRouter};

use crate::network::Packet;

/// One machine with its router, its own clock, and its ways to fail.
pub(crate) struct Node {
    pub(crate) router: VirtualRouter,
    pub(crate) settings: Settings,
    pub(crate) condition: Condition,
    pub(crate) link_up: bool,
    pub(crate) clock: Clock,
    /// When it wants to be called, on nobody's clock; asked once after each call.
    pub(crate) due: Option<Instant>,
    /// What came in while it was frozen.
    pub(crate) queue: Vec<Packet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Running,
    /// Hears and does nothing, but keeps its state. The kernel removes its addresses.
    Frozen,
    /// Lost its state as well.
    Crashed,
}

/// A clock with an origin and a speed of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    pub(crate) origin: Duration,
    /// By how many millionths it is fast, or slow.
    pub(crate) drift: i32,
}

impl Node {
    pub(crate) fn new(settings: Settings, clock: Clock, now: Instant) -> Self {
        Self {
            router: VirtualRouter::new(settings.clone(), clock.read(now)),
            settings,
            condition: Condition::Running,
            link_up: true,
            clock,
            due: None,
            queue: vec![],
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.condition == Condition::Running
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.runs())
    }

    pub(crate) fn ask_for_deadline(&mut self) {
        self.due = self.router.next_deadline().map(|local| self.clock.when(local));
    }
}

const MILLION: u128 = 1_000_000;

impl Clock {
    /// What it shows at a time.
    pub(crate) fn read(&self, time: Instant) -> Instant {
        let elapsed = time.since_origin().as_nanos() * self.speed() / MILLION;
        Instant::new(self.origin + nanoseconds(elapsed))
    }

    /// The first time at which it shows this.
    pub(crate) fn when(&self, shown: Instant) -> Instant {
        let elapsed = shown.since_origin().saturating_sub(self.origin).as_nanos();
        Instant::new(nanoseconds((elapsed * MILLION).div_ceil(self.speed())))
    }

    fn speed(&self) -> u128 {
        (1_000_000 + i64::from(self.drift)) as u128
    }
}

fn nanoseconds(count: u128) -> Duration {
    Duration::from_nanos(count as u64)
}
