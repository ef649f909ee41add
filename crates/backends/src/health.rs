//! How one apiserver is doing, told from its checks and from what the proxy meets.
//!
//! Nothing here knows a clock or a socket: time is a parameter, checks are asked for by
//! [`Monitor::due`] and answered by [`Monitor::handle_check`].

use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::settings::HealthSettings;

/// Evidence may ask for a check at once, thousands of times a second; no more than one is made in
/// this time.
const EVIDENCE_GAP: Duration = Duration::from_millis(100);

/// Whether an apiserver is fit for use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Not checked yet. Counts as usable, so that the proxy works from the first instant.
    Unknown,
    /// It says that it is ready.
    Healthy,
    /// It refuses, hangs, or says that it is not ready.
    Unhealthy,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// In which way an apiserver failed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// Nothing is there: refused or unreachable. A process that is gone has ended its connections;
    /// one that is leaving goes on serving those it has.
    Absent,
    /// It gives no answer, on new connections as little as on old ones.
    Silent,
    /// It answers, but not that it is ready.
    NotReady,
}

/// What a connection of the proxy met at an apiserver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The connection was refused: nothing listens there.
    Refused,
    /// There is no way to the host.
    Unreachable,
    /// The connection was not established in time.
    ConnectTimeout,
    /// It was established, but no byte came in time.
    Silent,
    /// It was reset before its first byte.
    ResetBeforeFirstByte,
    /// A byte came.
    Answered,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 200, so long after the connect began.
    Ready(Duration),
    /// Nothing is there: refused or unreachable, and why.
    Absent(String),
    /// No answer in time, and where it hangs.
    Silent(String),
    /// Something is there, but it did not say that it is ready, and why.
    NotReady(String),
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: Health,
    pub(crate) to: Health,
}

/// The state of one apiserver.
#[derive(Debug)]
pub(crate) struct Monitor {
    settings: HealthSettings,
    health: Health,
    reason: String,
    latency: Option<Duration>,
    /// The last failure, until it succeeds.
    failure: Option<Failure>,
    failures: u32,
    successes: u32,
    next_check: Instant,
    last_check: Option<Instant>,
    in_flight: bool,
    phase: Option<Duration>,
}

impl Monitor {
    /// The monitor of an apiserver first heard of `now`, checked at once, and `phase` later for the
    /// second time, so that apiservers are not all asked in the same instant by all their peers.
    pub(crate) fn new(settings: HealthSettings, now: Instant, phase: Duration) -> Self {
        Self {
            settings,
            health: Health::Unknown,
            reason: String::new(),
            latency: None,
            failure: None,
            failures: 0,
            successes: 0,
            next_check: now,
            last_check: None,
            in_flight: false,
            phase: Some(phase),
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// The last failure, or `200 ok`; empty before anything is known.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// How long the last good check took.
    pub(crate) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Whether it is unhealthy because nothing is there, rather than for being unwell.
    pub(crate) fn is_absent(&self) -> bool {
        self.failure == Some(Failure::Absent)
    }

    /// The last failure, until it succeeds.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// When [`Self::due`] is to be called next; `None` while a check is under way.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        (!self.in_flight).then_some(self.next_check)
    }

    /// Whether a check is to be started `now`. If so, it is taken to be started.
    pub(crate) fn due(&mut self, now: Instant) -> bool {
        if self.in_flight || now < self.next_check {
            return false;
        }
        self.in_flight = true;
        self.last_check = Some(now);
        self.next_check = now + self.phase.take().unwrap_or(self.settings.interval);
        true
    }

    /// Takes in the outcome of the check that was started.
    pub(crate) fn handle_check(&mut self, now: Instant, outcome: Outcome) -> Option<Transition> {
        self.in_flight = false;
        match outcome {
            Outcome::Ready(latency) => {
                self.latency = Some(latency);
                self.succeed()
            }
            Outcome::Absent(reason) => self.leave(reason),
            Outcome::Silent(reason) => self.fail_and_check_again(now, Failure::Silent, reason),
            Outcome::NotReady(reason) => self.fail_and_check_again(now, Failure::NotReady, reason),
        }
    }

    /// Takes in what the proxy met.
    pub(crate) fn handle_evidence(
        &mut self,
        now: Instant,
        evidence: Evidence,
    ) -> Option<Transition> {
        if evidence == Evidence::Answered && self.health == Health::Healthy {
            return None;
        }
        self.check_soon(now);
        match evidence {
            Evidence::Refused => self.leave("connection refused (met by the proxy)".into()),
            Evidence::Unreachable => self.leave("host unreachable (met by the proxy)".into()),
            Evidence::Silent => {
                self.fail(Failure::Silent, "silent after connect (met by the proxy)".into())
            }
            // The check that follows tells whether it is the apiserver or only this connection.
            Evidence::ConnectTimeout | Evidence::ResetBeforeFirstByte | Evidence::Answered => None,
        }
    }

    fn succeed(&mut self) -> Option<Transition> {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        self.failure = None;
        if self.health == Health::Unhealthy && self.successes < self.settings.rise {
            return None;
        }
        self.reason = "200 ok".into();
        self.turn(Health::Healthy)
    }

    fn fail_and_check_again(
        &mut self,
        now: Instant,
        failure: Failure,
        reason: String,
    ) -> Option<Transition> {
        let transition = self.fail(failure, reason);
        if self.health != Health::Unhealthy {
            self.check_again(now);
        }
        transition
    }

    fn fail(&mut self, failure: Failure, reason: String) -> Option<Transition> {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.failure = Some(failure);
        self.reason = reason;
        if self.failures < self.settings.fall {
            return None;
        }
        self.turn(Health::Unhealthy)
    }

    /// A refusal is certain, so it takes effect at once.
    fn leave(&mut self, reason: String) -> Option<Transition> {
        self.successes = 0;
        self.failures = self.settings.fall;
        self.failure = Some(Failure::Absent);
        self.reason = reason;
        self.turn(Health::Unhealthy)
    }

    fn turn(&mut self, to: Health) -> Option<Transition> {
        if self.health == to {
            return None;
        }
        let from = std::mem::replace(&mut self.health, to);
        self.successes = 0;
        Some(Transition { from, to })
    }

    /// After a first failed check the next one does not wait for its turn: a check that timed out
    /// is followed at once. One that failed quickly is followed half an interval after it began,
    /// or `fall` would count the same hiccup twice.
    fn check_again(&mut self, now: Instant) {
        let earliest = self.last_check.map_or(now, |it| it + self.settings.interval / 2);
        self.next_check = self.next_check.min(earliest.max(now));
    }

    fn check_soon(&mut self, now: Instant) {
        let earliest = self.last_check.map_or(now, |it| it + EVIDENCE_GAP);
        self.next_check = self.next_check.min(earliest.max(now));
    }
}

#[cfg(test)]
mod tests;
