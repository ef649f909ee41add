//! One client from accept to close.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::connect_unspec;

use crate::backend::{Burden, Usable};
use crate::contest::Verdict;
use crate::race::{Race, side_of};
use crate::shared::{Arrival, Shared, count};
use crate::socket::{close_by_reset, original_destination, prepare};
use crate::timers::Timers;
use crate::transfer::{Progress, Scratch, Transfer};

/// What a connection needs of the thread that owns it.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) epoll: OwnedFd,
    pub(crate) scratch: Scratch,
    pub(crate) timers: Timers<Timer>,
    /// Number of the thread.
    pub(crate) thread: usize,
    /// When the events at hand were fetched.
    pub(crate) now: Instant,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Something about a connection is due.
    Connection(Key),
    /// Accepting goes on.
    Accept,
    /// The grace of an ejected backend is over.
    Ejection,
    /// A backend is to get more of its share back.
    Rebalance,
}

/// Passes of a rebalancing without an event after which a connection may be closed: a second.
const AT_REST: u8 = 10;

/// Names a connection for as long as it lives; a later one in the same slot has another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// Which of a connection's sockets an event is about: the client's, or that of an attempt.
pub(crate) type Side = u8;

/// The client's socket; attempts count from 1.
pub(crate) const CLIENT: Side = 0;

impl Key {
    /// The key of the `generation`th connection of a thread, in this slot.
    pub(crate) fn new(slot: usize, generation: u32) -> Self {
        Self((slot as u64) << 32 | u64::from(generation << 8))
    }

    /// Its slot.
    pub(crate) fn slot(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// What epoll shall say about one of its sockets.
    pub(crate) fn event_data(self, side: Side) -> EventData {
        EventData::new_u64(self.0 | u64::from(side))
    }

    /// The reverse of [`Key::event_data`].
    pub(crate) fn of_event(data: u64) -> (Self, Side) {
        let side = data as Side;
        (Self(data ^ u64::from(side)), side)
    }
}

/// What becomes of a connection after it was given something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits for events.
    Open,
    /// It had its share of time and wants to be resumed after the others.
    Unfinished,
    /// Both sides have ended.
    Closed,
    /// It is to be reset.
    Reset,
}

/// A client and what serves it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) key: Key,
    /// What to give back when it has gone.
    pub(crate) admitted: Option<IpAddr>,
    client: OwnedFd,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// No backend has shown yet that it serves this client.
    Racing(Box<Race>),
    /// One has.
    Flowing(Flow),
}

/// An established connection.
#[derive(Debug)]
struct Flow {
    upstream: OwnedFd,
    side: Side,
    backend: Burden,
    up: Transfer,
    down: Transfer,
    /// Epoll tells when the client's socket has room; asked for only once it had none.
    client_room_watched: bool,
    /// The backend's socket has the options of one that stays.
    settled: bool,
    /// Passes of a rebalancing since the last event.
    quiet: u8,
}

impl Connection {
    /// A client that shall get one of the `usable` backends.
    pub(crate) fn new(key: Key, arrival: Arrival, usable: Usable) -> Self {
        let Arrival { client, admitted, turn, .. } = arrival;
        Self { key, admitted, client, stage: Stage::Racing(Box::new(Race::new(key, usable, turn))) }
    }

    /// Begins to connect.
    pub(crate) fn start(&mut self, context: &mut Context) -> Outcome {
        self.race(context)
    }

    /// Takes an event of one of its sockets.
    pub(crate) fn event(
        &mut self,
        side: Side,
        flags: EventFlags,
        context: &mut Context,
    ) -> Outcome {
        match &mut self.stage {
            Stage::Flowing(flow) => {
                return flow.event(side, flags, self.key, &self.client, context);
            }
            Stage::Racing(race) if side == CLIENT => race.client_event(flags),
            Stage::Racing(race) => race.attempt_event(side, flags, context),
        }
        self.race(context)
    }

    /// A deadline has passed, perhaps one of its own.
    pub(crate) fn deadline(&mut self, context: &mut Context) -> Outcome {
        match &mut self.stage {
            Stage::Racing(race) => race.deadline(context.now),
            Stage::Flowing(flow) => return flow.settle(context),
        }
        self.race(context)
    }

