//! What a contest does when nothing happens: attempts that are late.

use std::time::Instant;

use super::{Contest, Failure, Reason, Step, Verdict};
use crate::attempt::{Attempt, Late};
use crate::evidence::EvidenceKind;
use crate::pick::Among;
use crate::shared::Shared;

impl<L> Contest<L> {
    /// A time of [`Step::Arm`] has come, perhaps.
    pub(crate) fn deadline(&mut self, now: Instant) {
        self.armed = None;
        let alive = self.attempts.iter_mut().filter(|it| it.is_alive());
        alive.for_each(|it| it.pass_deadlines(now));
    }

    /// An attempt whose deadline has passed.
    pub(super) fn take_late(&mut self) -> Option<(usize, Late)> {
        let mut alive = self.attempts.iter_mut().enumerate().filter(|(_, it)| it.is_alive());
        alive.find_map(|(attempt, it)| Some((attempt, it.late.take()?)))
    }

    /// An attempt is late: to connect, or to answer.
    pub(super) fn be_late(&mut self, index: usize, late: Late, shared: &Shared, now: Instant) {
        let attempt = &mut self.attempts[index];
        let backend = &self.usable[attempt.backend];
        let connected = attempt.is_connected();
        if !connected && late == Late::AtLimit {
            let failure = Failure::Backend(EvidenceKind::ConnectTimeout);
            return self.fail(index, failure, shared, now);
        }
        // A backend that has just served others is slow and not hung: asking the next one as well
        // would make an overload worse.
        let wait = attempt.patience(late, backend, &shared.settings);
        let served = if connected { &backend.answered } else { &backend.accepted };
        let quiet_until = shared.instant(served.value() + wait);
        if quiet_until > now {
            match late {
                Late::AtLimit => attempt.limit = Some(quiet_until),
                Late::Beside => attempt.beside = Some(quiet_until),
            }
            return;
        }
        let reason = if connected { Reason::Silence } else { Reason::SlowConnect };
        let mut among = Among::Good;
        if late == Late::AtLimit {
            attempt.beside = None;
            among = Among::All;
            if !attempt.silence_reported {
                attempt.silence_reported = true;
                shared.backend_failed(backend, EvidenceKind::Silent, now);
            }
        } else if connected {
            backend.suspect(shared.since_start(now));
        }
        self.wanted = Some((among, reason));
    }

    /// There is no descriptor for a further attempt. Those under way go on, and when one of them is
    /// late again there may be one.
    pub(super) fn lack_descriptors(&mut self, shared: &Shared, now: Instant) {
        let mut is_over = true;
        for attempt in self.attempts.iter_mut().filter(|it| it.is_alive()) {
            is_over = false;
            if attempt.asked.is_some() && attempt.limit.is_none() {
                let backend = &self.usable[attempt.backend];
                attempt.limit =
                    Some(now + attempt.patience(Late::AtLimit, backend, &shared.settings));
            }
        }
        if is_over {
            self.end(Verdict::Starved);
        }
    }

    /// Asks for a timer for the next thing that will be due, unless an earlier one is set.
    pub(super) fn arm(&mut self) -> Step<L> {
        let alive = self.attempts.iter().filter(|it| it.is_alive());
        let next = alive.flat_map(|it: &Attempt<L>| [it.beside, it.limit]).flatten().min();
        match next {
            Some(next) if self.armed.is_none_or(|armed| next < armed) => {
                self.armed = Some(next);
                Step::Arm(next)
            }
            _ => Step::Wait,
        }
    }
}
