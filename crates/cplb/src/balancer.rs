use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backends::{Backends, Checked, Failure, Health, Reporter, Snapshot};
use kernel::redirect::{self, Redirect, Rule};
use proxy::{EvidenceKind, Proxy};
use tokio::sync::watch;

use crate::error::Error;
use crate::plan::BalancerPlan;

/// The load balancer with everything checked and bound, but nothing running or redirected yet.
pub(crate) struct Prepared {
    plan: BalancerPlan,
    checked: Checked,
    /// Without rules.
    redirect: Option<Redirect>,
    proxy: Proxy,
}

/// The running load balancer: discovery feeds the proxy, the proxy's experience feeds the checks,
/// and the firewall leads connections to the virtual addresses into it.
pub(crate) struct Balancer {
    plan: BalancerPlan,
    backends: Backends,
    reporter: Arc<ArcSwap<Reporter>>,
    redirect: Option<Redirect>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    usable: BTreeSet<SocketAddr>,
    parts: Arc<ArcSwap<Parts>>,
}

/// What others look at, without waiting for the balancer.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) proxy: proxy::Handle,
    /// Proxies that a reload replaced, until their last connection has ended.
    pub(crate) draining: Vec<proxy::Handle>,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) redirects: Vec<Rule>,
}

/// A change of the running balancer, with everything checked and bound.
pub(crate) struct Change {
    plan: BalancerPlan,
    backends: Option<Checked>,
    proxy: Option<Proxy>,
}

/// A proxy thread turns at least four times a second; so much later it hangs.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

impl Prepared {
    pub(crate) fn new(plan: BalancerPlan) -> Result<Self, Error> {
        let checked = backends::check(&plan.backends)?;
        // The kernel closes a dead process's descriptors last opened first. The one that owns the
        // redirect has to outlive the listener's: the resets of connections not accepted yet find
        // their way back by it, without it their clients wait for ever.
        let redirect = match plan.redirects.as_slice() {
            [] => None,
            _ => Some(Redirect::install_by(plan.redirect_by, redirect::TABLE, &[])?),
        };
        let proxy = Proxy::bind(plan.proxy.clone())?;
        Ok(Self { plan, checked, redirect, proxy })
    }

