//! What all threads of a proxy share.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::OwnedFd;

use crate::backend::{Backend, Backends};
use crate::evidence::{Evidence, EvidenceKind, Subscribers};
use crate::listener::Arrivals;
use crate::settings::{Choice, Settings};
use crate::sources::Sources;
use crate::stats::{Rejected, Stats, ThreadStats};
use crate::terms::Terms;

/// What all threads and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// As given at the start; see `terms` for what may have changed since.
    pub(crate) settings: Settings,
    /// What holds for new clients.
    pub(crate) terms: ArcSwap<Terms>,
    /// Connections that there are descriptors for.
    capacity: usize,
    /// Whose turn it is.
    pub(crate) turn: AtomicUsize,
    /// Where clients come from.
    pub(crate) sources: Sources,
    /// Client connections open, over all threads.
    pub(crate) open: AtomicUsize,
    /// The backends.
    pub(crate) backends: Backends,
    /// Who hears about them.
    pub(crate) subscribers: Subscribers,
    /// A backend is getting its share back.
    pub(crate) rebalancing: AtomicBool,
    /// Counters.
    pub(crate) totals: Totals,
    /// What came in, per listen address.
    pub(crate) arrivals: Vec<Arc<Arrivals>>,
    /// The threads.
    pub(crate) threads: Vec<Mailbox>,
    /// How many of them take clients: the first ones.
    pub(crate) working: AtomicUsize,
    started: Instant,
    warned: AtomicU64,
}

/// One warning of a kind that repeats within this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Counters of rare events or of once per connection.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// For the connection to a backend; what the listeners lacked is counted by them.
    pub(crate) no_descriptors: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) unserved: AtomicU64,
    pub(crate) gone: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) raced: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) hedges_won: AtomicU64,
    pub(crate) replays: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) rebalanced: AtomicU64,
}

/// Counts one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// How to reach one thread, and how it fares.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Client connections that it owns or will own.
    pub(crate) open: AtomicUsize,
    /// What it used of a core lately, in thousandths.
    pub(crate) share: AtomicU32,
    /// When its loop last turned, in milliseconds since the start.
    pub(crate) turned: AtomicU64,
    /// Readable while there are commands.
    pub(crate) wake: OwnedFd,
    commands: Sender<Command>,
}

/// What a thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Serve this client, which another thread accepted.
    Serve(Arrival),
    /// Reset the flows to a backend at that time, unless it is usable again.
    Eject { backend: SocketAddr, at: Instant },
    /// Reset clients that connected to one of these addresses, all for `None`; answer the number.
    Reset { destinations: Option<Arc<[IpAddr]>>, answer: SyncSender<usize> },
    /// A backend has come back: see whether it should get connections of the others. For the
    /// first thread alone.
    Rebalance,
    /// Let those connections go that the backends have to give up and that are at rest.
    GiveUp,
    /// Accept nobody for now, or go on; and say so.
    Accept { whether: bool, answer: SyncSender<usize> },
    /// Look again at [`Shared::working`].
    Muster,
    /// Close the listeners, and say so.
    StopAccepting { answer: SyncSender<usize> },
    /// Reset all and end.
    End,
}

/// A client that was let in.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) client: OwnedFd,
    /// What to give back to [`Sources`] when it has gone.
    pub(crate) admitted: Option<IpAddr>,
    /// The listener's number.
    pub(crate) listener: usize,
    /// Which backend's turn it is.
    pub(crate) turn: usize,
}

impl Mailbox {
    /// A mailbox and its reader.
    pub(crate) fn new() -> io::Result<(Self, Receiver<Command>)> {
        let (commands, inbox) = channel();
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let (open, share, turned) = (AtomicUsize::new(0), AtomicU32::new(0), AtomicU64::new(0));
        Ok((Self { open, share, turned, wake, commands }, inbox))
    }

