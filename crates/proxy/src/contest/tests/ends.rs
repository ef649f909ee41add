//! The two ends of contests, and what each of them has seen.

use rustix::event::epoll::EventFlags;

use super::super::{Contest, Verdict, Winner};
use super::plan::{ClientPlan, Leaves};
use super::world::MILLI;

/// What names a connection to a backend: the attempt.
pub(super) type Line = usize;

/// One client and its contest.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) plan: ClientPlan,
    pub(super) turn: usize,
    pub(super) contest: Contest<Line>,
    /// Bytes sent, and bytes of them that were read.
    pub(super) said: usize,
    pub(super) read: usize,
    pub(super) ended: bool,
    pub(super) reset: bool,
    pub(super) watched: bool,
    pub(super) attempts: Vec<Seen>,
    pub(super) verdict: Option<(u64, Verdict)>,
    pub(super) winner: Option<Winner<Line>>,
}

/// What the backend's end of an attempt has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) backend: usize,
    pub(super) begun: u64,
    pub(super) stage: Stage,
    pub(super) introduced: bool,
    pub(super) settled: bool,
    pub(super) got: Vec<u8>,
    pub(super) told_end: bool,
    pub(super) room: usize,
    /// What can be read of it.
    pub(super) speech: Option<Speech>,
    pub(super) asked: Option<u64>,
    pub(super) failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Connected,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Bytes,
    End,
    Reset,
}

impl Client {
    pub(super) fn new(plan: ClientPlan, contest: Contest<Line>) -> Self {
        Self {
            plan,
            turn: 0,
            contest,
            said: 0,
            read: 0,
            ended: false,
            reset: false,
            watched: false,
            attempts: Vec::new(),
            verdict: None,
            winner: None,
        }
    }

    /// What epoll says of the client's socket, once it is watched.
    pub(super) fn notice(&mut self) {
        if !self.watched || (self.read == self.said && !self.ended && !self.reset) {
            return;
        }
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::RDHUP, self.ended);
        flags.set(EventFlags::HUP | EventFlags::ERR, self.reset);
        self.contest.client_event(flags);
    }

    pub(super) fn connected(&mut self, attempt: usize) -> &mut Seen {
        let seen = &mut self.attempts[attempt];
        assert_eq!(seen.stage, Stage::Connected);
        seen
    }

    /// What was read of the client.
    pub(super) fn heard(&self) -> &[u8] {
        &self.plan.says[..self.read]
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn leaves(&self) -> Leaves {
        self.plan.leaves
    }

    /// When it does something for the last time.
    pub(super) fn last_deed(&self) -> u64 {
        let pauses: u64 = self.plan.pieces.iter().map(|(pause, _)| pause).sum();
        let leaves = match self.plan.leaves {
            Leaves::Never => 0,
            Leaves::Ends(pause) | Leaves::Resets(pause) => pause,
        };
        (self.plan.comes + pauses + leaves) * MILLI
    }
}

impl Seen {
    pub(super) fn new(backend: usize, room: usize, now: u64) -> Self {
        Self {
            backend,
            begun: now,
            stage: Stage::Connecting,
            introduced: false,
            settled: false,
            got: Vec::new(),
            told_end: false,
            room,
            speech: None,
            asked: None,
            failed: false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage != Stage::Closed
    }
}
