//! Who serves a client, decided: attempts at one backend after or beside the other, until one of
//! them has sent its first byte, or has been sent bytes that no other may get.
//!
//! No sockets and no clock. The owner asks [`Contest::next`] what to do, does it and says what came
//! of it, until there is nothing to do but wait; then for events and the deadline that it was told.

mod choosing;
mod deadlines;
mod finish;

use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::epoll::EventFlags;

use self::choosing::Reason;
pub(crate) use self::finish::Winner;
use crate::attempt::{Attempt, Options, Stage};
use crate::backend::Usable;
use crate::evidence::EvidenceKind;
use crate::pick::Among;
use crate::question::{Heard, Question, Reading};
use crate::shared::{Shared, count};

/// The attempts to serve one client. `L` is what the owner reaches a backend by.
#[derive(Debug)]
pub(crate) struct Contest<L> {
    usable: Usable,
    turn: usize,
    /// All attempts so far, the failed ones too.
    attempts: Vec<Attempt<L>>,
    /// What the client has sent. Every attempt gets all of it.
    question: Question,
    /// A further backend is to be tried.
    wanted: Option<(Among, Reason)>,
    /// How it ended.
    verdict: Option<Verdict>,
    /// The owner will say when this time has come.
    armed: Option<Instant>,
}

/// What the owner does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<L> {
    /// Begin to connect to this address, then [`Contest::begun`].
    Connect { attempt: usize, address: SocketAddr },
    /// Tell the backend who the client is, then [`Contest::introduced`].
    Introduce { attempt: usize },
    /// Read the client once, then [`Contest::heard`].
    Hear,
    /// Read this backend once, then [`Contest::answered`].
    Listen { attempt: usize },
    /// Send [`Contest::unsent`], then [`Contest::sent`].
    Send { attempt: usize },
    /// Tell the backend that the client has ended.
    End { attempt: usize },
    /// Give the connection the options of one that stays.
    Settle { attempt: usize },
    /// Close this one, by an RST or not.
    Close { line: L, by_reset: bool },
    /// Call [`Contest::deadline`] at this time as well; an earlier one stays.
    Arm(Instant),
    /// Wait for events and deadlines.
    Wait,
    /// It is over, for good.
    Over(Verdict),
}

/// How a contest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This attempt serves the client: [`Contest::winner`]. Of its answer, `received` bytes have
    /// been read; `flags` are what epoll said of it and nobody has acted on.
    Decided { attempt: usize, received: usize, flags: EventFlags },
    /// Every backend has failed.
    Unserved,
    /// There was no descriptor for a connection to a backend.
    Starved,
    /// The client has reset the connection.
    ClientGone,
}

/// Why an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// By its backend, or the way to it.
    Backend(EvidenceKind),
    /// By this machine.
    Machine,
    /// For want of descriptors, which others would lack too.
    Descriptors,
}

/// What a read of a backend brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many bytes; after a `short` read, nothing more was there.
    Bytes { length: usize, short: bool },
    /// The end of the stream.
    End,
    /// Nothing for now.
    Nothing,
    /// The connection is broken.
    Broken,
}

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// So many bytes, at least one.
    Bytes(usize),
    /// There was no room, and an event will tell when there is.
    NoRoom,
    /// The connection is broken.
    Broken,
}

impl<L> Contest<L> {
    /// A contest among `usable` for the client whose `turn` it is.
    pub(crate) fn new(usable: Usable, turn: usize) -> Self {
        Self {
            usable,
            turn,
            attempts: Vec::with_capacity(1),
            question: Question::new(),
            wanted: Some((Among::All, Reason::First)),
            verdict: None,
            armed: None,
        }
    }

    /// What to do next.
    pub(crate) fn next(&mut self, shared: &Shared, now: Instant) -> Step<L> {
        loop {
            if let Some(close) = self.leave() {
                return close;
            }
            if let Some(verdict) = self.verdict {
                return Step::Over(verdict);
            }
            if let Some((among, reason)) = self.wanted.take() {
                match self.attempt_next(among, reason, shared, now) {
                    Some(connect) => return connect,
                    None => continue,
                }
            }
            let position = |stage| self.attempts.iter().position(|it| it.stage == stage);
            if let Some(attempt) = position(Stage::Unintroduced) {
                return Step::Introduce { attempt };
            }
            // The client comes first: a backend that ends means one thing to a client that has
            // asked, and another to one that has not.
            if self.question.wants_reading() && position(Stage::Connected).is_some() {
                return Step::Hear;
            }
            if let Some(step) = self.attend() {
                return step;
            }
            if let Some((attempt, late)) = self.take_late() {
                self.be_late(attempt, late, shared, now);
                continue;
            }
            return self.arm();
        }
    }

