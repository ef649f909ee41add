//! The one task that joins discovery, checks and evidence, and says what may be used.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::cache;
use crate::checker::{Change, Check, Checker};
use crate::discovery::{self, Candidate, Event};
use crate::health::{Evidence, Health};
use crate::kubeconfig::Credentials;
use crate::selection::Selection;
use crate::settings::{Checked, Settings};
use crate::snapshot::{Discovery, Resource, Snapshot, Source};
use crate::tls;

mod lists;

use lists::Lists;

/// Evidence that finds this many reports waiting is dropped: those say the same.
const EVIDENCE_QUEUE: usize = 256;
/// How long the end waits for the disk.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// Discovery waits where this many of its events are not taken in yet.
const EVENT_QUEUE: usize = 16;

/// The running work. Dropping it ends the work as well, without waiting for the end.
#[derive(Debug)]
pub struct Backends {
    reporter: Reporter,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A handle by which the proxy's threads report what they meet.
#[derive(Clone, Debug)]
pub struct Reporter {
    evidence: mpsc::Sender<(SocketAddr, Evidence)>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

/// Starts discovery and checks on the current tokio runtime. The first snapshot is there at once.
///
/// # Panics
///
/// When there is no current tokio runtime.
pub fn spawn(checked: Checked) -> Backends {
    let (stop, stopped) = oneshot::channel();
    let (manager, snapshots) = Manager::new(checked);
    let (reporter, reports) = Reporter::new(snapshots);
    let task = tokio::spawn(manager.run(reports, stopped));
    Backends::new(reporter, stop, task)
}

impl Backends {
    pub(crate) fn new(reporter: Reporter, stop: oneshot::Sender<()>, task: JoinHandle<()>) -> Self {
        Self { reporter, stop, task }
    }

    /// What is known, now and from now on. Woken up when anything but latencies has changed.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.reporter.snapshots.clone()
    }

    /// Takes in what a connection of the proxy met. Never waits; from any thread.
    pub fn report(&self, address: SocketAddr, evidence: Evidence) {
        self.reporter.report(address, evidence);
    }

    /// A handle for the same that can be given away.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Ends the work and waits for its end.
    pub async fn stop(self) {
        // An error in either says that it has ended already.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Reporter {
    /// A handle, and the end at which its reports arrive.
    pub(crate) fn new(
        snapshots: watch::Receiver<Arc<Snapshot>>,
    ) -> (Self, mpsc::Receiver<(SocketAddr, Evidence)>) {
        let (evidence, reports) = mpsc::channel(EVIDENCE_QUEUE);
        (Self { evidence, snapshots }, reports)
    }

    /// Takes in what a connection of the proxy met. Never waits; from any thread.
    pub fn report(&self, address: SocketAddr, evidence: Evidence) {
        if evidence == Evidence::Answered && self.snapshots.borrow().is_healthy(address) {
            return;
        }
        // A full queue says the same already, a closed one is past caring.
        let _ = self.evidence.try_send((address, evidence));
    }
}

/// What the task knows.
struct Manager {
    settings: Settings,
    lists: Lists,
    checker: Checker,
    selection: Selection,
    discovery: Discovery,
    snapshots: watch::Sender<Arc<Snapshot>>,
    candidates: watch::Sender<Vec<Candidate>>,
    events: mpsc::Receiver<Event>,
    reader: Option<JoinHandle<()>>,
    cache: Option<Cache>,
}

/// The task that writes the list to disk, so that a slow disk delays nothing else.
struct Cache {
    list: watch::Sender<BTreeSet<SocketAddr>>,
    writer: JoinHandle<()>,
}

impl Manager {
    fn new(checked: Checked) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Checked { settings, credentials, cached } = checked;
        let health =
            credentials.as_ref().map_or_else(|| Arc::new(tls::anonymous()), Credentials::health);
        let cache = settings.cache.clone().map(|path| {
            let known = cached.as_ref().map(|it| it.addresses.clone()).unwrap_or_default();
            let (list, changes) = watch::channel(known);
            Cache { list, writer: tokio::spawn(write_changes(path, changes)) }
        });
        let mut lists = Lists::new(settings.clone(), cached);
        if let Some(address) = credentials.as_ref().and_then(Credentials::server_address) {
            lists.add_server([address]);
        }
        let (snapshots, receiver) = watch::channel(Arc::new(Snapshot::empty()));
        let (candidates, watched) = watch::channel(Vec::new());
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let mut manager = Self {
            lists,
            checker: Checker::new(settings.health, Check::Readyz(health)),
            selection: Selection::default(),
            discovery: Discovery {
                kubeconfig: settings.kubeconfig.clone(),
                ..Discovery::default()
            },
            snapshots,
            candidates,
            events,
            reader: None,
            cache,
            settings,
        };
        manager.publish();
        manager.reader = manager.settings.kubeconfig.clone().map(|path| {
            let bootstrap = manager.settings.bootstrap_kubeconfig.clone();
            let discovery =
                discovery::Discovery::new(path, bootstrap, credentials, watched, sender);
            tokio::spawn(discovery.run())
        });
        (manager, receiver)
    }

