use std::time::Duration;

use vrrp::Instant;

/// When to tell the neighbours about the addresses.
///
/// Linux ignores a change of a neighbour within a second of the last one (locktime of arp(7)), so
/// a burst without pauses is one announcement. Those lost or come too early are made good by the
/// later ones; the slow repetition reaches switches and hosts that missed them all.
#[derive(Debug)]
pub(crate) struct Announcements {
    round: usize,
    next: Option<Instant>,
}

/// After the addresses came.
const BURST: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(1_200),
    Duration::from_millis(2_400),
    Duration::from_millis(5_000),
];

/// Between later rounds, give or take a tenth so that nodes and VIPs do not fall into step.
const REFRESH: Duration = Duration::from_secs(60);

/// Evidence of another holder may come with every one of its packets; a new burst is worth it only
/// when the last one has begun to work.
const RESTART_AT_MOST_EACH: Duration = Duration::from_secs(1);

impl Announcements {
    pub(crate) const fn none() -> Self {
        Self { round: 0, next: None }
    }

    /// Starts a burst, unless one has just begun.
    pub(crate) fn start(&mut self, now: Instant) {
        let begun_just_now = self.next.is_some_and(|next| {
            self.round == 1 && next > now && next.saturating_since(now) < RESTART_AT_MOST_EACH
        });
        if !begun_just_now {
            self.start_anew(now);
        }
    }

    /// Starts a burst, whatever was announced just now: it is no longer true.
    pub(crate) const fn start_anew(&mut self, now: Instant) {
        *self = Self { round: 0, next: Some(now) };
    }

    pub(crate) fn stop(&mut self) {
        self.next = None;
    }

    /// The rounds since the burst began; all those after it count as one.
    pub(crate) fn rounds(&self) -> u32 {
        self.round.min(BURST.len()) as u32
    }

    pub(crate) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a round is due; if so, the next one is scheduled.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        self.round += 1;
        let pause = match BURST.get(self.round) {
            Some(offset) => offset.saturating_sub(BURST[self.round - 1]),
            None => jittered(REFRESH, now),
        };
        self.next = Some(now + pause);
        true
    }
}

/// The clock's low bits differ from node to node, which is all that is wanted.
fn jittered(duration: Duration, now: Instant) -> Duration {
    let per_mille = now.since_origin().subsec_micros() % 200;
    duration * (900 + per_mille) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::new(Duration::from_millis(milliseconds))
    }

    #[test]
    fn a_burst_is_spread_over_the_locktime_of_linux_and_then_repeated_slowly() {
        let mut announcements = Announcements::none();
        announcements.start(at(1_000));
        let mut rounds = vec![];
        while let Some(next) = announcements.next().filter(|next| *next < at(80_000)) {
            assert!(!announcements.take(next - Duration::from_millis(1)));
            assert!(announcements.take(next));
            rounds.push(next.since_origin().as_millis());
        }
        assert_eq!(rounds[..5], [1_000, 1_100, 2_200, 3_400, 6_000]);
        assert_eq!(rounds.len(), 6);
        assert!((60_000..=72_000).contains(&rounds[5]), "{rounds:?}");
    }

    #[test]
    fn evidence_of_another_holder_restarts_it_but_not_with_every_packet() {
        let mut announcements = Announcements::none();
        announcements.start(at(0));
        assert!(announcements.take(at(0)));
        announcements.start(at(10));
        assert!(!announcements.take(at(20)));
        assert!(announcements.take(at(100)));
        announcements.start(at(700));
        assert!(announcements.take(at(700)));
    }
}
