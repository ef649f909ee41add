//! The backends: which may be used, how each one fares.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::evidence::{EvidenceKind, LastReports};
use crate::histogram::Histogram;
use crate::latency::Latency;
use crate::stats::BackendStats;

/// The usable backends as one connection found them; never changed, only replaced.
pub(crate) type Usable = Arc<Vec<Arc<Backend>>>;

/// All backends the proxy was ever told of and still has reason to remember.
#[derive(Debug)]
pub(crate) struct Backends {
    usable: ArcSwap<Vec<Arc<Backend>>>,
    known: Mutex<Vec<Arc<Backend>>>,
    threads: usize,
}

/// What a new list of usable backends means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// It is not the same as before.
    pub(crate) has_changed: bool,
    /// A backend has come to others that were there before.
    pub(crate) has_joined: bool,
}

/// Backends that are neither usable nor in use are remembered up to this number of all.
const REMEMBERED: usize = 64;

impl Backends {
    /// No backends yet; `threads` will serve them.
    pub(crate) fn new(threads: usize) -> Self {
        Self { usable: ArcSwap::default(), known: Mutex::default(), threads }
    }

    /// The backends a new connection may go to.
    pub(crate) fn usable(&self) -> Usable {
        self.usable.load_full()
    }

    /// Whether new connections may go to `address`.
    pub(crate) fn is_usable(&self, address: SocketAddr) -> bool {
        self.usable.load().iter().any(|backend| backend.address == address)
    }

    /// Replaces the usable ones. One that comes back starts in good standing.
    pub(crate) fn replace(&self, addresses: &[SocketAddr]) -> Replaced {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut usable: Vec<Arc<Backend>> = Vec::with_capacity(addresses.len());
        let mut has_joined = false;
        for &address in addresses {
            if usable.iter().any(|backend| backend.address == address) {
                continue;
            }
            let found = known.iter().find(|backend| backend.address == address).cloned();
            let backend = found.unwrap_or_else(|| {
                let backend = Arc::new(Backend::new(address, self.threads));
                known.push(Arc::clone(&backend));
                backend
            });
            if !backend.usable.swap(true, Relaxed) {
                backend.forgive();
                has_joined = true;
            }
            usable.push(backend);
        }
        let before = self.usable.swap(Arc::new(usable));
        let usable = self.usable.load();
        for backend in before.iter() {
            let stays = usable.iter().any(|other| Arc::ptr_eq(other, backend));
            backend.usable.store(stays, Relaxed);
        }
        if known.len() > REMEMBERED {
            known.retain(|backend| backend.is_usable() || backend.open.load(Relaxed) > 0);
        }
        let addresses = |backends: &[Arc<Backend>]| -> Vec<SocketAddr> {
            backends.iter().map(|backend| backend.address).collect()
        };
        Replaced {
            has_changed: addresses(&before) != addresses(&usable),
            has_joined: has_joined && !before.is_empty(),
        }
    }

    /// Counters of all known backends, usable ones first.
    pub(crate) fn stats(&self) -> Vec<BackendStats> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats: Vec<_> = known.iter().map(|backend| backend.stats()).collect();
        stats.sort_by_key(|backend| !backend.usable);
        stats
    }
}

/// One backend.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// How long its connects take.
    pub(crate) connect: Latency,
    /// The same, counted.
    pub(crate) connect_counts: Histogram,
    /// How long it takes to answer a ClientHello.
    pub(crate) first_byte: Latency,
    /// When what was reported about it.
    pub(crate) reports: LastReports,
    /// Client connections it serves.
    pub(crate) open: AtomicUsize,
    /// Connects begun.
    pub(crate) connects: AtomicU64,
    /// Those of them that were begun because another one had failed.
    pub(crate) retries: AtomicU64,
    /// Connections that it has to give up now.
    spare: AtomicUsize,
    /// What it has to do: clients it serves and connects under way.
    burdens: AtomicUsize,
    /// Clients it won.
    pub(crate) served: AtomicU64,
    /// When it last accepted a connection.
    pub(crate) accepted: LastTime,
    /// When it last answered a client.
    pub(crate) answered: LastTime,
    failures: [AtomicU64; FAILURES],
    traffic: Box<[Traffic]>,
    usable: AtomicBool,
    strikes: AtomicU32,
    suspect_until: AtomicU64,
}

/// Kinds of evidence that are failures: all but [`EvidenceKind::Answered`], the last one.
const FAILURES: usize = EvidenceKind::Answered as usize;

/// Bytes moved by one thread, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

/// When something last happened, in microseconds since the proxy's start.
#[derive(Debug, Default)]
pub(crate) struct LastTime(AtomicU64);

impl LastTime {
    /// It happens now.
    pub(crate) fn set(&self, now: Duration) {
        self.0.store(now.as_micros() as u64, Relaxed);
    }

