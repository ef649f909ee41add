//! The loop of one thread.

mod accepting;
mod rebalancing;

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use slab::Slab;

use self::accepting::spare_descriptor;
use self::rebalancing::Rebalancing;
use crate::connection::{Connection, Context, Key, Outcome, Timer};
use crate::crew::{Crew, Usage};
use crate::listener::Listener;
use crate::pipes::PipePool;
use crate::shared::{Command, Mailbox, Shared};
use crate::timers::Timers;
use crate::transfer::Scratch;

/// A thread that accepts clients and owns connections.
#[derive(Debug)]
pub(crate) struct Worker {
    context: Context,
    connections: Slab<Connection>,
    /// Connections made so far, within what a key can tell apart.
    generation: u32,
    /// Connections that want to go on without an event.
    unfinished: Vec<Key>,
    listeners: Vec<Arc<Listener>>,
    inbox: Receiver<Command>,
    ejections: Vec<(Instant, SocketAddr)>,
    /// Given up for a moment to answer a client when there are no other descriptors.
    spare: Option<OwnedFd>,
    accepting: bool,
    /// Accepting rests until the owner says otherwise.
    paused: bool,
    usage: Usage,
    /// How many threads take clients; the first thread sees to it.
    crew: Crew,
    /// While a backend is getting its share back; the first thread sees to it.
    rebalancing: Option<Rebalancing>,
}

/// An idle loop turns this often, to show that it is alive.
const IDLE_TURN: Duration = Duration::from_millis(250);

/// How long to wait before epoll is asked again after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Events fetched at once.
const EVENTS: usize = 256;

/// Event data of what is no connection: a key's slot never gets that high.
const WAKE: u64 = u64::MAX;
const FIRST_LISTENER: u64 = u64::MAX << 32;

/// A key tells so many generations apart.
const GENERATIONS: u32 = 1 << 24;

impl Worker {
    /// A thread's state, its listeners watched.
    pub(crate) fn new(
        thread: usize,
        shared: Arc<Shared>,
        listeners: Vec<Arc<Listener>>,
        pipes: PipePool,
        inbox: Receiver<Command>,
        paused: bool,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = &shared.threads[thread].wake;
        epoll::add(&epoll, wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        let now = Instant::now();
        let at_rest = shared.working.load(Relaxed);
        let context = Context {
            shared,
            epoll,
            scratch: Scratch::new(pipes),
            timers: Timers::new(),
            thread,
            now,
        };
        let mut worker = Self {
            context,
            connections: Slab::new(),
            generation: 0,
            unfinished: Vec::new(),
            listeners,
            inbox,
            ejections: Vec::new(),
            spare: Some(spare_descriptor()?),
            accepting: false,
            paused,
            usage: Usage::new(now, Duration::ZERO),
            crew: Crew::new(at_rest),
            rebalancing: None,
        };
        worker.resume_accepting()?;
        Ok(worker)
    }

    /// Turns until it is told to end.
    pub(crate) fn run(mut self) {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        while self.turn(&mut events).is_continue() {}
        let all = self.reset_clients(|_| true);
        self.clear(all);
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> ControlFlow<()> {
        events.clear();
        let timeout = self.timeout();
        match epoll::wait(&self.context.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "epoll_wait failed, trying again");
                std::thread::sleep(ERROR_PAUSE);
            }
        }
        self.context.now = Instant::now();
        let turned = self.context.shared.since_start(self.context.now);
        self.mailbox().turned.store(turned.as_millis() as u64, Relaxed);
        let several = self.context.shared.threads.len() > 1;
        if several && let Some(share) = self.usage.share(self.context.now, thread_time) {
            self.used(share);
        }

        for event in &*events {
            let Event { flags, data, .. } = *event;
            match data.u64() {
                WAKE => self.obey()?,
                data @ FIRST_LISTENER.. => self.accept((data - FIRST_LISTENER) as usize),
                data => {
                    let (key, side) = Key::of_event(data);
                    self.with(key, |connection, context| connection.event(side, flags, context));
                }
            }
        }
        while let Some(timer) = self.context.timers.pop_due(self.context.now) {
            match timer {
                Timer::Connection(key) => self.with(key, Connection::deadline),
                Timer::Accept => self.resume_accepting_or_wait(),
                Timer::Ejection => self.end_graces(),
                Timer::Rebalance => self.rebalance(),
            }
        }
        if !self.unfinished.is_empty() {
            for key in std::mem::take(&mut self.unfinished) {
                self.with(key, Connection::resume);
            }
        }
        ControlFlow::Continue(())
    }

    /// This thread has used such a share of a core.
    fn used(&mut self, share: u32) {
        self.mailbox().share.store(share, Relaxed);
        if self.context.thread > 0 {
            return;
        }
        let shared = &self.context.shared;
        let shares: Vec<_> = shared.threads.iter().map(|it| it.share.load(Relaxed)).collect();
        let working = shared.working.load(Relaxed);
        let next = self.crew.next(working, &shares, idle_time);
        if next != working {
            tracing::debug!(threads = next, ?shares, "threads that take clients");
            shared.working.store(next, Relaxed);
            shared.threads.iter().for_each(|it| it.send(Command::Muster));
        }
    }

