//! The load balancer behind the virtual addresses.

mod directing;
mod extra_ports;
mod feeding;
mod presence;
mod proxying;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use backends::{Backends, Checked, Health, Snapshot};
use kernel::redirect::Redirect;
use tokio::sync::watch;

use self::directing::{Directed, Directing};
pub(crate) use self::extra_ports::Parts as ExtraPortParts;
pub(crate) use self::feeding::feed;
use self::feeding::hangs;
pub(crate) use self::proxying::{Legacy, pass_on_evidence};
use self::proxying::{Proxying, Served};
use crate::error::Error;
use crate::plan::{BalancerPlan, ForwarderPlan};

/// The load balancer with everything checked and bound, but nothing running or redirected yet.
pub(crate) struct Prepared {
    plan: BalancerPlan,
    checked: Checked,
    /// `None` for IPVS, where nothing can be prepared without changing the kernel.
    proxying: Option<proxying::Prepared>,
}

/// The running load balancer: discovery says which apiservers are usable, and the forwarder brings
/// connections to them.
pub(crate) struct Balancer {
    plan: BalancerPlan,
    backends: Backends,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    usable: BTreeSet<SocketAddr>,
    forwarder: Forwarder,
    parts: Arc<ArcSwap<Parts>>,
}

/// How connections come to the apiservers.
enum Forwarder {
    Proxy(Proxying),
    Ipvs(Directing),
}

/// What others look at, without waiting for the balancer.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) forwarder: ForwarderParts,
}

#[derive(Clone)]
pub(crate) enum ForwarderParts {
    Proxy(Arc<ArcSwap<proxying::Parts>>),
    Ipvs(Arc<directing::Parts>),
}

/// A change of the running balancer, with everything checked and bound.
pub(crate) struct Change {
    plan: BalancerPlan,
    backends: Option<Checked>,
    proxying: Option<proxying::Change>,
}

impl Prepared {
    pub(crate) fn new(plan: BalancerPlan) -> Result<Self, Error> {
        let checked = backends::check(&plan.backends)?;
        let proxying = match &plan.forwarder {
            ForwarderPlan::Proxy(plan) => Some(proxying::Prepared::new(plan.clone())?),
            ForwarderPlan::Ipvs(_) => None,
        };
        Ok(Self { plan, checked, proxying })
    }

    /// To go on in place of another process: accepts nobody until [`Balancer::take_over`].
    pub(crate) fn succeed(plan: BalancerPlan, legacy: Legacy) -> Result<Self, Error> {
        let checked = backends::check(&plan.backends)?;
        let proxying = match &plan.forwarder {
            ForwarderPlan::Proxy(plan) => proxying::Prepared::succeed(plan.clone(), legacy)?,
            ForwarderPlan::Ipvs(_) => return Err(Error::NoSuccession(IPVS)),
        };
        Ok(Self { plan, checked, proxying: Some(proxying) })
    }

    /// Starts it, on the current tokio runtime.
    pub(crate) fn start(self) -> Result<Balancer, Error> {
        // Kernels without IPVS are told before anything begins.
        let directing = match &self.plan.forwarder {
            ForwarderPlan::Ipvs(plan) => Some(Directing::start(plan.clone())?),
            ForwarderPlan::Proxy(_) => None,
        };
        let backends = backends::spawn(self.checked);
        let forwarder = match (self.proxying, directing) {
            (Some(proxying), _) => {
                let usable = backends.snapshots().borrow().usable.clone();
                let hosts = backends.snapshots();
                Forwarder::Proxy(proxying.start(backends.reporter(), &usable, &hosts)?)
            }
            (None, Some(directing)) => Forwarder::Ipvs(directing),
            (None, None) => unreachable!("a plan has one forwarder"),
        };
        let snapshots = backends.snapshots();
        let parts = Parts { snapshots: snapshots.clone(), forwarder: forwarder.parts() };
        let mut balancer = Balancer {
            plan: self.plan,
            backends,
            snapshots,
            usable: BTreeSet::new(),
            forwarder,
            parts: Arc::new(ArcSwap::from_pointee(parts)),
        };
        balancer.follow();
        Ok(balancer)
    }
}

