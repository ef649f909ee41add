//! A [`Contest`] at work: its sockets and its timers.

use std::net::SocketAddr;
use std::time::Instant;

use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{self, socket_error};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::backend::Usable;
use crate::connection::{CLIENT, Context, Key, Side, Timer, watch};
use crate::contest::{
    Answer, Contest, Failure, RESET_BEFORE_FIRST_BYTE, Sent, Step, Verdict, Winner,
};
use crate::evidence::EvidenceKind;
use crate::proxy_protocol::ProxyProtocol;
use crate::question::Reading;
use crate::socket::{begin_connect, close_by_reset, prepare};

/// The attempts to serve one client.
#[derive(Debug)]
pub(crate) struct Race {
    key: Key,
    contest: Contest<OwnedFd>,
    client_watched: bool,
}

impl Race {
    /// A race among `usable` for the client whose `turn` it is.
    pub(crate) fn new(key: Key, usable: Usable, turn: usize) -> Self {
        Self { key, contest: Contest::new(usable, turn), client_watched: false }
    }

    /// Goes on until there is nothing to do but wait, or until it is over. The first bytes of a
    /// winner's answer are in the thread's buffer then.
    pub(crate) fn run(&mut self, client: &OwnedFd, context: &mut Context) -> Option<Verdict> {
        loop {
            match self.contest.next(&context.shared, context.now) {
                Step::Connect { attempt, address } => self.connect(attempt, address, context),
                Step::Introduce { attempt } => self.introduce(attempt, client, context),
                Step::Hear => self.hear(client, context),
                Step::Listen { attempt } => self.listen(attempt, context),
                Step::Send { attempt } => self.send(attempt, context),
                Step::End { attempt } => {
                    if let Some(socket) = self.contest.line(attempt) {
                        // If it is broken already, the next read says so.
                        let _ = shutdown(socket, Shutdown::Write);
                    }
                }
                Step::Settle { attempt } => {
                    if let Some(socket) = self.contest.line(attempt) {
                        let settings = &context.shared.settings;
                        // If the socket is broken already, its event says so.
                        let _ = prepare(socket, settings, settings.backend_user_timeout);
                    }
                }
                Step::Close { line, by_reset } => {
                    if by_reset {
                        close_by_reset(&line);
                    }
                }
                Step::Arm(deadline) => {
                    context.timers.push(deadline, Timer::Connection(self.key));
                }
                Step::Wait => {
                    if self.is_client_watched(client, context) {
                        return None;
                    }
                    self.contest.client_gone();
                }
                Step::Over(verdict @ Verdict::Decided { .. }) => {
                    let watched = self.is_client_watched(client, context);
                    return Some(if watched { verdict } else { Verdict::ClientGone });
                }
                Step::Over(verdict) => return Some(verdict),
            }
        }
    }

    /// Takes an event of the client.
    pub(crate) fn client_event(&mut self, flags: EventFlags) {
        self.contest.client_event(flags);
    }

