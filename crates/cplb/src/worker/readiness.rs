//! Whether a connection through the balancer reaches an apiserver.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What the last tries say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Whether this node is served.
    pub(crate) ready: bool,
    /// Why the last try failed; empty if it did not.
    pub(crate) reason: String,
}

/// The judgement over several tries.
#[derive(Debug)]
struct Judge {
    reach: Reach,
    failures: u32,
}

/// From one try to the next while ready, and while not.
const EACH: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(200)];
/// A balancer may need a second to find one that answers among those that do not.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Tries in a row that have to fail before a node counts as cut off.
const FALL: u32 = 3;

impl Default for Reach {
    fn default() -> Self {
        Self { ready: false, reason: "not tried yet".into() }
    }
}

/// Tries every one of the doors again and again, for ever.
pub(crate) async fn watch_reach(
    doors: watch::Receiver<Vec<SocketAddr>>,
    reach: watch::Sender<Reach>,
) {
    let mut judge = Judge { reach: Reach::default(), failures: 0 };
    loop {
        let begin = Instant::now();
        let tried = doors.borrow().clone();
        let outcome = try_all(&tried).await;
        // What was tried before a reload says nothing of the new doors.
        if *doors.borrow() == tried {
            judge.take(outcome);
        }
        reach.send_if_modified(|known| {
            let changed = *known != judge.reach;
            known.clone_from(&judge.reach);
            changed
        });
        sleep_until(begin + EACH[usize::from(!judge.reach.ready)]).await;
    }
}

async fn try_all(doors: &[SocketAddr]) -> Result<(), String> {
    for door in doors {
        backends::reach(*door, TIMEOUT).await.map_err(|reason| format!("{door}: {reason}"))?;
    }
    Ok(())
}

impl Judge {
    fn take(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => {
                self.failures = 0;
                self.reach = Reach { ready: true, reason: String::new() };
            }
            Err(reason) => {
                self.failures += 1;
                self.reach.ready &= self.failures < FALL;
                self.reach.reason = reason;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_success_makes_ready_and_three_failures_in_a_row_unready() {
        let mut judge = Judge { reach: Reach::default(), failures: 0 };
        let mut ready = |outcome: Result<(), &str>| {
            judge.take(outcome.map_err(str::to_owned));
            judge.reach.ready
        };
        let refused = Err("connection refused");
        assert!(!ready(refused));
        assert!(ready(Ok(())));
        assert!(ready(refused) && ready(refused) && ready(Ok(())));
        assert!(ready(refused) && ready(refused) && !ready(refused) && !ready(refused));
        assert!(ready(Ok(())));
        judge.take(refused.map_err(str::to_owned));
        assert_eq!(judge.reach, Reach { ready: true, reason: "connection refused".into() });
    }
}
