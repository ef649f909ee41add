use std::time::Duration;

use vrrp::Instant;

/// The time for [`vrrp`]: CLOCK_BOOTTIME, which also counts suspended time.
pub fn now() -> Instant {
    Instant::new(kernel::process::boot_time())
}

/// How long ago that was.
pub fn age(then: Instant) -> Duration {
    now().saturating_since(then)
}
