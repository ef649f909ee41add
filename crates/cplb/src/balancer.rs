use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use backends::{Backends, Checked, Failure, Health, Reporter, Snapshot};
use kernel::redirect::{self, Redirect};
use proxy::{EvidenceKind, Proxy};
use tokio::sync::watch;

use crate::error::Error;
use crate::plan::BalancerPlan;

/// The load balancer with everything checked and bound, but nothing running or changed yet.
pub(crate) struct Prepared {
    plan: BalancerPlan,
    checked: Checked,
    proxy: Proxy,
}

/// The running load balancer: discovery feeds the proxy, the proxy's experience feeds the checks,
/// and the firewall leads connections to the virtual addresses into it.
pub(crate) struct Balancer {
    proxy: proxy::Handle,
    backends: Backends,
    redirect: Option<Redirect>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    usable: BTreeSet<SocketAddr>,
    drain: Duration,
}

/// A proxy thread turns at least four times a second; so much later it hangs.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

impl Prepared {
    pub(crate) fn new(plan: BalancerPlan) -> Result<Self, Error> {
        let checked = backends::check(&plan.backends)?;
        let proxy = Proxy::bind(plan.proxy.clone())?;
        Ok(Self { plan, checked, proxy })
    }

    /// Starts it, on the current tokio runtime. The redirect comes last: it must find a listener.
    pub(crate) fn start(self) -> Result<Balancer, Error> {
        let proxy = self.proxy.start()?;
        let backends = backends::spawn(self.checked);
        pass_on_evidence(&proxy, backends.reporter());
        let snapshots = backends.snapshots();
        let redirect = match self.plan.redirects.as_slice() {
            [] => None,
            rules => Some(Redirect::install_by(self.plan.redirect_by, redirect::TABLE, rules)?),
        };
        let mut balancer = Balancer {
            proxy,
            backends,
            redirect,
            snapshots,
            usable: BTreeSet::new(),
            drain: self.plan.drain,
        };
        balancer.follow();
        Ok(balancer)
    }
}

impl Balancer {
    /// Waits until the backends changed; [`Balancer::follow`] then takes that in.
    pub(crate) async fn changed(&mut self) {
        if self.snapshots.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives the proxy the backends as they are now. Connections to one that hangs are ended; those
    /// to one that merely closed its door may go on, its process ends them itself.
    pub(crate) fn follow(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let usable: BTreeSet<SocketAddr> = snapshot.usable.iter().copied().collect();
        self.proxy.set_backends(snapshot.usable.clone());
        for gone in self.usable.difference(&usable) {
            if snapshot.backends.iter().any(|backend| backend.address == *gone && hangs(backend)) {
                self.proxy.eject(*gone);
            }
        }
        self.usable = usable;
    }

    /// The other control plane nodes, once the cluster has named them.
    pub(crate) fn control_plane(&self) -> Option<Vec<IpAddr>> {
        let snapshot = self.snapshots.borrow();
        matches!(snapshot.origin, backends::Origin::Endpoints { .. })
            .then(|| snapshot.backends.iter().map(|backend| backend.address.ip()).collect())
    }

    /// Whether a connection to a virtual address would be served here.
    pub(crate) fn can_serve(&self) -> bool {
        let snapshot = self.snapshots.borrow();
        self.proxy.alive(ALIVE_WITHIN)
            && snapshot.backends.iter().any(|backend| backend.health == Health::Healthy)
    }

    /// Firewalls get flushed by others. Puts the redirect back where that happened.
    pub(crate) fn mend_redirect(&mut self) {
        let Some(redirect) = &mut self.redirect else { return };
        match redirect.intact() {
            Ok(true) => {}
            Ok(false) => match redirect.reinstall() {
                Ok(()) => tracing::warn!(
                    "somebody removed the firewall redirect of the virtual IP; it is back"
                ),
                Err(error) => {
                    tracing::error!(%error, "the firewall redirect of the virtual IP is gone");
                }
            },
            Err(error) => {
                tracing::error!(%error, "cannot see whether the firewall redirect is there");
            }
        }
    }

    pub(crate) fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    pub(crate) fn proxy(&self) -> proxy::Handle {
        self.proxy.clone()
    }

    /// Ends it: no new connections, those open may finish until the deadline.
    pub(crate) async fn stop(self) {
        if let Some(redirect) = self.redirect
            && let Err(error) = redirect.remove()
        {
            tracing::error!(%error, "cannot remove the firewall redirect");
        }
        let (proxy, drain) = (self.proxy.clone(), self.drain);
        let drained = tokio::task::spawn_blocking(move || {
            proxy.stop_accepting();
            let drained = proxy.drain(drain);
            proxy.shutdown();
            drained
        });
        if let Ok(drained) = drained.await {
            tracing::info!(
                finished = drained.finished,
                reset = drained.reset,
                "connections drained"
            );
        }
        self.backends.stop().await;
    }
}

/// What is served on the virtual addresses, as the VRRP thread sees it.
pub(crate) struct Served(pub(crate) proxy::Handle);

impl vip::Service for Served {
    fn alive(&self) -> bool {
        self.0.alive(ALIVE_WITHIN)
    }

    fn released(&self, addresses: &[IpAddr]) {
        self.0.reset_if(addresses);
    }
}

/// Without a load balancer of ours nothing can be said about what is behind the addresses.
pub(crate) struct Unserved;

impl vip::Service for Unserved {
    fn alive(&self) -> bool {
        true
    }

    fn released(&self, _addresses: &[IpAddr]) {}
}

/// On a thread of its own, since the proxy speaks over a channel of the standard library. It ends
/// with the proxy.
fn pass_on_evidence(proxy: &proxy::Handle, reporter: Reporter) {
    let evidence = proxy.evidence();
    std::thread::spawn(move || {
        for met in evidence {
            let kind = match met.kind {
                EvidenceKind::Refused => backends::Evidence::Refused,
                EvidenceKind::Unreachable => backends::Evidence::Unreachable,
                EvidenceKind::ConnectTimeout => backends::Evidence::ConnectTimeout,
                EvidenceKind::Silent => backends::Evidence::Silent,
                EvidenceKind::ResetBeforeFirstByte => backends::Evidence::ResetBeforeFirstByte,
                EvidenceKind::Answered => backends::Evidence::Answered,
            };
            reporter.report(met.backend, kind);
        }
    });
}

fn hangs(backend: &backends::Backend) -> bool {
    backend.health == Health::Unhealthy && backend.failure == Some(Failure::Silent)
}