    /// Goes on after [`Outcome::Unfinished`].
    pub(crate) fn resume(&mut self, context: &mut Context) -> Outcome {
        match &mut self.stage {
            Stage::Flowing(flow) => flow.run(self.key, &self.client, context),
            Stage::Racing(_) => Outcome::Open,
        }
    }

    /// Whether its bytes go to `backend` and nowhere else.
    pub(crate) fn depends_on(&self, backend: SocketAddr) -> bool {
        match &self.stage {
            Stage::Flowing(flow) => flow.backend.address == backend,
            Stage::Racing(race) => race.depends_on(backend),
        }
    }

    /// Notes another pass of a rebalancing, and says whether to close this connection: its backend
    /// has to give one up, and nothing moves.
    pub(crate) fn is_given_up(&mut self) -> bool {
        match &mut self.stage {
            Stage::Flowing(flow) => flow.is_given_up(&self.client),
            Stage::Racing(_) => false,
        }
    }

    /// Where the client connected to, before any redirection.
    pub(crate) fn original_destination(&self) -> Option<IpAddr> {
        original_destination(&self.client).map(|destination| destination.ip())
    }

    /// Sends the client an RST at once, without the work of a close.
    pub(crate) fn reset_client(&self) {
        // Fails only for a socket that has no client any more.
        let _ = connect_unspec(&self.client);
    }

    /// Makes the close that follows an RST on both sides.
    pub(crate) fn close_by_reset(&self) {
        close_by_reset(&self.client);
        match &self.stage {
            Stage::Flowing(flow) => close_by_reset(&flow.upstream),
            Stage::Racing(race) => race.close_by_reset(),
        }
    }

    /// Gives back what it has borrowed from the thread, and counts how it ended if no backend has
    /// served it; to be called before it is dropped.
    pub(crate) fn release(&mut self, context: &mut Context) {
        let totals = &context.shared.totals;
        match &mut self.stage {
            Stage::Flowing(flow) => {
                flow.up.release(&mut context.scratch);
                flow.down.release(&mut context.scratch);
            }
            Stage::Racing(race) => count(match race.verdict() {
                Some(Verdict::Unserved) => &totals.unserved,
                Some(Verdict::Starved) => &totals.no_descriptors,
                Some(Verdict::ClientGone | Verdict::Decided { .. }) | None => &totals.gone,
            }),
        }
    }

    fn race(&mut self, context: &mut Context) -> Outcome {
        let Stage::Racing(race) = &mut self.stage else { return Outcome::Open };
        match race.run(&self.client, context) {
            None => Outcome::Open,
            Some(Verdict::Decided { attempt, received, flags }) => {
                self.establish(attempt, received, flags, context)
            }
            Some(Verdict::Unserved | Verdict::Starved | Verdict::ClientGone) => Outcome::Reset,
        }
    }

    /// The race is over: the winner's first `received` bytes are in the buffer of the thread.
    fn establish(
        &mut self,
        attempt: usize,
        received: usize,
        flags: EventFlags,
        context: &mut Context,
    ) -> Outcome {
        let Stage::Racing(race) = &mut self.stage else { return Outcome::Open };
        let Some(winner) = race.winner() else { return Outcome::Reset };
        let mut flow = Flow {
            upstream: winner.line,
            side: side_of(attempt),
            backend: winner.backend,
            up: Transfer::default(),
            down: Transfer::default(),
            client_room_watched: false,
            settled: winner.settled,
            quiet: 0,
        };
        flow.backend.open.fetch_add(1, Relaxed);
        flow.backend.served.fetch_add(1, Relaxed);
        let sent = winner.delivered + winner.undelivered.len();
        flow.backend.moved_up(context.thread, sent as u64);
        flow.backend.moved_down(context.thread, received as u64);

        flow.up.source_event(winner.client_flags);
        if winner.client_ended && winner.undelivered.is_empty() {
            flow.up.set_ended();
        }
        flow.down.source_event(flags);
        // Otherwise the deadline does it, unless the connection is over by then.
        let settled = if winner.is_timed { Outcome::Open } else { flow.settle(context) };
        let rest = flow.up.offer(&winner.undelivered, flow.upstream.as_fd());
        let first = flow.down.offer(&context.scratch.buffer[..received], self.client.as_fd());
        let outcome = match (settled, rest, first) {
            (Outcome::Open, Ok(()), Ok(())) => flow.run(self.key, &self.client, context),
            _ => Outcome::Reset,
        };
        self.stage = Stage::Flowing(flow);
        outcome
    }
}

