use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use crate::common::error::Error;

/// Threads that calculate without end, of ordinary priority.
pub(super) struct Busy {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Busy {
    /// So many on each processor.
    pub(super) fn start(each: u16) -> Result<Self, Error> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let over = Arc::new(AtomicBool::new(false));
        let mut busy = Self { over: Arc::clone(&over), threads: Vec::new() };
        for _ in 0..usize::from(each) * processors {
            let over = Arc::clone(&over);
            let thread = std::thread::Builder::new().name("busy".to_owned());
            let thread = thread.spawn(move || {
                while !over.load(Relaxed) {
                    black_box((0..100_000_u32).map(black_box).fold(0, u32::wrapping_add));
                }
            });
            busy.threads.push(thread.map_err(Error::system("a thread"))?);
        }
        Ok(busy)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
    }
}

/// What all processors have done since the machine started, in ticks.
pub(super) struct Processors {
    idle: u64,
    total: u64,
}

impl Processors {
    pub(super) fn now() -> Self {
        // proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is in
        // user time.
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks = line.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.filter_map(|ticks| ticks.parse().ok()).collect();
        Self { idle: ticks.iter().skip(3).take(2).sum(), total: ticks.iter().sum() }
    }

    /// The share of the time in which a processor had nothing to do but wait.
    pub(super) fn idle_since(&self, earlier: &Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total).max(1);
        self.idle.saturating_sub(earlier.idle) as f64 / total as f64
    }
}
