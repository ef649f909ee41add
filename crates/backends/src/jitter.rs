//! Chance enough to keep machines out of step.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A random part of `whole`, from zero to just below it. Not fit for secrets.
pub(crate) fn part_of(whole: Duration) -> Duration {
    // Each RandomState is keyed anew; its hash of nothing is as good as a random number.
    let random = RandomState::new().hash_one(()) >> 32;
    whole.mul_f64(random as f64 / (1_u64 << 32) as f64)
}

/// Somewhere between half of `whole` and just below one and a half of it.
pub(crate) fn around(whole: Duration) -> Duration {
    whole / 2 + part_of(whole)
}