    /// When it last happened; the proxy's start, if it never has.
    pub(crate) fn value(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}

/// How long a first failure makes a backend the last choice; every further one doubles it.
const PENALTY: Duration = Duration::from_secs(1);
const PENALTY_DOUBLINGS: u32 = 3;

impl Backend {
    fn new(address: SocketAddr, threads: usize) -> Self {
        Self {
            address,
            connect: Latency::default(),
            connect_counts: Histogram::default(),
            first_byte: Latency::default(),
            reports: LastReports::default(),
            open: AtomicUsize::new(0),
            connects: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            spare: AtomicUsize::new(0),
            burdens: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            accepted: LastTime::default(),
            answered: LastTime::default(),
            failures: Default::default(),
            traffic: (0..threads).map(|_| Traffic::default()).collect(),
            usable: AtomicBool::new(false),
            strikes: AtomicU32::new(0),
            suspect_until: AtomicU64::new(0),
        }
    }

    /// How many clients it serves or may serve in a moment: with those alone that it serves, all
    /// of a storm would go to the same one.
    pub(crate) fn load(&self) -> usize {
        self.burdens.load(Relaxed)
    }

    /// Whether new connections may go to it.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable.load(Relaxed)
    }

    /// Whether it failed so recently that others come first. Times are since the proxy's start.
    pub(crate) fn is_suspect(&self, now: Duration) -> bool {
        (now.as_millis() as u64) < self.suspect_until.load(Relaxed)
    }

    /// Makes it the last choice for a while.
    pub(crate) fn suspect(&self, now: Duration) {
        let earlier = self.strikes.fetch_add(1, Relaxed);
        let penalty = PENALTY * (1 << earlier.min(PENALTY_DOUBLINGS));
        self.suspect_until.store((now + penalty).as_millis() as u64, Relaxed);
    }

    /// Notes that a client goes to it. When it has failed before, this client is the trial, and
    /// the others keep away until it has answered.
    pub(crate) fn chosen(&self, now: Duration) {
        self.connects.fetch_add(1, Relaxed);
        if self.strikes.load(Relaxed) > 0 {
            self.suspect_until.fetch_max((now + PENALTY).as_millis() as u64, Relaxed);
        }
    }

    /// Puts it back in good standing.
    pub(crate) fn forgive(&self) {
        if self.strikes.load(Relaxed) > 0 {
            self.strikes.store(0, Relaxed);
            self.suspect_until.store(0, Relaxed);
        }
    }

    /// Replaces the number of connections that it has to give up; what it was.
    pub(crate) fn spare(&self, connections: usize) -> usize {
        self.spare.swap(connections, Relaxed)
    }

    /// Whether one of its connections is to be given up. Says so once for each.
    pub(crate) fn gives_up_one(&self) -> bool {
        let less = |spare: usize| spare.checked_sub(1);
        self.spare.fetch_update(Relaxed, Relaxed, less).is_ok()
    }

    /// Counts a failure.
    pub(crate) fn count_failure(&self, kind: EvidenceKind) {
        if let Some(counter) = self.failures.get(kind as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// Counts bytes that `thread` moved to the backend.
    pub(crate) fn moved_up(&self, thread: usize, bytes: u64) {
        add(&self.traffic[thread].up, bytes);
    }

    /// Counts bytes that `thread` moved from the backend.
    pub(crate) fn moved_down(&self, thread: usize, bytes: u64) {
        add(&self.traffic[thread].down, bytes);
    }

    fn stats(&self) -> BackendStats {
        let failures = |kind: EvidenceKind| self.failures[kind as usize].load(Relaxed);
        BackendStats {
            address: self.address,
            usable: self.is_usable(),
            open: self.open.load(Relaxed),
            connects: self.connects.load(Relaxed),
            retries: self.retries.load(Relaxed),
            refused: failures(EvidenceKind::Refused),
            unreachable: failures(EvidenceKind::Unreachable),
            timeouts: failures(EvidenceKind::ConnectTimeout),
            silent: failures(EvidenceKind::Silent),
            resets: failures(EvidenceKind::ResetBeforeFirstByte),
            served: self.served.load(Relaxed),
            bytes_up: self.traffic.iter().map(|traffic| traffic.up.load(Relaxed)).sum(),
            bytes_down: self.traffic.iter().map(|traffic| traffic.down.load(Relaxed)).sum(),
            last_connect: self.connect.last(),
            mean_connect: self.connect.mean(),
            mean_first_byte: self.first_byte.mean(),
            connect_latency: self.connect_counts.stats(),
        }
    }
}

/// One attempt or one client of a backend; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Burden(Arc<Backend>);

impl Burden {
    /// One more on this backend.
    pub(crate) fn on(backend: &Arc<Backend>) -> Self {
        backend.burdens.fetch_add(1, Relaxed);
        Self(Arc::clone(backend))
    }
}

impl Deref for Burden {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.0
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.0.burdens.fetch_sub(1, Relaxed);
    }
}

/// Adds to a counter that has one writer: no locked instruction on the way of every message.
fn add(counter: &AtomicU64, bytes: u64) {
    counter.store(counter.load(Relaxed) + bytes, Relaxed);
}
