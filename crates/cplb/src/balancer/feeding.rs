//! Proxies that nobody else feeds.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use backends::{Failure, Health, Snapshot};
use tokio::sync::watch;

/// Gives the proxy the backends as they are, until there are no more snapshots. Connections to one
/// that hangs are ended; those to one that merely closed its door may go on, its process ends them
/// itself.
pub(crate) async fn feed(proxy: &proxy::Handle, mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut used = BTreeSet::new();
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let usable: BTreeSet<SocketAddr> = snapshot.usable.iter().copied().collect();
        proxy.set_backends(snapshot.usable.clone());
        for gone in used.difference(&usable) {
            if snapshot.backends.iter().any(|it| it.address == *gone && hangs(it)) {
                proxy.eject(*gone);
            }
        }
        used = usable;
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

pub(super) fn hangs(backend: &backends::Backend) -> bool {
    backend.health == Health::Unhealthy && backend.failure == Some(Failure::Silent)
}