    /// Starts it, on the current tokio runtime. The rules come last: they must find a listener.
    pub(crate) fn start(self) -> Result<Balancer, Error> {
        let proxy = self.proxy.start()?;
        let backends = backends::spawn(self.checked);
        let reporter = Arc::new(ArcSwap::from_pointee(backends.reporter()));
        pass_on_evidence(&proxy, Arc::clone(&reporter));
        let mut redirect = self.redirect;
        if let Some(redirect) = &mut redirect {
            redirect.replace(&self.plan.redirects)?;
        }
        let snapshots = backends.snapshots();
        let parts = Parts {
            proxy,
            draining: Vec::new(),
            snapshots: snapshots.clone(),
            redirects: self.plan.redirects.clone(),
        };
        let mut balancer = Balancer {
            plan: self.plan,
            backends,
            reporter,
            redirect,
            snapshots,
            usable: BTreeSet::new(),
            parts: Arc::new(ArcSwap::from_pointee(parts)),
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
        let parts = self.parts.load();
        parts.proxy.set_backends(snapshot.usable.clone());
        for gone in self.usable.difference(&usable) {
            if snapshot.backends.iter().any(|backend| backend.address == *gone && hangs(backend)) {
                parts.proxies().for_each(|proxy| proxy.eject(*gone));
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
        self.parts.load().proxy.alive(ALIVE_WITHIN)
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

    /// What others look at.
    pub(crate) fn parts(&self) -> Arc<ArcSwap<Parts>> {
        Arc::clone(&self.parts)
    }

    /// Checks and binds what a reload needs. Changes nothing yet.
    pub(crate) fn prepare(&self, plan: BalancerPlan) -> Result<Change, Error> {
        let BalancerPlan { proxy, backends, redirect_by, .. } = &plan;
        if *redirect_by != self.plan.redirect_by {
            return Err(Error::NeedsRestart("loadBalancer.redirect"));
        }
        let moved = proxy.listen != self.plan.proxy.listen;
        if !moved && *proxy != self.plan.proxy {
            return Err(Error::NeedsRestart("loadBalancer.maxConnections"));
        }
        let checked = (*backends != self.plan.backends).then(|| backends::check(backends));
        Ok(Change {
            backends: checked.transpose()?,
            proxy: if moved { Some(Proxy::bind(proxy.clone())?) } else { None },
            plan,
        })
    }

    /// Carries a prepared change out. Open connections stay where they are.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Error> {
        let Change { plan, backends, proxy } = change;
        let mut parts = Parts::clone(&self.parts.load());
        if let Some(proxy) = proxy {
            let proxy = proxy.start()?;
            proxy.set_backends(self.usable.iter().copied().collect());
            pass_on_evidence(&proxy, Arc::clone(&self.reporter));
            let old = std::mem::replace(&mut parts.proxy, proxy);
            parts.draining.push(old);
        }
        if let Some(checked) = backends {
            let backends = backends::spawn(checked);
            self.reporter.store(Arc::new(backends.reporter()));
            self.snapshots = backends.snapshots();
            parts.snapshots = backends.snapshots();
            tokio::spawn(std::mem::replace(&mut self.backends, backends).stop());
        }
        if plan.redirects != self.plan.redirects {
            match (&mut self.redirect, plan.redirects.as_slice()) {
                (_, []) => self.redirect = None,
                (Some(redirect), rules) => redirect.replace(rules)?,
                (None, rules) => {
                    let by = plan.redirect_by;
                    self.redirect = Some(Redirect::install_by(by, redirect::TABLE, rules)?);
                }
            }
        }
        parts.redirects.clone_from(&plan.redirects);
        self.parts.store(Arc::new(parts));
        self.plan = plan;
        self.drain_replaced();
        self.follow();
        Ok(())
    }

    /// Ends it: no new connections, those open may finish until the deadline.
    pub(crate) async fn stop(self) {
        if let Some(redirect) = self.redirect
            && let Err(error) = redirect.remove()
        {
            tracing::error!(%error, "cannot remove the firewall redirect");
        }
        drain(self.parts.load().proxy.clone(), self.plan.drain).await;
        self.backends.stop().await;
    }

    /// Proxies that take no new connections any more end in their own time.
    fn drain_replaced(&self) {
        for proxy in self.parts.load().draining.clone() {
            let (parts, limit) = (Arc::clone(&self.parts), self.plan.drain);
            tokio::spawn(async move {
                drain(proxy.clone(), limit).await;
                parts.rcu(|parts| {
                    let mut parts = Parts::clone(parts);
                    parts.draining.retain(|it| it.listening() != proxy.listening());
                    parts
                });
            });
        }
    }
}

impl Parts {
    fn proxies(&self) -> impl Iterator<Item = &proxy::Handle> {
        std::iter::once(&self.proxy).chain(&self.draining)
    }
}

async fn drain(proxy: proxy::Handle, limit: Duration) {
    let drained = tokio::task::spawn_blocking(move || {
        let drained = proxy.drain(limit);
        proxy.shutdown();
        drained
    });
    if let Ok(drained) = drained.await {
        tracing::info!(finished = drained.finished, reset = drained.reset, "connections drained");
    }
}

/// What is served on the virtual addresses, as the VRRP threads see it.
pub(crate) struct Served(pub(crate) Arc<ArcSwap<Parts>>);

impl vip::Service for Served {
    fn alive(&self) -> bool {
        self.0.load().proxy.alive(ALIVE_WITHIN)
    }

    fn released(&self, addresses: &[IpAddr]) {
        for proxy in self.0.load().proxies() {
            proxy.reset_if(addresses);
        }
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
fn pass_on_evidence(proxy: &proxy::Handle, reporter: Arc<ArcSwap<Reporter>>) {
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
            reporter.load().report(met.backend, kind);
        }
    });
}

fn hangs(backend: &backends::Backend) -> bool {
    backend.health == Health::Unhealthy && backend.failure == Some(Failure::Silent)
}