    /// Until the next deadline. Rounded up to what epoll_wait can tell apart, so that the deadline
    /// has passed by then.
    fn timeout(&self) -> Timespec {
        let wait = if !self.unfinished.is_empty() {
            Duration::ZERO
        } else {
            let until = |next: Instant| next.saturating_duration_since(Instant::now());
            self.context.timers.next().map_or(IDLE_TURN, until).min(IDLE_TURN)
        };
        let millis = wait.as_micros().div_ceil(1000) as i64;
        Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 }
    }

    /// Lets a connection act, if it still exists, and does what it asks for.
    fn with(&mut self, key: Key, act: impl FnOnce(&mut Connection, &mut Context) -> Outcome) {
        let found = self.connections.get_mut(key.slot()).filter(|found| found.key == key);
        let Some(connection) = found else { return };
        match act(connection, &mut self.context) {
            Outcome::Open => {}
            Outcome::Unfinished => self.unfinished.push(key),
            Outcome::Closed => self.remove(key.slot()),
            Outcome::Reset => {
                connection.close_by_reset();
                self.remove(key.slot());
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        let mut connection = self.connections.remove(slot);
        connection.release(&mut self.context);
        let admitted = connection.admitted;
        // Its backend's count falls first: those of the backends never add up to more than the total.
        drop(connection);
        self.closed(admitted);
    }

    /// Gives up the place of one connection.
    fn closed(&self, admitted: Option<IpAddr>) {
        self.context.shared.sources.gone(admitted);
        self.mailbox().open.fetch_sub(1, Relaxed);
        self.context.shared.open.fetch_sub(1, Relaxed);
    }

    fn mailbox(&self) -> &Mailbox {
        &self.context.shared.threads[self.context.thread]
    }

    /// Does what the mailbox says.
    fn obey(&mut self) -> ControlFlow<()> {
        let mut counter = [0; 8];
        // Fails only when another turn has read it already.
        let _ = rustix::io::read(&self.mailbox().wake, &mut counter);
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Serve(arrival) => self.serve(arrival),
                Command::Eject { backend, at } => {
                    self.ejections.push((at, backend));
                    self.context.timers.push(at, Timer::Ejection);
                }
                Command::Reset { destinations, answer } => {
                    let slots = self.reset_clients(|connection| match &destinations {
                        Some(these) => came_by(connection, these),
                        None => true,
                    });
                    // Who asked may have given up waiting.
                    let _ = answer.try_send(slots.len());
                    self.clear(slots);
                }
                Command::Rebalance => self.begin_to_rebalance(),
                Command::GiveUp => self.give_up(),
                Command::Accept { whether, answer } => {
                    self.paused = !whether;
                    if whether {
                        self.resume_accepting_or_wait();
                    } else {
                        self.unwatch_listeners();
                    }
                    let _ = answer.try_send(0);
                }
                Command::Muster => self.muster(),
                Command::StopAccepting { answer } => {
                    self.stop_accepting();
                    let _ = answer.try_send(0);
                }
                Command::End => return ControlFlow::Break(()),
            }
        }
        ControlFlow::Continue(())
    }

    /// Resets the connections to backends whose grace is over.
    fn end_graces(&mut self) {
        let now = self.context.now;
        let ejected: Vec<_> = self.ejections.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, backend) in ejected {
            if self.context.shared.backends.is_usable(backend) {
                continue;
            }
            let slots = self.reset_clients(|connection| connection.depends_on(backend));
            if !slots.is_empty() {
                let reset = slots.len();
                tracing::info!(%backend, reset, "connections to an ejected backend reset");
            }
            self.clear(slots);
        }
    }

    /// Resets the clients that meet the condition, and returns their slots. Nothing else is done
    /// yet: all of them shall know before the first connection is cleared away.
    fn reset_clients(&self, condition: impl Fn(&Connection) -> bool) -> Vec<usize> {
        let chosen = self.connections.iter().filter(|(_, connection)| condition(connection));
        chosen.inspect(|(_, connection)| connection.reset_client()).map(|(slot, _)| slot).collect()
    }

    /// Resets what is left of these connections.
    fn clear(&mut self, slots: Vec<usize>) {
        for slot in slots {
            self.connections[slot].close_by_reset();
            self.remove(slot);
        }
    }
}

/// What this thread has used of its core so far. None where `/proc` does not tell.
fn thread_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// How long all processors together have been idle since the machine started. None where `/proc`
/// does not tell.
fn idle_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    // "cpu", user, nice, system, idle, in hundredths of a second (proc_stat(5)).
    let idle: u64 = text.lines().next()?.split_whitespace().nth(4)?.parse().ok()?;
    Some(Duration::from_millis(10 * idle))
}

fn came_by(connection: &Connection, destinations: &[IpAddr]) -> bool {
    connection.original_destination().is_some_and(|original| destinations.contains(&original))
}
