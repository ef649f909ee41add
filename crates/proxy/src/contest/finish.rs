//! The end of a contest: one attempt serves the client, the others are reset.

use std::time::Instant;

use rustix::event::epoll::EventFlags;

use super::{Contest, Verdict};
use crate::attempt::Options;
use crate::backend::Burden;
use crate::evidence::EvidenceKind;
use crate::shared::{Shared, count};

/// What the winner of a contest leaves behind.
#[derive(Debug)]
pub(crate) struct Winner<L> {
    pub(crate) line: L,
    pub(crate) backend: Burden,
    /// Bytes of the client that it has got.
    pub(crate) delivered: usize,
    /// Bytes of the client that it has not got yet.
    pub(crate) undelivered: Vec<u8>,
    /// What epoll said of the client and nobody has acted on.
    pub(crate) client_flags: EventFlags,
    /// The client has ended, and the winner has been told so if it has got everything.
    pub(crate) client_ended: bool,
    /// A deadline of the contest is still to come.
    pub(crate) is_timed: bool,
    /// The line has the options of one that stays.
    pub(crate) settled: bool,
}

impl<L> Contest<L> {
    /// The winner, once.
    pub(crate) fn winner(&mut self) -> Option<Winner<L>> {
        let Some(Verdict::Decided { attempt, .. }) = self.verdict else { return None };
        let attempt = self.attempts.get_mut(attempt)?;
        let line = attempt.line.take()?;
        let backend = attempt.burden.take()?;
        let (undelivered, client_flags) = self.question.take_rest(attempt.delivered);
        Some(Winner {
            line,
            backend,
            delivered: attempt.delivered,
            undelivered,
            client_flags,
            client_ended: self.question.has_ended() && attempt.ended,
            is_timed: self.armed.is_some(),
            settled: attempt.options == Options::Set,
        })
    }

    /// This attempt serves the client, having sent so many bytes; the others are given up.
    pub(super) fn decide(
        &mut self,
        winner: usize,
        received: usize,
        flags: EventFlags,
        shared: &Shared,
        now: Instant,
    ) {
        let attempt = &self.attempts[winner];
        let backend = &self.usable[attempt.backend];
        if received > 0 {
            if let Some(asked) = attempt.asked {
                backend.first_byte.sample(now.saturating_duration_since(asked));
            }
            shared.backend_answered(backend, now);
        } else {
            // Nothing more will be known of it: the connect has to count.
            backend.forgive();
        }
        self.overtake(winner, shared, now);
        self.verdict = Some(Verdict::Decided { attempt: winner, received, flags });
        self.wanted = None;
    }

    /// Ends it without a winner.
    pub(super) fn end(&mut self, verdict: Verdict) {
        if self.verdict.is_some() {
            return;
        }
        self.attempts.iter_mut().filter(|it| it.is_alive()).for_each(|it| it.give_up(true));
        self.verdict = Some(verdict);
        self.wanted = None;
    }

    /// Gives up all attempts but `quickest`, and remembers which of them were too slow.
    pub(super) fn overtake(&mut self, quickest: usize, shared: &Shared, now: Instant) {
        let now = shared.since_start(now);
        let mut was_silent = false;
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            if index == quickest || !attempt.is_alive() {
                continue;
            }
            attempt.give_up(true);
            attempt.overtaken = true;
            if index > quickest {
                continue;
            }
            let backend = &self.usable[attempt.backend];
            if attempt.asked.is_none() {
                backend.suspect(now);
                continue;
            }
            was_silent = true;
            if !attempt.silence_reported {
                backend.count_failure(EvidenceKind::Silent);
                shared.report(backend, EvidenceKind::Silent, now);
            }
        }
        if was_silent && self.attempts.get(quickest).is_some_and(|it| it.is_hedge) {
            count(&shared.totals.hedges_won);
        }
    }
}
