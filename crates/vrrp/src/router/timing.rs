//! When things are due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::VirtualRouter;
use crate::{Instant, Version};

/// One that starts late has the first, a Backup the second, an Active router the others.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
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

/// By which part of the interval we speak later than we might beside a foreign router.
const LATENESS_PERCENT: u32 = 4;

/// How long a foreign router is remembered that may have been silenced meanwhile.
const SPARED: Duration = Duration::from_secs(600);

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
    /// it was due one interval after the last, or a little later.
    pub(super) fn given_up_after(&self) -> Duration {
        let latest = self.settings.interval + self.lateness_beside_foreign();
        self.settings.interval * DOWN_INTERVALS + self.skew() - latest
    }

    /// When the next advertisement is due after one that is sent now.
    pub(super) fn next_advertisement(&self, now: Instant) -> Instant {
        let lateness = match self.foreign.refused_since(now, SPARED) {
            true => self.lateness_beside_foreign(),
            false => Duration::ZERO,
        };
        now + self.settings.interval + lateness
    }

    /// By how much this router lets better ones go first: the skew, plus our share of it.
    pub(super) fn claim_delay(&self) -> Duration {
        let skew = self.skew();
        let gone = self.active.map(|active| active.address);
        skew + skew * self.peers.share(self.settings.source, gone)
    }

    /// How much later than needed our advertisements come beside a foreign router.
    ///
    /// keepalived begins its interval anew with every packet of its virtual router identifier, one
    /// that it refuses too. Of two routers at the same pace the one that is late by a hair stays
    /// silent for ever, and its own Backups take over again and again. So we are the late one.
    ///
    /// Three of our advertisements in a row take half of the skew time longer at most: whoever
    /// follows us gives us up no sooner, after as many losses as ever.
    fn lateness_beside_foreign(&self) -> Duration {
        (self.settings.interval * LATENESS_PERCENT / 100).min(self.skew() / (2 * DOWN_INTERVALS))
    }

    /// (256 - priority) / 256 of a second in version 2 (RFC 3768 section 6.1), of the Active
    /// router's interval in version 3 (RFC 9568 section 6.1).
    pub(super) fn skew(&self) -> Duration {
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
