use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use kernel::process::boot_time;

/// A sign of life of one thread, seen by another.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU64);

impl Pulse {
    pub(crate) fn beat(&self) {
        self.0.store(boot_time().as_millis() as u64, Relaxed);
    }

    pub(crate) fn beat_within(&self, time: Duration) -> bool {
        let last = Duration::from_millis(self.0.load(Relaxed));
        boot_time().saturating_sub(last) <= time
    }
}