    async fn run(
        mut self,
        mut reports: mpsc::Receiver<(SocketAddr, Evidence)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let change = tokio::select! {
                _ = &mut stopped => break,
                Some((address, evidence)) = reports.recv() => {
                    self.checker.handle_evidence(address, evidence)
                }
                Some(event) = self.events.recv() => {
                    self.handle_event(event);
                    None
                }
                change = self.checker.step() => change,
            };
            if let Some(change) = change {
                self.log_health(change);
            }
            self.publish();
        }
        if let Some(reader) = self.reader.take() {
            reader.abort();
        }
        if let Some(Cache { list, writer }) = self.cache.take() {
            drop(list);
            // It ends by itself once the last list is written; a disk that hangs is not waited for.
            let _ = timeout(LAST_WRITE, writer).await;
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Credentials(tls) => self.checker.use_check(Check::Readyz(tls)),
            Event::Server(addresses) => self.lists.add_server(addresses),
            Event::Listed { via, resource, addresses } => {
                self.handle_list(via, resource, addresses);
            }
            Event::Idle { error } => {
                self.discovery.via = None;
                if let Some(error) = error {
                    self.note_discovery_error(error);
                }
            }
        }
    }

    fn handle_list(
        &mut self,
        via: SocketAddr,
        resource: Resource,
        addresses: BTreeSet<SocketAddr>,
    ) {
        self.discovery.via = Some(via);
        let before = self.lists.listed().cloned();
        if !self.lists.take(Instant::now(), via, resource, addresses) {
            let error = format!("{via} lists no usable endpoint");
            self.note_discovery_error(error);
            return;
        }
        if self.discovery.error.take().is_some() || before.is_none() {
            info!(%via, ?resource, "reading the apiservers from the cluster");
        }
        self.discovery.read = Some(SystemTime::now());
        if let Some(now) = self.lists.listed().filter(|it| Some(*it) != before.as_ref()) {
            info!(%via, apiservers = ?now, "the list of apiservers has changed");
        }
    }

    fn note_discovery_error(&mut self, error: String) {
        if self.discovery.error.as_ref() != Some(&error) {
            warn!(%error, "the apiservers cannot be read from the cluster; the list stays as it was");
        }
        self.discovery.error = Some(error);
    }

    fn log_health(&self, (address, transition): Change) {
        let Some(entry) = self.checker.entry(address) else { return };
        let (reason, from, to) = (entry.monitor.reason(), transition.from, transition.to);
        if !self.lists.current().contains_key(&address) {
            debug!(%address, %from, %to, reason, "health of an apiserver read through, not used");
            return;
        }
        match to {
            Health::Unhealthy => warn!(%address, %from, %to, reason, "apiserver out"),
            _ => info!(%address, %from, %to, reason, "apiserver in"),
        }
    }

    /// Brings checks, choice, candidates and snapshot in line with what is known now.
    fn publish(&mut self) {
        self.lists.expire(Instant::now());
        let current = self.lists.current();
        self.keep_on_disk(&current);
        let mut checked: BTreeSet<_> = current.keys().copied().collect();
        // Discovery leaves an apiserver that hangs only if someone checks it.
        checked.extend(self.settings.local);
        checked.extend(self.discovery.via);
        checked.retain(|it| self.settings.refusal(*it).is_none());
        self.checker.check_only(&checked);

        self.choose(&current);
        let candidates = self.lists.candidates().into_iter().map(|address| {
            let entry = self.checker.entry(address);
            let health = entry.map_or(Health::Unknown, |it| it.monitor.health());
            Candidate { address, health, local: self.settings.local == Some(address) }
        });
        let candidates: Vec<_> = candidates.collect();
        self.candidates.send_if_modified(|known| {
            let changed = *known != candidates;
            *known = candidates;
            changed
        });
        let snapshot = Arc::new(self.snapshot(current));
        self.snapshots.send_if_modified(|known| {
            let changed = !known.says_the_same(&snapshot);
            *known = snapshot;
            changed
        });
    }

    /// Only the cluster's own list is worth keeping.
    fn keep_on_disk(&self, current: &BTreeMap<SocketAddr, Vec<Source>>) {
        let (Some(cache), Some(_)) = (&self.cache, self.lists.listed()) else { return };
        cache.list.send_if_modified(|kept| {
            let changed = !kept.iter().eq(current.keys());
            if changed {
                *kept = current.keys().copied().collect();
            }
            changed
        });
    }

    fn choose(&mut self, current: &BTreeMap<SocketAddr, Vec<Source>>) {
        let candidates = current.keys().filter_map(|it| self.checker.candidate(*it));
        let candidates: Vec<_> = candidates.collect();
        let was_open = self.selection.fail_open();
        self.selection.update(&candidates);
        match (was_open, self.selection.fail_open()) {
            (false, true) => error!(
                usable = ?self.selection.usable(),
                "no apiserver is healthy; a cause they share is assumed (etcd?), so these stay in use"
            ),
            (true, false) => info!(
                usable = ?self.selection.usable(),
                "apiservers are healthy again"
            ),
            _ => {}
        }
    }

    fn snapshot(&self, current: BTreeMap<SocketAddr, Vec<Source>>) -> Snapshot {
        let backends = current.into_iter();
        let backends = backends.filter_map(|(address, it)| self.checker.backend(address, it));
        Snapshot {
            backends: backends.collect(),
            usable: self.selection.usable().to_vec(),
            fail_open: self.selection.fail_open(),
            origin: self.lists.origin(),
            refused: self.lists.refused(),
            discovery: self.discovery.clone(),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Where the runtime ends before the task does.
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

/// Writes each new list, until there is nobody left to send one.
async fn write_changes(path: PathBuf, mut changes: watch::Receiver<BTreeSet<SocketAddr>>) {
    let mut failed = false;
    while changes.changed().await.is_ok() {
        let list = changes.borrow_and_update().clone();
        let file = path.clone();
        let written = tokio::task::spawn_blocking(move || cache::write(&file, &list)).await;
        let error = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = error.as_ref().filter(|_| !failed) {
            let path = path.display();
            warn!(%path, error, "the list of apiservers cannot be kept on disk; a restart begins without it");
        }
        failed = error.is_some();
    }
}

#[cfg(test)]
mod tests;
