//! Pods whose place is taken, until their last connection has ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nllb::{Leaving, Manifests};
use tokio::time::sleep;

use crate::error::Error;

/// All of them, by name, with the connections that go through each.
#[derive(Clone, Default)]
pub(crate) struct Leavers(Arc<Mutex<BTreeMap<String, usize>>>);

/// How often it is looked whether the last connection has ended; the first time is late enough for
/// the listeners to be closed.
const LOOK_EACH: Duration = Duration::from_secs(2);

impl Leavers {
    /// Ends a pod when it is idle, on the current tokio runtime. After a restart another run goes on.
    pub(crate) fn add(&self, leaving: Leaving, manifests: Arc<Manifests>) {
        let name = leaving.name();
        tracing::info!(pod = name, engine = %leaving.engine(), "the pod listens no more, and ends with its last connection");
        self.all().insert(name, 0);
        let leavers = self.clone();
        tokio::spawn(async move {
            if let Err(error) = leavers.follow(&leaving, &manifests).await {
                tracing::error!(%error, pod = leaving.name(), "the pod is not removed; `cplb cleanup --worker` will");
            }
            leavers.all().remove(&leaving.name());
        });
    }

    /// How many connections go through all of them.
    pub(crate) fn connections(&self) -> usize {
        self.all().values().sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    async fn follow(&self, leaving: &Leaving, manifests: &Manifests) -> Result<(), Error> {
        loop {
            sleep(LOOK_EACH).await;
            let Some(open) = leaving.connections()? else { return Ok(()) };
            if open == 0 || leaving.is_late() {
                leaving.remove(manifests)?;
                tracing::info!(pod = leaving.name(), open, "the pod has ended");
                return Ok(());
            }
            self.all().insert(leaving.name(), open);
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