    /// Hands a command to the thread. A thread that has ended leaves it unread.
    pub(crate) fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            // Fails when the counter is full: then the thread is awake already.
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Shared {
    /// Nothing accepted yet.
    pub(crate) fn new(
        settings: Settings,
        capacity: usize,
        arrivals: Vec<Arc<Arrivals>>,
        threads: Vec<Mailbox>,
    ) -> Self {
        Self {
            sources: Sources::default(),
            terms: ArcSwap::from_pointee(Terms::new(&settings, capacity)),
            working: AtomicUsize::new(settings.threads_at_rest.clamp(1, threads.len().max(1))),
            settings,
            capacity,
            turn: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            backends: Backends::new(threads.len()),
            subscribers: Subscribers::default(),
            rebalancing: AtomicBool::new(false),
            totals: Totals::default(),
            arrivals,
            threads,
            started: Instant::now(),
            warned: AtomicU64::new(0),
        }
    }

    /// Time since the start.
    pub(crate) fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }

    /// The reverse of [`Shared::since_start`].
    pub(crate) fn instant(&self, since_start: Duration) -> Instant {
        self.started + since_start
    }

    /// How the next client is given a backend. While one is getting its share back, clients go
    /// where that is.
    pub(crate) fn choice(&self) -> Choice {
        if self.rebalancing.load(Relaxed) {
            return Choice::LeastConnections;
        }
        self.terms.load().choice
    }

    /// New clients meet these settings from now on, as far as they may change.
    pub(crate) fn change(&self, settings: &Settings) {
        self.terms.store(Arc::new(Terms::new(settings, self.capacity)));
    }

    /// Takes the place of one more connection, if the limit permits.
    pub(crate) fn admit(&self, terms: &Terms) -> bool {
        let more = |open| (open < terms.limit).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Whether it is time for another warning about the same.
    pub(crate) fn may_warn(&self, now: Instant) -> bool {
        // 0 stands for "never".
        let now = (self.since_start(now).as_millis() as u64).max(1);
        let last = self.warned.load(Relaxed);
        let due = last == 0 || now >= last + WARNING_INTERVAL.as_millis() as u64;
        due && self.warned.compare_exchange(last, now, Relaxed, Relaxed).is_ok()
    }

    /// Counts a failure of `backend`, makes it the last choice and tells who wants to know.
    pub(crate) fn backend_failed(&self, backend: &Backend, kind: EvidenceKind, now: Instant) {
        let now = self.since_start(now);
        backend.count_failure(kind);
        backend.suspect(now);
        self.report(backend, kind, now);
    }

    /// Notes that `backend` has answered a client.
    pub(crate) fn backend_answered(&self, backend: &Backend, now: Instant) {
        let now = self.since_start(now);
        backend.answered.set(now);
        backend.forgive();
        self.report(backend, EvidenceKind::Answered, now);
    }

    /// Tells what was seen, and nothing else.
    pub(crate) fn report(&self, backend: &Backend, kind: EvidenceKind, now: Duration) {
        let evidence = Evidence { backend: backend.address, kind };
        self.subscribers.report(evidence, &backend.reports, now);
    }

    /// A picture of all counters.
    pub(crate) fn stats(&self) -> Stats {
        let now = self.since_start(Instant::now());
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        let totals = &self.totals;
        let listeners: Vec<_> = self.arrivals.iter().map(|arrivals| arrivals.stats()).collect();
        let thread = |mailbox: &Mailbox| ThreadStats {
            open: mailbox.open.load(Relaxed),
            turned: now.saturating_sub(Duration::from_millis(of(&mailbox.turned))),
        };
        Stats {
            accepted: listeners.iter().map(|listener| listener.accepted).sum(),
            open: self.open.load(Relaxed),
            limit: self.terms.load().limit,
            rejected: listeners
                .iter()
                .map(|listener| listener.rejected)
                .chain([Rejected {
                    descriptors: of(&totals.no_descriptors),
                    ..Rejected::default()
                }])
                .sum(),
            accept_errors: of(&totals.accept_errors),
            unserved: of(&totals.unserved),
            gone: of(&totals.gone),
            retries: of(&totals.retries),
            raced: of(&totals.raced),
            hedges: of(&totals.hedges),
            hedges_won: of(&totals.hedges_won),
            replays: of(&totals.replays),
            resets: of(&totals.resets),
            rebalanced: of(&totals.rebalanced),
            listeners,
            backends: self.backends.stats(),
            threads: self.threads.iter().map(thread).collect(),
        }
    }
}
