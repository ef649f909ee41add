//! Checks servers and keeps their monitors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustls::ClientConfig;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::health::{Evidence, Health, Monitor, Outcome, Transition};
use crate::jitter;
use crate::selection::Candidate;
use crate::settings::HealthSettings;
use crate::snapshot::{Backend, Source};

pub(crate) mod probe;

/// All servers being checked.
pub(crate) struct Checker {
    settings: HealthSettings,
    check: Check,
    entries: BTreeMap<SocketAddr, Entry>,
    probes: JoinSet<(SocketAddr, Outcome)>,
}

/// What a server that is no apiserver has to do to be healthy. Nothing secret is shown to it, and its
/// certificate is not verified: liveness is all that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortCheck {
    /// Take a connection.
    Connect,
    /// Take part in a TLS handshake, up to the point where it asks for a client's certificate if it
    /// wants one.
    Tls,
    /// Answer GET `path` over TLS with this status. The path begins with a slash, and is visible
    /// ASCII: anything else is never healthy.
    Https {
        /// With the query, if there is one.
        path: String,
        /// The status code of a good answer.
        status: u16,
    },
}

/// What a server has to do to be healthy.
#[derive(Clone)]
pub(crate) enum Check {
    /// Answer GET `/readyz` over TLS with 200, as an apiserver does.
    Readyz(Arc<ClientConfig>),
    /// What servers of another kind have to do.
    Port(PortCheck),
}

/// One server being checked.
pub(crate) struct Entry {
    pub(crate) monitor: Monitor,
    /// When its health last changed, by the wall clock.
    pub(crate) since: SystemTime,
    /// The same by the clock that never jumps.
    pub(crate) changed: Instant,
    /// Whether it was ever healthy.
    pub(crate) proven: bool,
}

/// A change of health, and whose.
pub(crate) type Change = (SocketAddr, Transition);

impl PortCheck {
    /// What a healthy server does.
    fn good(&self) -> &'static str {
        match self {
            Self::Connect => "takes connections",
            Self::Tls => "shakes hands",
            Self::Https { .. } => "answers as it should",
        }
    }
}

impl Checker {
    /// Must be used within a tokio runtime. Dropping it ends all checks.
    pub(crate) fn new(settings: HealthSettings, check: Check) -> Self {
        Self { settings, check, entries: BTreeMap::new(), probes: JoinSet::new() }
    }

    /// Makes `check` what is done from now on.
    pub(crate) fn use_check(&mut self, check: Check) {
        self.check = check;
    }

    /// Checks just these `addresses` from now on. What is known of those kept stays known.
    pub(crate) fn check_only(&mut self, addresses: &BTreeSet<SocketAddr>) {
        self.entries.retain(|address, _| addresses.contains(address));
        for &address in addresses {
            self.entries.entry(address).or_insert_with(|| Entry::new(self.settings));
        }
    }

    /// What is known of `address`, if it is being checked.
    pub(crate) fn entry(&self, address: SocketAddr) -> Option<&Entry> {
        self.entries.get(&address)
    }

    /// What the choice is to know of `address`.
    pub(crate) fn candidate(&self, address: SocketAddr) -> Option<Candidate> {
        let entry = self.entry(address)?;
        Some(Candidate {
            address,
            health: entry.monitor.health(),
            absent: entry.monitor.is_absent(),
            proven: entry.proven,
            since: entry.changed,
        })
    }

    /// What users are to know of `address`, named by `sources`.
    pub(crate) fn backend(&self, address: SocketAddr, sources: Vec<Source>) -> Option<Backend> {
        let entry = self.entry(address)?;
        Some(Backend {
            address,
            health: entry.monitor.health(),
            reason: self.reason(entry).to_owned(),
            since: entry.since,
            failure: entry.monitor.failure(),
            latency: entry.monitor.latency(),
            sources,
        })
    }

    /// Why `entry` is as it is: the last failure, or what it does well.
    pub(crate) fn reason<'s>(&'s self, entry: &'s Entry) -> &'s str {
        match &self.check {
            Check::Port(check) if entry.monitor.health() == Health::Healthy => check.good(),
            _ => entry.monitor.reason(),
        }
    }

    /// Takes in what the proxy met at `address`.
    pub(crate) fn handle_evidence(
        &mut self,
        address: SocketAddr,
        evidence: Evidence,
    ) -> Option<Change> {
        let entry = self.entries.get_mut(&address)?;
        let transition = entry.monitor.handle_evidence(Instant::now(), evidence);
        transition.map(|it| entry.note(address, it))
    }

    /// Makes checks when they are due, and returns after each that is done. May be dropped and
    /// called again at any time.
    pub(crate) async fn step(&mut self) -> Option<Change> {
        loop {
            self.start_due();
            let next = self.entries.values().filter_map(|it| it.monitor.next_check()).min();
            let due = async {
                match next {
                    Some(next) => sleep_until(next.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(done) = self.probes.join_next() => {
                    let (address, outcome) = match done {
                        Ok(done) => done,
                        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                        Err(_) => continue,
                    };
                    let Some(entry) = self.entries.get_mut(&address) else { continue };
                    let transition = entry.monitor.handle_check(Instant::now(), outcome);
                    return transition.map(|it| entry.note(address, it));
                }
                () = due => {}
            }
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for (&address, entry) in &mut self.entries {
            if entry.monitor.due(now) {
                let (check, timeout) = (self.check.clone(), self.settings.timeout);
                self.probes.spawn(async move {
                    let outcome = match check {
                        Check::Readyz(tls) => probe::probe(address, tls, timeout).await,
                        Check::Port(PortCheck::Connect) => probe::connect(address, timeout).await,
                        Check::Port(PortCheck::Tls) => probe::handshake(address, timeout).await,
                        Check::Port(PortCheck::Https { path, status }) => {
                            probe::get(address, &path, status, timeout).await
                        }
                    };
                    (address, outcome)
                });
            }
        }
    }
}

impl Entry {
    fn new(settings: HealthSettings) -> Self {
        let now = Instant::now();
        let phase = jitter::part_of(settings.interval);
        let monitor = Monitor::new(settings, now, phase);
        Self { monitor, since: SystemTime::now(), changed: now, proven: false }
    }

    fn note(&mut self, address: SocketAddr, transition: Transition) -> Change {
        self.since = SystemTime::now();
        self.changed = Instant::now();
        self.proven |= transition.to == Health::Healthy;
        (address, transition)
    }
}

#[cfg(test)]
mod tests;
