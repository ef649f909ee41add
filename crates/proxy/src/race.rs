//! Who serves a client: attempts at one backend after or beside the other, until one of them has
//! sent its first byte, or has been sent bytes that no other may get.

mod deadlines;
mod finish;

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::attempt::{Attempt, failure};
use crate::backend::Usable;
use crate::connection::{CLIENT, Context, Key, Side, watch};
use crate::evidence::EvidenceKind;
use crate::pick::{Among, Standing, pick, pick_least};
use crate::question::{Heard, Question};
use crate::settings::Choice;
use crate::shared::{Totals, count};
use crate::socket::close_by_reset;

/// The attempts to serve one client.
#[derive(Debug)]
pub(crate) struct Race {
    key: Key,
    usable: Usable,
    turn: usize,
    /// All attempts so far, the failed ones too; the position is the epoll side less one.
    attempts: Vec<Attempt>,
    /// What the client has sent. Every attempt gets all of it.
    question: Question,
    client_watched: bool,
    /// A timer is set for this time.
    armed: Option<Instant>,
}

/// How a race stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Undecided.
    Open,
    /// This attempt serves the client. Its first `received` bytes are in the thread's buffer, and
    /// `flags` are what epoll said of it and nobody has acted on.
    Decided { attempt: usize, received: usize, flags: EventFlags },
    /// Every backend has failed.
    Unserved,
    /// The client has reset the connection.
    ClientGone,
}

/// Why a further backend is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    First,
    Failure,
    SlowConnect,
    Silence,
}

/// Attempts for one client: what fits a [`Side`] with room to spare.
const MOST_ATTEMPTS: usize = 200;

impl Race {
    /// A race among `usable` for the client whose `turn` it is.
    pub(crate) fn new(key: Key, usable: Usable, turn: usize) -> Self {
        Self {
            key,
            usable,
            turn,
            attempts: Vec::with_capacity(1),
            question: Question::new(),
            client_watched: false,
            armed: None,
        }
    }

    /// Begins the first attempt.
    pub(crate) fn start(&mut self, context: &mut Context) -> Verdict {
        if !self.attempt_next(Among::All, Reason::First, context) {
            return Verdict::Unserved;
        }
        self.arm(context);
        Verdict::Open
    }

