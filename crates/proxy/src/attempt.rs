//! One attempt to serve a client by one backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::backend::{Backend, Burden};
use crate::settings::Settings;

/// One attempt at one backend. `L` is the line to it, a socket: kept here for the caller, and never
/// touched.
#[derive(Debug)]
pub(crate) struct Attempt<L> {
    /// Position among the usable backends.
    pub(crate) backend: usize,
    /// None before there is one, and once the caller has been told to part with it.
    pub(crate) line: Option<L>,
    /// As long as it is alive.
    pub(crate) burden: Option<Burden>,
    pub(crate) stage: Stage,
    /// It was begun because another one was silent.
    pub(crate) is_hedge: bool,
    /// It did not fail, another was quicker: the backend may be tried again.
    pub(crate) overtaken: bool,
    started: Instant,
    /// Bytes of the question that it has got.
    pub(crate) delivered: usize,
    /// It has no room for more of it.
    pub(crate) blocked: bool,
    /// It has been told of the client's end.
    pub(crate) ended: bool,
    /// What epoll said of it and nobody has acted on.
    pub(crate) flags: EventFlags,
    /// When it got a whole ClientHello.
    pub(crate) asked: Option<Instant>,
    pub(crate) silence_reported: bool,
    /// When a backend in good standing is tried beside it.
    pub(crate) beside: Option<Instant>,
    /// When it has failed to connect, or stayed silent for too long.
    pub(crate) limit: Option<Instant>,
    /// A deadline that has passed and that nobody has acted on.
    pub(crate) late: Option<Late>,
    /// Whether the line has the options of one that stays.
    pub(crate) options: Options,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The connect is under way.
    Connecting,
    /// The backend has accepted, and must be told who the client is before anything else.
    Unintroduced,
    /// The backend gets the question.
    Connected,
    /// Given up; the line, if there still is one, is to be closed, by an RST or not.
    Over { by_reset: bool },
}

/// Which deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// [`Attempt::beside`]
    Beside,
    /// [`Attempt::limit`]
    AtLimit,
}

/// The options of a connection that stays (keepalive, user timeout).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Options {
    /// Not needed so far: the connection may be over at once.
    Unset,
    /// To be set.
    Wanted,
    /// Set, or it was tried.
    Set,
}

/// A connect that takes less is not slow, whatever was seen before.
const CONNECT_BESIDE_LEAST: Duration = Duration::from_millis(30);

/// A first byte that takes less is not late, whatever was seen before.
const HEDGE_LEAST: Duration = Duration::from_millis(100);

impl<L> Attempt<L> {
    /// A connect to `backend`, the one in this position, is about to begin.
    pub(crate) fn new(position: usize, is_hedge: bool, now: Instant) -> Self {
        Self {
            backend: position,
            line: None,
            burden: None,
            stage: Stage::Connecting,
            is_hedge,
            overtaken: false,
            started: now,
            delivered: 0,
            blocked: false,
            ended: false,
            flags: EventFlags::empty(),
            asked: None,
            silence_reported: false,
            beside: None,
            limit: None,
            late: None,
            options: Options::Unset,
        }
    }

    /// Whether it may still serve the client.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Over { .. })
    }

    /// Whether the backend has accepted.
    pub(crate) fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// Notes that the connect has begun.
    pub(crate) fn begun(
        &mut self,
        line: L,
        backend: &Arc<Backend>,
        settings: &Settings,
        now: Instant,
    ) {
        self.line = Some(line);
        self.burden = Some(Burden::on(backend));
        self.started = now;
        self.expect(now, backend, settings);
    }

    /// Notes that `backend` has accepted; says how long it took.
    pub(crate) fn accepted(&mut self, stage: Stage, now: Instant) -> Duration {
        self.stage = stage;
        (self.beside, self.limit) = (None, None);
        now.saturating_duration_since(self.started)
    }

    /// Notes that it has got a whole ClientHello and is expected to answer.
    pub(crate) fn expect_answer(&mut self, backend: &Backend, settings: &Settings, now: Instant) {
        self.asked = Some(now);
        self.expect(now, backend, settings);
    }

    /// Ends it.
    pub(crate) fn give_up(&mut self, by_reset: bool) {
        self.stage = Stage::Over { by_reset };
        self.burden = None;
    }

    /// Marks what is due by now: a connection that is not over at once needs its options. A client
    /// may connect and say nothing for hours: without them, nobody would notice a backend that has
    /// gone by then.
    pub(crate) fn pass_deadlines(&mut self, now: Instant) {
        let due = |deadline: &mut Option<Instant>| deadline.take_if(|due| *due <= now).is_some();
        if self.is_connected() && self.options == Options::Unset {
            self.options = Options::Wanted;
        }
        if due(&mut self.limit) {
            self.late = Some(Late::AtLimit);
        } else if due(&mut self.beside) {
            self.late = Some(Late::Beside);
        }
    }

    /// How long it may take to connect, or to answer once it is connected: until the next backend
    /// is tried beside it, or until it has failed.
    pub(crate) fn patience(&self, late: Late, backend: &Backend, settings: &Settings) -> Duration {
        match (self.is_connected(), late) {
            (false, Late::AtLimit) => settings.connect_timeout,
            (false, Late::Beside) => {
                backend.connect.patience(CONNECT_BESIDE_LEAST, settings.connect_beside)
            }
            (true, Late::AtLimit) => settings.hedge_after,
            (true, Late::Beside) => backend.first_byte.patience(HEDGE_LEAST, settings.hedge_after),
        }
    }

    /// Sets when it will be late for what began at `start`.
    fn expect(&mut self, start: Instant, backend: &Backend, settings: &Settings) {
        self.beside = Some(start + self.patience(Late::Beside, backend, settings));
        self.limit = Some(start + self.patience(Late::AtLimit, backend, settings));
    }
}
