//! The end of a race: one attempt serves the client, the others are reset.

use rustix::event::epoll::EventFlags;
use rustix::fd::OwnedFd;

use super::{Race, side_of};
use crate::backend::Burden;
use crate::connection::{Context, Side};
use crate::evidence::EvidenceKind;
use crate::shared::count;
use crate::socket::close_by_reset;

/// What the winner of a race leaves behind.
#[derive(Debug)]
pub(crate) struct Winner {
    pub(crate) socket: OwnedFd,
    pub(crate) side: Side,
    pub(crate) backend: Burden,
    /// Bytes of the client that it has got.
    pub(crate) delivered: usize,
    /// Bytes of the client that it has not got yet.
    pub(crate) undelivered: Vec<u8>,
    /// What epoll said of the client and nobody has acted on.
    pub(crate) client_flags: EventFlags,
    /// The client has ended, and the winner has been told so if it has got everything.
    pub(crate) client_ended: bool,
    /// A deadline of the race is still to come.
    pub(crate) is_timed: bool,
    /// The socket has the options of one that stays.
    pub(crate) settled: bool,
}

impl Race {
    /// Ends the race for this attempt and resets the others. None if there is no such attempt.
    pub(crate) fn finish(
        &mut self,
        winner: usize,
        answered: bool,
        context: &Context,
    ) -> Option<Winner> {
        let attempt = self.attempts.get_mut(winner)?;
        let socket = attempt.socket.take()?;
        let backend = attempt.burden.take()?;
        let settled = attempt.settled;
        let delivered = attempt.delivered;
        let (undelivered, client_flags) = self.question.take_rest(delivered);
        if answered {
            if let Some(asked) = attempt.asked {
                backend.first_byte.sample(asked.elapsed());
            }
            context.shared.backend_answered(&backend, context.now);
        } else {
            // Nothing more will be known of it: the connect has to count.
            backend.forgive();
        }
        self.overtake(winner, context);
        Some(Winner {
            socket,
            side: side_of(winner),
            backend,
            delivered,
            undelivered,
            client_flags,
            client_ended: self.question.has_ended(),
            is_timed: self.armed.is_some(),
            settled,
        })
    }

    /// Resets all attempts but `quickest`, and remembers which of them were too slow.
    pub(super) fn overtake(&mut self, quickest: usize, context: &Context) {
        let shared = &context.shared;
        let now = shared.since_start(context.now);
        let mut hedge_won = false;
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            if index == quickest {
                continue;
            }
            let Some(socket) = attempt.give_up() else { continue };
            close_by_reset(&socket);
            attempt.overtaken = true;
            if index > quickest {
                continue;
            }
            let backend = &self.usable[attempt.backend];
            if attempt.asked.is_none() {
                backend.suspect(now);
                continue;
            }
            hedge_won = true;
            if !attempt.silence_reported {
                backend.count_failure(EvidenceKind::Silent);
                shared.report(backend, EvidenceKind::Silent, now);
            }
        }
        if hedge_won {
            count(&shared.totals.hedges_won);
        }
    }
}
