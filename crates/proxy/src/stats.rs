//! Counters, as the outside sees them.

use std::net::SocketAddr;
use std::time::Duration;

/// Everything counted since the start, and what is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Client connections taken from the listeners, rejected ones included.
    pub accepted: u64,
    /// Client connections open now.
    pub open: usize,
    /// Most connections open at once, after the descriptor limit has had its say.
    pub limit: usize,
    /// Client connections reset right after they were accepted.
    pub rejected: Rejected,
    /// Times the kernel refused an accept for want of descriptors or memory.
    pub accept_errors: u64,
    /// Clients reset because every backend failed them.
    pub unserved: u64,
    /// Clients that left, or that the owner of the proxy had reset, before a backend served them.
    pub gone: u64,
    /// Further backends tried because one failed before its first byte.
    pub retries: u64,
    /// Further backends tried beside one that had not accepted yet.
    pub raced: u64,
    /// Further backends tried beside one that stayed silent.
    pub hedges: u64,
    /// Hedges that answered first.
    pub hedges_won: u64,
    /// Times a client's first bytes were sent to a further backend.
    pub replays: u64,
    /// Established connections that ended by a reset of either side.
    pub resets: u64,
    /// Connections ended for the sake of a backend that had come back.
    pub rebalanced: u64,
    /// Per listen address, in the order of the settings.
    pub listeners: Vec<ListenerStats>,
    /// Per backend, those no longer in the set at the end.
    pub backends: Vec<BackendStats>,
    /// Per proxy thread.
    pub threads: Vec<ThreadStats>,
}

/// Client connections reset right after they were accepted, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// No backend was usable.
    pub no_backend: u64,
    /// As many as allowed were open.
    pub limit: u64,
    /// The process had no descriptor left.
    pub descriptors: u64,
    /// As many as allowed were open from the same address.
    pub per_source: u64,
    /// They came from no network that clients may come from.
    pub foreign: u64,
}

impl Rejected {
    /// For whatever reason.
    pub const fn total(&self) -> u64 {
        let Self { no_backend, limit, descriptors, per_source, foreign } = self;
        *no_backend + *limit + *descriptors + *per_source + *foreign
    }
}

impl std::iter::Sum for Rejected {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            no_backend: sum.no_backend + one.no_backend,
            limit: sum.limit + one.limit,
            descriptors: sum.descriptors + one.descriptors,
            per_source: sum.per_source + one.per_source,
            foreign: sum.foreign + one.foreign,
        })
    }
}

/// One listen address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Where it listens, with the port it really has.
    pub address: SocketAddr,
    /// Client connections taken from it, rejected ones included.
    pub accepted: u64,
    /// Those that were reset right away.
    pub rejected: Rejected,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStats {
    /// Its address.
    pub address: SocketAddr,
    /// Whether new connections may go to it.
    pub usable: bool,
    /// Client connections it serves now.
    pub open: usize,
    /// Connects begun.
    pub connects: u64,
    /// Those of them that were begun because another backend had failed.
    pub retries: u64,
    /// Connects it refused.
    pub refused: u64,
    /// Connects without a way to it.
    pub unreachable: u64,
    /// Connects it did not answer in time.
    pub timeouts: u64,
    /// Times it stayed silent after a ClientHello.
    pub silent: u64,
    /// Times it closed or reset the connection before its first byte.
    pub resets: u64,
    /// Clients it won: its first byte arrived, or it alone was sent bytes that cannot be replayed.
    pub served: u64,
    /// Bytes sent to it.
    pub bytes_up: u64,
    /// Bytes received from it.
    pub bytes_down: u64,
    /// How long its latest successful connect took.
    pub last_connect: Option<Duration>,
    /// Moving average of its connects.
    pub mean_connect: Option<Duration>,
    /// Moving average of the time from a ClientHello to its first byte.
    pub mean_first_byte: Option<Duration>,
    /// All successful connects by how long they took.
    pub connect_latency: LatencyHistogram,
}

impl BackendStats {
    /// Attempts of every kind that failed before the first byte.
    pub const fn failures(&self) -> u64 {
        self.refused + self.unreachable + self.timeouts + self.silent + self.resets
    }
}

/// How often something took how long, as a cumulative histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyHistogram {
    /// Upper bounds, rising, and how often it took at most that long.
    pub buckets: Vec<(Duration, u64)>,
    /// How often at all.
    pub count: u64,
    /// How long all of them took together.
    pub sum: Duration,
}

impl LatencyHistogram {
    /// Within which time this part of all was done, `0.99` of them say: by proportion between two
    /// bounds, and the last bound for whatever took longer. None of none.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let wanted = part * self.count as f64;
        let mut below = (Duration::ZERO, 0);
        for &(bound, count) in self.buckets.iter().filter(|_| self.count > 0) {
            if count as f64 >= wanted {
                let within = (wanted - below.1 as f64) / (count - below.1).max(1) as f64;
                return Some(below.0 + (bound - below.0).mul_f64(within.max(0.0)));
            }
            below = (bound, count);
        }
        (self.count > 0).then_some(below.0)
    }
}

/// One proxy thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStats {
    /// Client connections it owns now.
    pub open: usize,
    /// How long ago its loop last turned.
    pub turned: Duration,
}
