//! Envoy or Traefik: their files follow the list of apiservers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backends::{Backends, Snapshot};
use nllb::{Deployment, Manifests, Presence, Settings};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::error::Error;

/// A static pod whose files are kept in line. They stay when this is dropped.
pub(crate) struct Pod {
    settings: Settings,
    name: String,
    presence: Presence,
    again: Arc<Notify>,
    stop: oneshot::Sender<()>,
    writer: JoinHandle<Deployment>,
}

/// How soon a write that failed is repeated.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Pod {
    /// Writes the files for the apiservers of now, and goes on to do so on the current tokio
    /// runtime.
    pub(crate) fn start(
        mut deployment: Deployment,
        manifests: Arc<Manifests>,
        backends: &Backends,
    ) -> Result<Self, Error> {
        let mut snapshots = backends.snapshots();
        let now = addresses(&snapshots.borrow_and_update());
        deployment.update(&now, &manifests)?;
        let (settings, name) = (deployment.settings().clone(), deployment.name());
        let presence = deployment.presence();
        let (stop, stopped) = oneshot::channel();
        let again = Arc::new(Notify::new());
        let asked = Arc::clone(&again);
        let writer = tokio::spawn(write(deployment, manifests, snapshots, asked, stopped));
        Ok(Self { settings, name, presence, again, stop, writer })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it is called; no two have the same name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    /// Names the listeners to it once more: their addresses may have been in use.
    pub(crate) fn offer_again(&self) {
        self.again.notify_one();
    }

    /// Writes no more, and gives the files away.
    pub(crate) async fn stop(self) -> Option<Deployment> {
        // An error in either says that it has ended already.
        let _ = self.stop.send(());
        self.writer.await.ok()
    }
}

async fn write(
    mut deployment: Deployment,
    manifests: Arc<Manifests>,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    again: Arc<Notify>,
    mut stopped: oneshot::Receiver<()>,
) -> Deployment {
    loop {
        let now = addresses(&snapshots.borrow_and_update());
        let failed = match deployment.update(&now, &manifests) {
            Ok(()) => false,
            Err(error) => {
                tracing::error!(%error, "the balancer does not know the latest list of apiservers");
                true
            }
        };
        tokio::select! {
            _ = &mut stopped => return deployment,
            changed = snapshots.changed() => if changed.is_err() {
                return deployment;
            },
            () = again.notified() => if let Err(error) = deployment.offer_again() {
                tracing::error!(%error, "the balancer cannot be asked to listen again");
            },
            () = sleep(TRY_AGAIN), if failed => {}
        }
    }
}

/// All that are known: the pod checks them itself, and goes on to do so without this process.
fn addresses(snapshot: &Snapshot) -> BTreeSet<std::net::SocketAddr> {
    snapshot.backends.iter().map(|it| it.address).collect()
}
