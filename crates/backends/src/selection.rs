//! Which apiservers may be used.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::health::Health;

/// etcd going away makes all apiservers fail, not in one instant but within about five seconds.
/// Failures within this time of one another have a shared cause.
const SHARED_CAUSE: Duration = Duration::from_secs(10);

/// What the choice knows of one apiserver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) address: SocketAddr,
    pub(crate) health: Health,
    /// Unhealthy because nothing is there. A lost etcd does not do that.
    pub(crate) absent: bool,
    /// Whether it was ever healthy.
    pub(crate) proven: bool,
    /// When `health` last changed.
    pub(crate) since: Instant,
}

/// The choice, which remembers what was usable last.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    usable: Vec<SocketAddr>,
    fail_open: bool,
}

impl Selection {
    /// Those that may be used.
    pub(crate) fn usable(&self) -> &[SocketAddr] {
        &self.usable
    }

    /// Whether they are the last that were usable, since none is now.
    pub(crate) fn fail_open(&self) -> bool {
        self.fail_open
    }

    /// Chooses anew.
    ///
    /// While anything is not unhealthy, those are usable. When the last of them goes, they stay
    /// usable that went with it: the ones usable until now, and the ones that failed shortly before
    /// without being absent. If none of those is in the list any more, or none of the list was ever
    /// healthy, all of it is usable.
    pub(crate) fn update(&mut self, candidates: &[Candidate]) {
        let addresses_where = |keep: &dyn Fn(&Candidate) -> bool| -> Vec<SocketAddr> {
            candidates.iter().filter(|it| keep(it)).map(|it| it.address).collect()
        };
        let fit = addresses_where(&|it| it.health != Health::Unhealthy);
        if !fit.is_empty() {
            self.usable = fit;
            self.fail_open = false;
            return;
        }
        let last = std::mem::take(&mut self.usable);
        let kept = if self.fail_open {
            addresses_where(&|it| last.contains(&it.address))
        } else {
            let latest = candidates.iter().map(|it| it.since).max();
            addresses_where(&|it| {
                let together = latest.is_some_and(|latest| latest - it.since <= SHARED_CAUSE);
                last.contains(&it.address) || (together && !it.absent)
            })
        };
        let meaningless = kept.is_empty() || !candidates.iter().any(|it| it.proven);
        self.usable = if meaningless { addresses_where(&|_| true) } else { kept };
        self.fail_open = !candidates.is_empty();
    }
}

#[cfg(test)]
mod tests;
