//! When things are due.

use std::time::Duration;

use super::VirtualRouter;
use crate::{Instant, Version};

/// One that starts late has the first, a Backup the second, an Active router the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    /// When the start-up delay ends.
    pub(super) start: Option<Instant>,
    /// When the Active router counts as down; the claim comes [`VirtualRouter::claim_delay`] later.
    /// That this delay is no part of it lets a changed priority or rank count at once.
    pub(super) down: Option<Instant>,
    pub(super) advertise: Option<Instant>,
    /// When a hand-over without an heir ends.
    pub(super) give_up: Option<Instant>,
}

/// The Active router is down after this many intervals without an advertisement, plus the skew.
pub(super) const DOWN_INTERVALS: u32 = 3;

/// An Active router of version 2 speaks each second at the fastest; whoever is faster listens
/// long enough to hear it before the first claim.
const LISTEN_AT_LEAST: Duration = Duration::from_millis(1_100);

/// The skew time is shared among this many equal heirs at least, so that nobody's share depends
/// on how large a small cluster is.
const SHARES_AT_LEAST: u32 = 4;

impl VirtualRouter {
    /// The Active down interval of RFC 9568 section 6.1, but for the claim delay.
    pub(super) fn silence(&self) -> Duration {
        self.active_interval() * DOWN_INTERVALS
    }

    /// The silence before the first claim.
    pub(super) fn first_silence(&self) -> Duration {
        (self.settings.interval * DOWN_INTERVALS).max(LISTEN_AT_LEAST)
    }

    /// How late, as Active, our own advertisement has to be for the others to have given us up:
    /// it was due one interval after the last.
    pub(super) fn given_up_after(&self) -> Duration {
        self.settings.interval * (DOWN_INTERVALS - 1) + self.skew()
    }

    /// By how much this router lets better ones go first: the skew, plus our share by rank.
    pub(super) fn claim_delay(&self) -> Duration {
        let skew = self.skew();
        let gone = self.active.map(|active| active.address);
        let (rank, others) = self.peers.rank(self.settings.source, gone);
        skew + skew * rank / others.max(SHARES_AT_LEAST)
    }

    /// (256 - priority) / 256 of a second in version 2 (RFC 3768 section 6.1), of the Active
    /// router's interval in version 3 (RFC 9568 section 6.1).
    fn skew(&self) -> Duration {
        self.skew_unit() * (256 - u32::from(self.priority())) / 256
    }

    pub(super) fn skew_unit(&self) -> Duration {
        match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.active_interval(),
        }
    }

    fn active_interval(&self) -> Duration {
        match (self.settings.version, self.active) {
            (Version::V3, Some(active)) => active.interval,
            _ => self.settings.interval,
        }
    }
}