    /// Takes an event of the client.
    pub(crate) fn client_event(
        &mut self,
        flags: EventFlags,
        client: &OwnedFd,
        context: &mut Context,
    ) -> Verdict {
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return Verdict::ClientGone;
        }
        self.question.event(flags);
        let verdict = self.hear_client(client, context);
        self.arm(context);
        verdict
    }

    /// Takes an event of an attempt.
    pub(crate) fn attempt_event(
        &mut self,
        side: Side,
        flags: EventFlags,
        client: &OwnedFd,
        context: &mut Context,
    ) -> Verdict {
        let index = usize::from(side) - 1;
        let connect_result = match self.attempts.get_mut(index) {
            Some(attempt) if attempt.connected => None,
            Some(attempt) => {
                attempt.unheard = flags - EventFlags::OUT;
                attempt.connect_result(flags)
            }
            None => return Verdict::Open,
        };
        let mut verdict = match connect_result {
            Some(Ok(())) => self.connected(index, client, context),
            Some(Err(error)) => self.failed(index, failure(error), context),
            None => Verdict::Open,
        };
        if verdict == Verdict::Open && self.attempts[index].connected {
            verdict = self.listen(index, flags, context);
        }
        self.arm(context);
        verdict
    }

    /// Whether all attempts under way are at `backend`.
    pub(crate) fn depends_on(&self, backend: SocketAddr) -> bool {
        let mut live = self.attempts.iter().filter(|attempt| attempt.socket.is_some()).peekable();
        live.peek().is_some() && live.all(|attempt| self.usable[attempt.backend].address == backend)
    }

    /// Makes the close that follows an RST.
    pub(crate) fn close_by_reset(&self) {
        self.attempts.iter().filter_map(|attempt| attempt.socket.as_ref()).for_each(close_by_reset);
    }

    /// Begins an attempt at the next backend; false when there is none.
    fn attempt_next(&mut self, among: Among, reason: Reason, context: &Context) -> bool {
        let shared = &context.shared;
        let now = shared.since_start(context.now);
        let mut reason = reason;
        while self.attempts.len() < MOST_ATTEMPTS {
            let standing = |index: usize| {
                let tried = |attempt: &Attempt| attempt.backend == index && !attempt.overtaken;
                match () {
                    () if self.attempts.iter().any(tried) => Standing::Tried,
                    () if self.usable[index].is_suspect(now) => Standing::Suspect,
                    () => Standing::Good,
                }
            };
            let all = self.usable.len();
            let picked = match shared.settings.choice {
                Choice::RoundRobin => pick(self.turn, all, among, standing),
                Choice::LeastConnections => {
                    let load = |index: usize| self.usable[index].load();
                    pick_least(self.turn, all, among, standing, load)
                }
            };
            let Some(index) = picked else {
                return false;
            };
            if let Some(counter) = reason.counter(&shared.totals) {
                count(counter);
            }
            let backend = &self.usable[index];
            backend.chosen(now);
            let side = side_of(self.attempts.len());
            let (attempt, begun) = Attempt::begin(index, backend, self.key, side, context);
            self.attempts.push(attempt);
            let Err(error) = begun else { return true };
            if error == Errno::MFILE || error == Errno::NFILE {
                count(&shared.totals.no_descriptors);
                return false;
            }
            if let Some(kind) = failure(error) {
                shared.backend_failed(backend, kind, context.now);
            }
            reason = Reason::Failure;
        }
        false
    }

    /// An attempt is connected: it gets what the client has sent.
    fn connected(&mut self, index: usize, client: &OwnedFd, context: &mut Context) -> Verdict {
        let attempt = &mut self.attempts[index];
        attempt.connected(&self.usable[attempt.backend], context);
        if let Some(version) = context.shared.settings.proxy_protocol {
            let Some(header) = version.header_of(client) else { return Verdict::ClientGone };
            if attempt.introduce(&header).is_err() {
                return self.failed(index, Some(EvidenceKind::ResetBeforeFirstByte), context);
            }
        }

        if !self.question.is_complete() {
            // The client has not asked yet, so that there is nothing to be late with.
            self.overtake(index, context);
        }
        let verdict = match self.go_on_delivering(index, context) {
            Verdict::Open => self.hear_client(client, context),
            decided => decided,
        };
        if self.client_watched {
            return verdict;
        }
        // Only now: what was here already has cost no event.
        self.client_watched = true;
        match watch(context, client, self.key, CLIENT, EventFlags::empty(), epoll::add) {
            Ok(()) => verdict,
            Err(_) => Verdict::ClientGone,
        }
    }

    /// Reads the client's question, and passes it on to the attempt that it can be passed on to.
    fn hear_client(&mut self, client: &OwnedFd, context: &mut Context) -> Verdict {
        let is_connected = |attempt: &Attempt| attempt.connected && attempt.socket.is_some();
        let most = context.shared.settings.first_bytes;
        loop {
            let Some(index) = self.attempts.iter().rposition(is_connected) else {
                return Verdict::Open;
            };
            match self.question.hear(client, &mut context.scratch.buffer, most) {
                Heard::Nothing => return Verdict::Open,
                Heard::Gone => return Verdict::ClientGone,
                Heard::Unrepeatable => return self.commit(index),
                Heard::More => {}
            }
            let verdict = self.go_on_delivering(index, context);
            if verdict != Verdict::Open {
                return verdict;
            }
        }
    }

    /// This attempt serves the client, as no other may get the same bytes or the client's end.
    fn commit(&self, index: usize) -> Verdict {
        Verdict::Decided { attempt: index, received: 0, flags: self.attempts[index].unheard }
    }

    /// Sends an attempt what it has not got yet of the question.
    fn deliver(&mut self, index: usize, context: &Context) -> Result<(), Errno> {
        let replayed = self.attempts.iter().any(|other| other.delivered > 0);
        let attempt = &mut self.attempts[index];
        if attempt.delivered == 0 && replayed {
            count(&context.shared.totals.replays);
        }
        attempt.deliver(&self.question, &self.usable[attempt.backend], context)
    }

    /// Hears whether a connected attempt answers.
    fn listen(&mut self, index: usize, flags: EventFlags, context: &mut Context) -> Verdict {
        let attempt = &mut self.attempts[index];
        let Some(socket) = &attempt.socket else { return Verdict::Open };
        attempt.unheard = EventFlags::empty();
        if (flags - EventFlags::OUT).is_empty() {
            return self.go_on_delivering(index, context);
        }
        let answer = recv(socket, &mut *context.scratch.buffer, RecvFlags::empty());
        let reset = Some(EvidenceKind::ResetBeforeFirstByte);
        match answer {
            // It ends as the client has not asked anything: that is an answer too.
            Ok((0, _)) if self.question.bytes().is_empty() => {
                Verdict::Decided { attempt: index, received: 0, flags }
            }
            Ok((0, _)) => self.failed(index, reset, context),
            Ok((received, _)) => {
                // A short read has taken everything; see `Transfer`.
                let all = received < context.scratch.buffer.len();
                let flags = if all { flags - EventFlags::IN } else { flags };
                Verdict::Decided { attempt: index, received, flags }
            }
            Err(Errno::AGAIN | Errno::INTR) => self.go_on_delivering(index, context),
            Err(_) => self.failed(index, reset, context),
        }
    }

    /// An attempt has room again, perhaps.
    fn go_on_delivering(&mut self, index: usize, context: &mut Context) -> Verdict {
        match self.deliver(index, context) {
            Ok(()) => Verdict::Open,
            Err(_) => self.failed(index, Some(EvidenceKind::ResetBeforeFirstByte), context),
        }
    }

    /// An attempt has failed, for a reason that lies with its backend or not: the next one's turn.
    fn failed(
        &mut self,
        index: usize,
        kind: Option<EvidenceKind>,
        context: &mut Context,
    ) -> Verdict {
        let attempt = &mut self.attempts[index];
        attempt.give_up();
        if let Some(kind) = kind {
            context.shared.backend_failed(&self.usable[attempt.backend], kind, context.now);
        }
        let goes_on = self.attempt_next(Among::All, Reason::Failure, context)
            || self.attempts.iter().any(|attempt| attempt.socket.is_some());
        if goes_on { Verdict::Open } else { Verdict::Unserved }
    }
}

impl Reason {
    fn counter(self, totals: &Totals) -> Option<&AtomicU64> {
        match self {
            Self::First => None,
            Self::Failure => Some(&totals.retries),
            Self::SlowConnect => Some(&totals.raced),
            Self::Silence => Some(&totals.hedges),
        }
    }
}

/// The epoll side of an attempt.
fn side_of(attempt: usize) -> Side {
    // `MOST_ATTEMPTS` keeps it in range.
    (attempt + 1) as Side
}
