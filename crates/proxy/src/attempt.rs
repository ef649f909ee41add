//! One attempt to serve a client by one backend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{self, socket_error};
use rustix::net::{SendFlags, Shutdown, send, shutdown};

use crate::backend::{Backend, Burden};
use crate::connection::{Context, Key, Side, watch};
use crate::evidence::EvidenceKind;
use crate::question::Question;
use crate::settings::Settings;
use crate::socket::{begin_connect, prepare};

/// One attempt at one backend.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Position among the usable backends.
    pub(crate) backend: usize,
    /// None once it has failed or is no longer wanted.
    pub(crate) socket: Option<OwnedFd>,
    /// As long as there is a socket.
    pub(crate) burden: Option<Burden>,
    /// It did not fail, another was quicker: the backend may be tried again.
    pub(crate) overtaken: bool,
    pub(crate) connected: bool,
    started: Instant,
    /// Bytes of the question that it has got.
    pub(crate) delivered: usize,
    /// It has been told of the client's end.
    ended: bool,
    /// What epoll said of it as it connected, when nobody listened yet.
    pub(crate) unheard: EventFlags,
    /// When it got a whole ClientHello.
    pub(crate) asked: Option<Instant>,
    pub(crate) silence_reported: bool,
    /// When a backend in good standing is tried beside it.
    pub(crate) beside: Option<Instant>,
    /// When it has failed to connect, or stayed silent for too long.
    pub(crate) limit: Option<Instant>,
    /// The socket has the options of one that stays.
    pub(crate) settled: bool,
}

/// A connect that takes less is not slow, whatever was seen before.
const CONNECT_BESIDE_LEAST: Duration = Duration::from_millis(30);

/// A first byte that takes less is not late, whatever was seen before.
const HEDGE_LEAST: Duration = Duration::from_millis(100);

impl Attempt {
    /// Begins a connect to `backend`, the one in this position. The attempt is there even when it
    /// fails at once.
    pub(crate) fn begin(
        position: usize,
        backend: &Arc<Backend>,
        key: Key,
        side: Side,
        context: &Context,
    ) -> (Self, Result<(), Errno>) {
        let started = Instant::now();
        let socket = begin_connect(backend.address).and_then(|socket| {
            watch(context, &socket, key, side, EventFlags::OUT, epoll::add)?;
            Ok(socket)
        });
        let (socket, result) = match socket {
            Ok(socket) => (Some(socket), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let burden = socket.is_some().then(|| Burden::on(backend));
        let mut attempt = Self {
            backend: position,
            socket,
            burden,
            overtaken: false,
            connected: false,
            started,
            delivered: 0,
            ended: false,
            unheard: EventFlags::empty(),
            asked: None,
            silence_reported: false,
            beside: None,
            limit: None,
            settled: false,
        };
        attempt.expect(started, backend, context);
        (attempt, result)
    }

    /// How the connect has ended, if it has.
    pub(crate) fn connect_result(&self, flags: EventFlags) -> Option<Result<(), Errno>> {
        let socket = self.socket.as_ref()?;
        if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            return Some(socket_error(socket).and_then(|result| result));
        }
        flags.contains(EventFlags::OUT).then_some(Ok(()))
    }

    /// Notes that `backend` has accepted.
    pub(crate) fn connected(&mut self, backend: &Backend, context: &Context) {
        self.connected = true;
        (self.beside, self.limit) = (None, None);
        backend.accepted.set(context.shared.since_start(context.now));
        let took = self.started.elapsed();
        backend.connect.sample(took);
        backend.connect_counts.record(took);
    }

    /// Gives its socket what only a connection needs that is not over at once, unless it has that.
    /// A client may connect and say nothing for hours: without it, nobody would notice a backend
    /// that has gone by then.
    pub(crate) fn settle(&mut self, settings: &Settings) -> Result<(), Errno> {
        match &self.socket {
            Some(socket) if self.connected && !self.settled => {
                self.settled = true;
                prepare(socket, settings, settings.backend_user_timeout)
            }
            _ => Ok(()),
        }
    }

    /// Tells the backend who the client is, before anything else and whether or not the client
    /// ever speaks. It is sent in one piece, as the header must be: the socket has sent nothing yet.
    pub(crate) fn introduce(&mut self, header: &[u8]) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        // Else the client's first bytes would wait for the acknowledgement of the header.
        sockopt::set_tcp_nodelay(socket, true)?;
        match send(socket, header, SendFlags::NOSIGNAL)? {
            sent if sent == header.len() => Ok(()),
            _ => Err(Errno::MSGSIZE),
        }
    }

    /// Ends it. What is left of its socket is returned.
    pub(crate) fn give_up(&mut self) -> Option<OwnedFd> {
        self.burden = None;
        self.socket.take()
    }

    /// Sends what it has not got yet of the question. Once it has a whole one, it is expected to
    /// answer.
    pub(crate) fn deliver(
        &mut self,
        question: &Question,
        backend: &Backend,
        context: &Context,
    ) -> Result<(), Errno> {
        let Some(socket) = &self.socket else { return Ok(()) };
        while let Some(rest @ [_, ..]) = question.bytes().get(self.delivered..) {
            match send(socket, rest, SendFlags::NOSIGNAL) {
                Ok(length) => self.delivered += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if question.has_ended() && !self.ended {
            self.ended = true;
            // If it is broken already, the next read says so.
            let _ = shutdown(socket, Shutdown::Write);
        }
        if question.is_complete() && self.asked.is_none() {
            let now = Instant::now();
            self.asked = Some(now);
            self.expect(now, backend, context);
        }
        Ok(())
    }

    /// How long it may take to connect, or to answer once it is connected: until the next backend
    /// is tried beside it, or until it has failed.
    pub(crate) fn patience(
        &self,
        at_limit: bool,
        backend: &Backend,
        context: &Context,
    ) -> Duration {
        let settings = &context.shared.settings;
        match (self.connected, at_limit) {
            (false, true) => settings.connect_timeout,
            (false, false) => {
                backend.connect.patience(CONNECT_BESIDE_LEAST, settings.connect_beside)
            }
            (true, true) => settings.hedge_after,
            (true, false) => backend.first_byte.patience(HEDGE_LEAST, settings.hedge_after),
        }
    }

    /// Sets when it will be late for what began at `start`.
    fn expect(&mut self, start: Instant, backend: &Backend, context: &Context) {
        self.beside = Some(start + self.patience(false, backend, context));
        self.limit = Some(start + self.patience(true, backend, context));
    }
}

/// What an error of connect says about the backend; None if it lies with this machine.
pub(crate) fn failure(error: Errno) -> Option<EvidenceKind> {
    match error {
        Errno::CONNREFUSED | Errno::CONNRESET => Some(EvidenceKind::Refused),
        Errno::TIMEDOUT => Some(EvidenceKind::ConnectTimeout),
        Errno::HOSTUNREACH
        | Errno::NETUNREACH
        | Errno::HOSTDOWN
        | Errno::NETDOWN
        | Errno::AFNOSUPPORT
        | Errno::ACCESS
        | Errno::PERM
        | Errno::INVAL => Some(EvidenceKind::Unreachable),
        _ => None,
    }
}