impl Flow {
    fn event(
        &mut self,
        side: Side,
        flags: EventFlags,
        key: Key,
        client: &OwnedFd,
        context: &mut Context,
    ) -> Outcome {
        self.quiet = 0;
        if side == CLIENT {
            // What comes with the client's end is not held back either.
            let more = flags.contains(EventFlags::IN) && !flags.contains(EventFlags::RDHUP);
            if more && self.settle(context) == Outcome::Reset {
                return Outcome::Reset;
            }
            self.up.source_event(flags);
            self.down.sink_event(flags);
        } else if side == self.side {
            self.down.source_event(flags);
            self.up.sink_event(flags);
        } else {
            // A loser of the race, closed after this event was fetched.
            return Outcome::Open;
        }
        let outcome = self.run(key, client, context);
        // Everything that could be read has been read, and the error is not always told again: a
        // socket that has sent its end before it broke is not read any more.
        if outcome == Outcome::Open && flags.contains(EventFlags::ERR) {
            count(&context.shared.totals.resets);
            return Outcome::Reset;
        }
        outcome
    }

    /// Gives the backend's socket what only a connection needs that is not over at once.
    fn settle(&mut self, context: &Context) -> Outcome {
        if self.settled {
            return Outcome::Open;
        }
        self.settled = true;
        let settings = &context.shared.settings;
        match prepare(&self.upstream, settings, settings.backend_user_timeout) {
            Ok(()) => Outcome::Open,
            Err(_) => Outcome::Reset,
        }
    }

    fn is_given_up(&mut self, client: &OwnedFd) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        self.quiet > AT_REST
            && self.up.is_at_rest()
            && self.down.is_at_rest()
            // A close with bytes unread would be a reset.
            && [client, &self.upstream].into_iter().all(|it| ioctl_fionread(it) == Ok(0))
            && self.backend.gives_up_one()
    }

    fn run(&mut self, key: Key, client: &OwnedFd, context: &mut Context) -> Outcome {
        if self.down.has_ended() {
            self.up.leave_end_to_close();
        }
        let up = self.run_up(client, context);
        if self.up.has_ended() {
            self.down.leave_end_to_close();
        }
        if up == Progress::Broken {
            // A server may answer and then reset, not having read everything: what it has sent
            // still goes to the client.
            self.down.expect_break();
        }
        let down = self.run_down(client, context);
        if up == Progress::Broken || down == Progress::Broken {
            count(&context.shared.totals.resets);
            return Outcome::Reset;
        }
        if self.up.has_ended() && self.down.has_ended() {
            return Outcome::Closed;
        }
        if self.down.is_blocked() && !self.client_room_watched {
            self.client_room_watched = true;
            if watch(context, client, key, CLIENT, EventFlags::OUT, epoll::modify).is_err() {
                return Outcome::Reset;
            }
        }
        if up == Progress::Unfinished || down == Progress::Unfinished {
            return Outcome::Unfinished;
        }
        Outcome::Open
    }

    fn run_up(&mut self, client: &OwnedFd, context: &mut Context) -> Progress {
        let mut moved = 0;
        let (source, sink) = (client.as_fd(), self.upstream.as_fd());
        let progress = self.up.run(source, sink, &mut context.scratch, &mut moved);
        self.backend.moved_up(context.thread, moved);
        progress
    }

    fn run_down(&mut self, client: &OwnedFd, context: &mut Context) -> Progress {
        let mut moved = 0;
        let (source, sink) = (self.upstream.as_fd(), client.as_fd());
        let progress = self.down.run(source, sink, &mut context.scratch, &mut moved);
        self.backend.moved_down(context.thread, moved);
        progress
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.backend.open.fetch_sub(1, Relaxed);
    }
}

/// Asks epoll, by `epoll::add` or `epoll::modify`, for what every socket wants, and `more`.
pub(crate) fn watch<'a>(
    context: &'a Context,
    socket: &'a OwnedFd,
    key: Key,
    side: Side,
    more: EventFlags,
    how: impl FnOnce(&'a OwnedFd, &'a OwnedFd, EventData, EventFlags) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let flags = EventFlags::IN | EventFlags::RDHUP | EventFlags::ET | more;
    how(&context.epoll, socket, key.event_data(side), flags)
}

#[cfg(test)]
mod tests;