impl Balancer {
    /// Waits until the backends changed; [`Balancer::follow`] then takes that in.
    pub(crate) async fn changed(&mut self) {
        let snapshots = async {
            if self.snapshots.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let reachable = async {
            match &mut self.forwarder {
                Forwarder::Proxy(_) => std::future::pending().await,
                Forwarder::Ipvs(directing) => directing.changed().await,
            }
        };
        tokio::select! {
            () = snapshots => {}
            () = reachable => {}
        }
    }

    /// Gives the forwarder the backends as they are now. Connections to one that hangs are ended;
    /// those to one that merely closed its door may go on, its process ends them itself.
    pub(crate) fn follow(&mut self) {
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let mut usable: BTreeSet<SocketAddr> = snapshot.usable.iter().copied().collect();
        match &self.forwarder {
            Forwarder::Proxy(proxying) => {
                proxying.set_usable(&snapshot.usable);
                let hanging = snapshot.backends.iter().filter(|it| hangs(it)).map(|it| it.address);
                hanging
                    .filter(|it| self.usable.contains(it) && !usable.contains(it))
                    .for_each(|it| proxying.eject(it));
            }
            Forwarder::Ipvs(directing) => {
                let reachable = directing.reachable(&snapshot.usable);
                directing.set_usable(&reachable);
                usable = reachable.into_iter().collect();
            }
        }
        self.usable = usable;
    }

    /// The apiservers that may be used now.
    pub(crate) fn usable(&self) -> Vec<SocketAddr> {
        self.usable.iter().copied().collect()
    }

    /// The other control plane nodes, once the cluster has named them.
    pub(crate) fn control_plane(&self) -> Option<Vec<IpAddr>> {
        let snapshot = self.snapshots.borrow();
        matches!(snapshot.origin, backends::Origin::Endpoints { .. })
            .then(|| snapshot.backends.iter().map(|backend| backend.address.ip()).collect())
    }

    /// Whether a connection to a virtual address would be served here.
    pub(crate) fn can_serve(&self) -> bool {
        let alive = match &self.forwarder {
            Forwarder::Proxy(proxying) => proxying.is_alive(),
            Forwarder::Ipvs(directing) => directing.is_alive(),
        };
        let snapshot = self.snapshots.borrow();
        alive && snapshot.backends.iter().any(|backend| backend.health == Health::Healthy)
    }

    /// Puts back what others took away.
    pub(crate) fn mend(&mut self) {
        match &mut self.forwarder {
            Forwarder::Proxy(proxying) => proxying.mend(),
            Forwarder::Ipvs(directing) => directing.mend(),
        }
    }

    /// What others look at.
    pub(crate) fn parts(&self) -> Arc<ArcSwap<Parts>> {
        Arc::clone(&self.parts)
    }

    /// What the VRRP threads ask and tell.
    pub(crate) fn service(&self) -> Arc<dyn vip::Service> {
        match &self.forwarder {
            Forwarder::Proxy(proxying) => Arc::new(Served(proxying.parts())),
            Forwarder::Ipvs(directing) => Arc::new(Directed(directing.parts())),
        }
    }

    /// Checks and binds what a reload needs. Changes nothing yet.
    pub(crate) fn prepare(&self, plan: BalancerPlan) -> Result<Change, Error> {
        let proxying = match (&self.forwarder, &plan.forwarder) {
            (Forwarder::Proxy(proxying), ForwarderPlan::Proxy(plan)) => {
                Some(proxying.prepare(plan.clone())?)
            }
            (Forwarder::Ipvs(_), ForwarderPlan::Ipvs(_)) => None,
            _ => return Err(Error::NeedsRestart("virtualServers")),
        };
        let checked =
            (plan.backends != self.plan.backends).then(|| backends::check(&plan.backends));
        Ok(Change { plan, backends: checked.transpose()?, proxying })
    }

    /// Carries a prepared change out. Open connections stay where they are.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Error> {
        let Change { plan, backends, proxying: change } = change;
        match (&mut self.forwarder, &plan.forwarder, change) {
            (Forwarder::Proxy(proxying), _, Some(change)) => {
                let usable: Vec<_> = self.usable.iter().copied().collect();
                proxying.apply(change, &usable, &self.snapshots)?;
            }
            (Forwarder::Ipvs(directing), ForwarderPlan::Ipvs(plan), _) => {
                directing.apply(plan.clone())?;
            }
            _ => {}
        }
        if let Some(checked) = backends {
            let backends = backends::spawn(checked);
            self.snapshots = backends.snapshots();
            if let Forwarder::Proxy(proxying) = &mut self.forwarder {
                proxying.report_to(backends.reporter(), &self.snapshots);
            }
            tokio::spawn(std::mem::replace(&mut self.backends, backends).stop());
        }
        let snapshots = self.snapshots.clone();
        self.parts.store(Arc::new(Parts { snapshots, forwarder: self.forwarder.parts() }));
        self.plan = plan;
        self.follow();
        Ok(())
    }

