//! What a race does when nothing happens: attempts that are late.

use std::time::Instant;

use super::{Race, Reason, Verdict};
use crate::connection::{Context, Timer};
use crate::evidence::EvidenceKind;
use crate::pick::Among;

impl Race {
    /// Does what is due by now.
    pub(crate) fn deadline(&mut self, context: &mut Context) -> Verdict {
        self.armed = None;
        let due = |deadline: &mut Option<Instant>| deadline.take_if(|due| *due <= context.now);
        let mut late = Vec::new();
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            if attempt.socket.is_none() {
                continue;
            }
            // If the socket is broken already, its event says so.
            let _ = attempt.settle(&context.shared.settings);
            if due(&mut attempt.limit).is_some() {
                late.push((index, true));
            } else if due(&mut attempt.beside).is_some() {
                late.push((index, false));
            }
        }
        for (index, at_limit) in late {
            let verdict = self.late(index, at_limit, context);
            if verdict != Verdict::Open {
                return verdict;
            }
        }
        self.arm(context);
        Verdict::Open
    }

    /// An attempt is late: to connect, or to answer.
    fn late(&mut self, index: usize, at_limit: bool, context: &mut Context) -> Verdict {
        let attempt = &mut self.attempts[index];
        let backend = &self.usable[attempt.backend];
        if !attempt.connected && at_limit {
            return self.failed(index, Some(EvidenceKind::ConnectTimeout), context);
        }
        // A backend that has just served others is slow and not hung: asking the next one as well
        // would make an overload worse.
        let wait = attempt.patience(at_limit, backend, context);
        let served = if attempt.connected { &backend.answered } else { &backend.accepted };
        let quiet_until = context.shared.instant(served.value() + wait);
        if quiet_until > context.now {
            let deadline = if at_limit { &mut attempt.limit } else { &mut attempt.beside };
            *deadline = Some(quiet_until);
            return Verdict::Open;
        }
        let reason = if attempt.connected { Reason::Silence } else { Reason::SlowConnect };
        let mut among = Among::Good;
        if at_limit {
            attempt.beside = None;
            attempt.silence_reported = true;
            among = Among::All;
            context.shared.backend_failed(backend, EvidenceKind::Silent, context.now);
        } else if attempt.connected {
            backend.suspect(context.shared.since_start(context.now));
        }
        self.attempt_next(among, reason, context);
        Verdict::Open
    }

    /// Sets a timer for the next thing that will be due, unless an earlier one is set.
    pub(super) fn arm(&mut self, context: &mut Context) {
        let live = self.attempts.iter().filter(|attempt| attempt.socket.is_some());
        let Some(next) = live.flat_map(|attempt| [attempt.beside, attempt.limit]).flatten().min()
        else {
            return;
        };
        if self.armed.is_none_or(|armed| next < armed) {
            self.armed = Some(next);
            context.timers.push(next, Timer::Connection(self.key));
        }
    }
}