    /// The connect of [`Step::Connect`] has begun at `now`, or failed at once.
    pub(crate) fn begun(
        &mut self,
        attempt: usize,
        line: Result<L, Failure>,
        shared: &Shared,
        now: Instant,
    ) {
        match (line, self.attempts.get_mut(attempt)) {
            (Ok(line), Some(it)) => {
                it.begun(line, &self.usable[it.backend], &shared.settings, now);
            }
            (Err(failure), Some(_)) => self.fail(attempt, failure, shared, now),
            (_, None) => {}
        }
    }

    /// The connect of an attempt has succeeded; `flags` are what epoll said besides.
    pub(crate) fn connected(
        &mut self,
        attempt: usize,
        flags: EventFlags,
        shared: &Shared,
        now: Instant,
    ) {
        let Some(it) = self.attempts.get_mut(attempt) else { return };
        if it.stage != Stage::Connecting {
            return;
        }
        let introduces = shared.settings.proxy_protocol.is_some();
        let stage = if introduces { Stage::Unintroduced } else { Stage::Connected };
        let took = it.accepted(stage, now);
        it.flags = flags - EventFlags::OUT;
        let backend = &self.usable[it.backend];
        backend.accepted.set(shared.since_start(now));
        backend.connect.sample(took);
        backend.connect_counts.record(took);
        if !introduces {
            self.greet(attempt, shared, now);
        }
    }

    /// The backend knows who the client is.
    pub(crate) fn introduced(&mut self, attempt: usize, shared: &Shared, now: Instant) {
        let Some(it) = self.attempts.get_mut(attempt) else { return };
        if it.stage == Stage::Unintroduced {
            it.stage = Stage::Connected;
            self.greet(attempt, shared, now);
        }
    }

    /// An attempt has failed: the next one's turn.
    pub(crate) fn fail(&mut self, attempt: usize, failure: Failure, shared: &Shared, now: Instant) {
        let Some(it) = self.attempts.get_mut(attempt).filter(|it| it.is_alive()) else { return };
        it.give_up(false);
        match failure {
            Failure::Backend(kind) => {
                shared.backend_failed(&self.usable[it.backend], kind, now);
            }
            Failure::Machine => {}
            Failure::Descriptors => {
                // That says nothing of the backend: it may be tried again.
                it.overtaken = true;
                return self.lack_descriptors(shared, now);
            }
        }
        self.wanted = Some((Among::All, Reason::Failure));
    }

    /// Takes what epoll says of a connected attempt.
    pub(crate) fn event(&mut self, attempt: usize, flags: EventFlags) {
        let Some(it) = self.attempts.get_mut(attempt) else { return };
        it.flags |= flags - EventFlags::OUT;
        it.blocked &= !flags.contains(EventFlags::OUT);
    }