    /// Takes an event of an attempt.
    pub(crate) fn attempt_event(&mut self, side: Side, flags: EventFlags, context: &Context) {
        let attempt = usize::from(side) - 1;
        if !self.contest.is_connecting(attempt) {
            return self.contest.event(attempt, flags);
        }
        let Some(socket) = self.contest.line(attempt) else { return };
        let result = if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
            socket_error(socket).and_then(|result| result)
        } else if flags.contains(EventFlags::OUT) {
            Ok(())
        } else {
            return;
        };
        let (shared, now) = (&context.shared, Instant::now());
        match result {
            Ok(()) => self.contest.connected(attempt, flags, shared, now),
            Err(error) => self.contest.fail(attempt, failure(error), shared, now),
        }
    }

    /// A deadline has passed, perhaps one of its own.
    pub(crate) fn deadline(&mut self, now: Instant) {
        self.contest.deadline(now);
    }

    /// How it ended, if it has.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.contest.verdict()
    }

    /// The winner, once there is one.
    pub(crate) fn winner(&mut self) -> Option<Winner<OwnedFd>> {
        self.contest.winner()
    }

    /// Whether all attempts under way are at `backend`.
    pub(crate) fn depends_on(&self, backend: SocketAddr) -> bool {
        self.contest.depends_on(backend)
    }

    /// Makes the close that follows an RST.
    pub(crate) fn close_by_reset(&self) {
        self.contest.lines().for_each(close_by_reset);
    }

    fn connect(&mut self, attempt: usize, address: SocketAddr, context: &Context) {
        let now = Instant::now();
        let socket = begin_connect(address).and_then(|socket| {
            watch(context, &socket, self.key, side_of(attempt), EventFlags::OUT, epoll::add)?;
            Ok(socket)
        });
        self.contest.begun(attempt, socket.map_err(failure), &context.shared, now);
    }

    fn introduce(&mut self, attempt: usize, client: &OwnedFd, context: &Context) {
        let (shared, now) = (&context.shared, context.now);
        let (Some(socket), Some(version)) =
            (self.contest.line(attempt), shared.settings.proxy_protocol)
        else {
            return self.contest.introduced(attempt, shared, now);
        };
        match introduce(socket, version, client) {
            Introduction::Made => self.contest.introduced(attempt, shared, now),
            Introduction::NoClient => self.contest.client_gone(),
            Introduction::Broken => {
                self.contest.fail(attempt, RESET_BEFORE_FIRST_BYTE, shared, now);
            }
        }
    }

    fn hear(&mut self, client: &OwnedFd, context: &mut Context) {
        let buffer = &mut *context.scratch.buffer;
        let reading = match recv(client, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Reading::End,
            Ok((length, _)) => {
                Reading::Bytes { bytes: &buffer[..length], short: length < buffer.len() }
            }
            Err(Errno::AGAIN | Errno::INTR) => Reading::Nothing,
            Err(_) => Reading::Broken,
        };
        self.contest.heard(reading, &context.shared, context.now);
    }

    fn listen(&mut self, attempt: usize, context: &mut Context) {
        let Some(socket) = self.contest.line(attempt) else { return };
        let buffer = &mut *context.scratch.buffer;
        let answer = match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((0, _)) => Answer::End,
            Ok((length, _)) => Answer::Bytes { length, short: length < buffer.len() },
            Err(Errno::AGAIN | Errno::INTR) => Answer::Nothing,
            Err(_) => Answer::Broken,
        };
        self.contest.answered(attempt, answer, &context.shared, Instant::now());
    }

    fn send(&mut self, attempt: usize, context: &Context) {
        let Some(socket) = self.contest.line(attempt) else { return };
        let sent = match send(socket, self.contest.unsent(attempt), SendFlags::NOSIGNAL) {
            Ok(length) => Sent::Bytes(length),
            Err(Errno::INTR) => return,
            Err(Errno::AGAIN) => Sent::NoRoom,
            Err(_) => Sent::Broken,
        };
        self.contest.sent(attempt, sent, &context.shared, Instant::now());
    }

    /// Watches the client once a backend has accepted; false if that fails. Only then: what was
    /// here already has cost no event.
    fn is_client_watched(&mut self, client: &OwnedFd, context: &Context) -> bool {
        if self.client_watched || !self.contest.has_connected() {
            return true;
        }
        self.client_watched = true;
        watch(context, client, self.key, CLIENT, EventFlags::empty(), epoll::add).is_ok()
    }
}

/// What came of telling a backend who its client is.
enum Introduction {
    Made,
    NoClient,
    Broken,
}

/// Tells a backend who the client is, before anything else and whether or not the client ever
/// speaks. It is sent in one piece, as the header must be: the socket has sent nothing yet.
fn introduce(socket: &OwnedFd, version: ProxyProtocol, client: &OwnedFd) -> Introduction {
    let Some(header) = version.header_of(client) else { return Introduction::NoClient };
    // Else the client's first bytes would wait for the acknowledgement of the header.
    let ready = sockopt::set_tcp_nodelay(socket, true);
    match ready.and_then(|()| send(socket, &header, SendFlags::NOSIGNAL)) {
        Ok(sent) if sent == header.len() => Introduction::Made,
        _ => Introduction::Broken,
    }
}

/// The epoll side of an attempt. A contest has fewer attempts than there are sides.
pub(crate) fn side_of(attempt: usize) -> Side {
    (attempt + 1) as Side
}

/// What an error of a connect says.
fn failure(error: Errno) -> Failure {
    match error {
        Errno::CONNREFUSED | Errno::CONNRESET => Failure::Backend(EvidenceKind::Refused),
        Errno::TIMEDOUT => Failure::Backend(EvidenceKind::ConnectTimeout),
        Errno::HOSTUNREACH
        | Errno::NETUNREACH
        | Errno::HOSTDOWN
        | Errno::NETDOWN
        | Errno::AFNOSUPPORT
        | Errno::ACCESS
        | Errno::PERM
        | Errno::INVAL => Failure::Backend(EvidenceKind::Unreachable),
        Errno::MFILE | Errno::NFILE => Failure::Descriptors,
        _ => Failure::Machine,
    }
}
