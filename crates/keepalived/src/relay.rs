//! keepalived's log in ours.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::Level;

use crate::log_line::LogLine;

/// Passes lines on. What is worrying is said once a minute, with a count: keepalived says some of
/// it with every packet.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    said: HashMap<String, Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    times: u32,
}

const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Different lines remembered.
const MOST: usize = 100;

impl Relay {
    pub(crate) fn log(&mut self, line: &LogLine<'_>) {
        if line.text.is_empty() {
            return;
        }
        if line.level() != Level::WARN {
            tracing::debug!(target: "keepalived", "{}", line.text);
            return;
        }
        match self.count(line.text, Instant::now()) {
            None => tracing::debug!(target: "keepalived", "{}", line.text),
            Some(0) => tracing::warn!(target: "keepalived", "{}", line.text),
            Some(times) => {
                tracing::warn!(target: "keepalived", times, "{} (again, {times} times)", line.text);
            }
        }
    }

    /// How often it was held back since it was said last; `None` when it is held back now.
    fn count(&mut self, text: &str, now: Instant) -> Option<u32> {
        if let Some(said) = self.said.get_mut(text) {
            said.times += 1;
            if now.duration_since(said.at) < AGAIN_AFTER {
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.times));
        }
        if self.said.len() >= MOST {
            self.said.retain(|_, said| now.duration_since(said.at) < AGAIN_AFTER);
            if self.said.len() >= MOST {
                self.said.clear();
            }
        }
        self.said.insert(text.to_owned(), Said { at: now, times: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_said_once_a_minute_with_a_count() {
        let mut relay = Relay::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(relay.count("invalid passwd", start), Some(0));
        assert_eq!(relay.count("another", start), Some(0));
        assert_eq!(relay.count("invalid passwd", start + second), None);
        assert_eq!(relay.count("invalid passwd", start + 59 * second), None);
        assert_eq!(relay.count("invalid passwd", start + 60 * second), Some(3));
        assert_eq!(relay.count("invalid passwd", start + 61 * second), None);
    }

    #[test]
    fn it_does_not_grow_without_bounds() {
        let mut relay = Relay::default();
        for number in 0..1_000 {
            relay.count(&number.to_string(), Instant::now());
        }
        assert!(relay.said.len() <= MOST);
    }
}