    /// Takes what epoll says of the client.
    pub(crate) fn client_event(&mut self, flags: EventFlags) {
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return self.end(Verdict::ClientGone);
        }
        self.question.event(flags);
    }

    /// The client has gone.
    pub(crate) fn client_gone(&mut self) {
        self.end(Verdict::ClientGone);
    }

    /// What [`Step::Hear`] has brought.
    pub(crate) fn heard(&mut self, reading: Reading<'_>, shared: &Shared, now: Instant) {
        match self.question.hear(reading, shared.settings.first_bytes) {
            Heard::Nothing | Heard::More => {}
            Heard::Gone => self.end(Verdict::ClientGone),
            Heard::Unrepeatable => {
                // No other may get the same bytes, or the client's end.
                let latest = self.attempts.iter().rposition(Attempt::is_connected);
                if let Some(attempt) = latest {
                    self.decide(attempt, 0, self.attempts[attempt].flags, shared, now);
                }
            }
        }
    }

    /// What [`Step::Listen`] has brought.
    pub(crate) fn answered(
        &mut self,
        attempt: usize,
        answer: Answer,
        shared: &Shared,
        now: Instant,
    ) {
        let Some(it) = self.attempts.get_mut(attempt) else { return };
        let flags = std::mem::replace(&mut it.flags, EventFlags::empty());
        match answer {
            Answer::Bytes { length, short } => {
                // A short read has taken everything; see `Transfer`.
                let flags = if short { flags - EventFlags::IN } else { flags };
                self.decide(attempt, length, flags, shared, now);
            }
            // It ends as the client has not asked anything: that is an answer too.
            Answer::End if self.question.bytes().is_empty() => {
                self.decide(attempt, 0, flags, shared, now);
            }
            Answer::End | Answer::Broken => {
                self.fail(attempt, RESET_BEFORE_FIRST_BYTE, shared, now);
            }
            Answer::Nothing => {}
        }
    }

    /// How it ended, if it has.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// What an attempt has not got yet of the question.
    pub(crate) fn unsent(&self, attempt: usize) -> &[u8] {
        let delivered = self.attempts.get(attempt).map(|it| it.delivered);
        delivered.and_then(|delivered| self.question.bytes().get(delivered..)).unwrap_or_default()
    }

    /// What [`Step::Send`] has done. Once it has a whole question, it is expected to answer.
    pub(crate) fn sent(&mut self, attempt: usize, sent: Sent, shared: &Shared, now: Instant) {
        let begins_replay = self.attempts.iter().any(|other| other.delivered > 0);
        let Some(it) = self.attempts.get_mut(attempt) else { return };
        match sent {
            Sent::Bytes(length) => {
                if it.delivered == 0 && begins_replay {
                    count(&shared.totals.replays);
                }
                it.delivered += length;
                let has_all = it.delivered == self.question.bytes().len();
                if has_all && self.question.is_complete() && it.asked.is_none() {
                    it.expect_answer(&self.usable[it.backend], &shared.settings, now);
                }
            }
            Sent::NoRoom => it.blocked = true,
            Sent::Broken => self.fail(attempt, RESET_BEFORE_FIRST_BYTE, shared, now),
        }
    }

    /// The line of an attempt that is alive.
    pub(crate) fn line(&self, attempt: usize) -> Option<&L> {
        self.attempts.get(attempt)?.line.as_ref()
    }

    /// Every line that is not closed yet.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &L> {
        self.attempts.iter().filter_map(|it| it.line.as_ref())
    }

    /// Whether an attempt waits for its connect to end.
    pub(crate) fn is_connecting(&self, attempt: usize) -> bool {
        self.attempts.get(attempt).is_some_and(|it| it.stage == Stage::Connecting)
    }

    /// Whether any backend has accepted so far.
    pub(crate) fn has_connected(&self) -> bool {
        self.attempts.iter().any(Attempt::is_connected)
    }

    /// Whether all attempts under way are at `backend`.
    pub(crate) fn depends_on(&self, backend: SocketAddr) -> bool {
        let mut live = self.attempts.iter().filter(|it| it.is_alive()).peekable();
        live.peek().is_some() && live.all(|it| self.usable[it.backend].address == backend)
    }

    /// Hands out a line that is no longer wanted.
    fn leave(&mut self) -> Option<Step<L>> {
        self.attempts.iter_mut().find_map(|it| match it.stage {
            Stage::Over { by_reset } => it.line.take().map(|line| Step::Close { line, by_reset }),
            _ => None,
        })
    }

    /// An attempt can be given the question.
    fn greet(&mut self, attempt: usize, shared: &Shared, now: Instant) {
        if !self.question.is_complete() {
            // The client has not asked yet, so that there is nothing to be late with.
            self.overtake(attempt, shared, now);
        }
    }

    /// What a connected attempt needs.
    fn attend(&mut self) -> Option<Step<L>> {
        let (length, has_ended) = (self.question.bytes().len(), self.question.has_ended());
        let connected = self.attempts.iter_mut().enumerate().filter(|(_, it)| it.is_connected());
        for (attempt, it) in connected {
            if !it.flags.is_empty() {
                return Some(Step::Listen { attempt });
            }
            if it.options == Options::Wanted {
                it.options = Options::Set;
                return Some(Step::Settle { attempt });
            }
            if it.delivered < length && !it.blocked {
                return Some(Step::Send { attempt });
            }
            if it.delivered == length && has_ended && !it.ended {
                it.ended = true;
                return Some(Step::End { attempt });
            }
        }
        None
    }
}

/// What a connection that breaks amid the question says of its backend.
pub(crate) const RESET_BEFORE_FIRST_BYTE: Failure =
    Failure::Backend(EvidenceKind::ResetBeforeFirstByte);

#[cfg(test)]
mod tests;