    /// Lets the other nodes know that this one leaves; for how long they may send connections still.
    pub(crate) fn leave(&self) -> Duration {
        match &self.forwarder {
            Forwarder::Proxy(_) => Duration::ZERO,
            Forwarder::Ipvs(directing) => directing.leave(),
        }
    }

    /// What another process needs to go on in place of this one.
    pub(crate) fn bequeath(&self) -> Result<Legacy, Error> {
        match &self.forwarder {
            Forwarder::Proxy(proxying) => proxying.bequeath(),
            Forwarder::Ipvs(_) => Err(Error::NoSuccession(IPVS)),
        }
    }

    /// Goes on where another process has stopped.
    pub(crate) fn take_over(&mut self) -> Result<(), Error> {
        match &mut self.forwarder {
            Forwarder::Proxy(proxying) => proxying.take_over(),
            Forwarder::Ipvs(_) => Ok(()),
        }
    }

    /// Leaves new connections to the process that goes on; those open may finish until the deadline.
    pub(crate) async fn leave_to_successor(self) {
        if let Forwarder::Proxy(proxying) = self.forwarder {
            proxying.leave().await;
        }
        self.backends.stop().await;
    }

    /// Ends it: no new connections, those open may finish until the deadline.
    pub(crate) async fn stop(self) {
        match self.forwarder {
            Forwarder::Proxy(proxying) => proxying.stop().await,
            Forwarder::Ipvs(directing) => directing.stop(),
        }
        self.backends.stop().await;
    }
}

impl Forwarder {
    fn parts(&self) -> ForwarderParts {
        match self {
            Self::Proxy(proxying) => ForwarderParts::Proxy(proxying.parts()),
            Self::Ipvs(directing) => ForwarderParts::Ipvs(directing.parts()),
        }
    }
}

/// Why it cannot change over to another process.
const IPVS: &str = "virtualServers, whose services end with the process that made them";

/// Without a load balancer of ours nothing can be said about what is behind the addresses.
pub(crate) struct Unserved;

impl vip::Service for Unserved {
    fn alive(&self) -> bool {
        true
    }

    fn released(&self, _addresses: &[IpAddr]) {}
}

/// Firewalls get flushed by others. Puts the redirect back where that happened.
fn mend(redirect: &mut Redirect) {
    if !redirect.is_due(Instant::now()) {
        return;
    }
    match redirect.intact() {
        Ok(true) => {}
        Ok(false) => match redirect.reinstall() {
            Ok(()) => {
                tracing::warn!(
                    "somebody removed the firewall redirect of the virtual IP; it is back"
                );
            }
            Err(error) => {
                tracing::error!(%error, "the firewall redirect of the virtual IP is gone");
            }
        },
        Err(error) => tracing::error!(%error, "cannot see whether the firewall redirect is there"),
    }
}

fn remove(redirect: Option<Redirect>) {
    if let Some(redirect) = redirect
        && let Err(error) = redirect.remove()
    {
        tracing::error!(%error, "cannot remove the firewall redirect");
    }
}
