//! How often something took how long.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::stats::LatencyHistogram;

/// Counters of durations.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// One per bound, and one for what is above them all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

/// Upper bounds in microseconds: a connect on the same machine takes some 100 µs, within a site up
/// to some milliseconds, and the lost SYN of one that takes longer comes again after 1 s
/// (RFC 6298, 2.1).
const BOUNDS: [u64; 13] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

impl Histogram {
    /// Counts one.
    pub(crate) fn record(&self, took: Duration) {
        let micros = took.as_micros() as u64;
        let bucket = BOUNDS.partition_point(|&bound| bound < micros);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// A picture of it.
    pub(crate) fn stats(&self) -> LatencyHistogram {
        let bounds = BOUNDS.iter().map(|&bound| Duration::from_micros(bound));
        let mut count = 0;
        let mut up_to = |counter: &AtomicU64| {
            count += counter.load(Relaxed);
            count
        };
        let buckets = bounds.zip(&self.counts).map(|(bound, it)| (bound, up_to(it))).collect();
        let above = &self.counts[BOUNDS.len()];
        let count = up_to(above);
        LatencyHistogram {
            buckets,
            count,
            sum: Duration::from_micros(self.sum_micros.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests;
