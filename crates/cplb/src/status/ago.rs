use std::fmt;
use std::time::Duration;

/// A duration in milliseconds as people say it: its two largest units.
pub(super) struct Ago(pub(super) u64);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_millis(self.0).as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        let text = match self.0 {
            0..10_000 => format!("{:.1}s", Duration::from_millis(self.0).as_secs_f64()),
            _ if minutes == 0 => format!("{seconds}s"),
            _ if hours == 0 => format!("{minutes}m{}s", seconds % 60),
            _ if days == 0 => format!("{hours}h{}m", minutes % 60),
            _ => format!("{days}d{}h", hours % 24),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        for (milliseconds, text) in [
            (0, "0.0s"),
            (1_250, "1.2s"),
            (59_000, "59s"),
            (61_000, "1m1s"),
            (7_260_000, "2h1m"),
            (180_000_000, "2d2h"),
        ] {
            assert_eq!(Ago(milliseconds).to_string(), text);
        }
    }
}
