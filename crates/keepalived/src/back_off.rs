use std::time::Duration;

/// How long to wait before keepalived is started again.
#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// After so long a run, the next end counts as the first.
const HEALTHY: Duration = Duration::from_secs(60);

impl BackOff {
    /// It ended after it had run for `ran`.
    pub(crate) fn ended(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        self.failures += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_half_a_minute_and_starts_anew_after_a_healthy_minute() {
        let mut back_off = BackOff::default();
        let waits: Vec<u128> =
            (0..8).map(|_| back_off.ended(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(back_off.ended(Duration::from_secs(60)), Duration::from_millis(500));
        assert_eq!(back_off.ended(Duration::from_secs(59)), Duration::from_secs(1));
    }
}
