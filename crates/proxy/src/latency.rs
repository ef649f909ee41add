//! A moving estimate of how long something takes, and how long to wait for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Mean and deviation as TCP keeps them for its round trips (RFC 6298, 2.2 and 2.3).
///
/// Threads update it without a lock: a lost sample does no harm.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    mean_micros: AtomicU64,
    deviation_micros: AtomicU64,
    last_micros: AtomicU64,
    samples: AtomicU32,
}

/// Fewer samples than this say nothing.
const ENOUGH: u32 = 8;

/// How many times the upper estimate is waited for.
const PATIENCE: u64 = 3;

impl Latency {
    /// Takes one measurement into account.
    pub(crate) fn sample(&self, took: Duration) {
        let took = took.as_micros() as u64;
        let (mean, deviation) =
            (self.mean_micros.load(Relaxed), self.deviation_micros.load(Relaxed));
        let samples = self.samples.load(Relaxed);
        let (mean, deviation) = match samples {
            0 => (took, took / 2),
            _ => ((mean * 7 + took) / 8, (deviation * 3 + mean.abs_diff(took)) / 4),
        };
        self.mean_micros.store(mean, Relaxed);
        self.deviation_micros.store(deviation, Relaxed);
        self.last_micros.store(took, Relaxed);
        self.samples.store(samples.saturating_add(1), Relaxed);
    }

    /// How long to wait before something else is tried: several times the upper estimate, within
    /// the bounds; `most` while there are too few samples.
    pub(crate) fn patience(&self, least: Duration, most: Duration) -> Duration {
        if self.samples.load(Relaxed) < ENOUGH {
            return most;
        }
        // RFC 6298, 2.3: mean plus four deviations is rarely exceeded.
        let upper = self.mean_micros.load(Relaxed) + 4 * self.deviation_micros.load(Relaxed);
        Duration::from_micros(PATIENCE * upper).max(least).min(most)
    }

    /// The moving average, if there was any sample.
    pub(crate) fn mean(&self) -> Option<Duration> {
        self.known(&self.mean_micros)
    }

    /// The latest sample, if there was any.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.known(&self.last_micros)
    }

    fn known(&self, micros: &AtomicU64) -> Option<Duration> {
        (self.samples.load(Relaxed) > 0).then(|| Duration::from_micros(micros.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests;
