//! Servers of another kind on the hosts of the apiservers, such as konnectivity's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::backends::{Backends, Reporter};
use crate::checker::{Change, Check, Checker, PortCheck};
use crate::health::Evidence;
use crate::selection::Selection;
use crate::settings::HealthSettings;
use crate::snapshot::{Snapshot, Source};

/// Starts to follow the apiservers of `hosts`, and to check who is at this port of theirs, on the
/// current tokio runtime. It ends when `hosts` does.
///
/// `what` is what logs call such a server. Whether there is any is not known: that none is healthy is
/// no error here.
///
/// # Panics
///
/// When there is no current tokio runtime, or a duration or count of `health` is zero.
pub fn spawn_beside(
    what: &'static str,
    hosts: watch::Receiver<Arc<Snapshot>>,
    port: u16,
    health: HealthSettings,
    check: PortCheck,
) -> Backends {
    let (snapshots, receiver) = watch::channel(Arc::new(Snapshot::empty()));
    let (reporter, reports) = Reporter::new(receiver);
    let (stop, stopped) = oneshot::channel();
    let mut manager = Manager {
        what,
        hosts,
        port,
        checker: Checker::new(health, Check::Port(check)),
        selection: Selection::default(),
        snapshots,
    };
    manager.publish();
    Backends::new(reporter, stop, tokio::spawn(manager.run(reports, stopped)))
}

struct Manager {
    what: &'static str,
    hosts: watch::Receiver<Arc<Snapshot>>,
    port: u16,
    checker: Checker,
    selection: Selection,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Manager {
    async fn run(
        mut self,
        mut reports: mpsc::Receiver<(SocketAddr, Evidence)>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        loop {
            let change = tokio::select! {
                _ = &mut stopped => return,
                Some((address, evidence)) = reports.recv() => {
                    self.checker.handle_evidence(address, evidence)
                }
                changed = self.hosts.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                change = self.checker.step() => change,
            };
            if let Some(change) = change {
                self.log(change);
            }
            self.publish();
        }
    }

    fn log(&self, (address, transition): Change) {
        let Some(entry) = self.checker.entry(address) else { return };
        let (reason, from, to) = (self.checker.reason(entry), transition.from, transition.to);
        info!(%address, %from, %to, reason, "health of a {}", self.what);
    }

    fn publish(&mut self) {
        let hosts = Arc::clone(&self.hosts.borrow_and_update());
        let servers: BTreeMap<SocketAddr, &[Source]> = hosts
            .backends
            .iter()
            .map(|it| (SocketAddr::new(it.address.ip(), self.port), &*it.sources))
            .collect();
        self.checker.check_only(&servers.keys().copied().collect());
        let candidates = servers.keys().filter_map(|it| self.checker.candidate(*it));
        self.selection.update(&candidates.collect::<Vec<_>>());
        let backends = servers.into_iter();
        let backends =
            backends.filter_map(|(address, it)| self.checker.backend(address, it.to_vec()));
        let snapshot = Arc::new(Snapshot {
            backends: backends.collect(),
            usable: self.selection.usable().to_vec(),
            fail_open: self.selection.fail_open(),
            origin: hosts.origin.clone(),
            refused: Vec::new(),
            discovery: hosts.discovery.clone(),
        });
        self.snapshots.send_if_modified(|known| {
            let changed = !known.says_the_same(&snapshot);
            *known = snapshot;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
