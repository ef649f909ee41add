//! Other ports of the control plane nodes, balanced like the apiservers': each by a proxy of its own,
//! by the health of who is at that port. Whether this node is ready is not their affair.

use std::sync::Arc;

use arc_swap::ArcSwap;
use backends::{Backends, Reporter, Snapshot};
use proxy::Proxy;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::feed;
use super::proxying::pass_on_evidence;
use crate::error::Error;
use crate::plan::ExtraPortPlan;

/// All of them at work. Dropped, they end.
#[derive(Default)]
pub(crate) struct ExtraPorts(Vec<ExtraPort>);

/// What is wanted, with the proxies bound that are not there yet.
pub(crate) struct Prepared(Vec<(ExtraPortPlan, Option<Proxy>)>);

/// What others look at.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) plan: ExtraPortPlan,
    pub(crate) proxy: proxy::Handle,
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
}

struct ExtraPort {
    plan: ExtraPortPlan,
    proxy: proxy::Handle,
    reporter: Arc<ArcSwap<Reporter>>,
    backends: Backends,
    feeder: JoinHandle<()>,
}

/// What logs call a server at such a port.
const SERVER: &str = "server at an extra port";

impl ExtraPorts {
    /// Binds what is wanted and not there. Changes nothing yet.
    pub(crate) fn prepare(
        &self,
        plans: &[ExtraPortPlan],
        mut bind: impl FnMut(proxy::Settings) -> Result<Proxy, Error>,
    ) -> Result<Prepared, Error> {
        let mut prepare = |plan: &ExtraPortPlan| {
            let is_there = self.0.iter().any(|it| it.plan.proxy.listen == plan.proxy.listen);
            let proxy = if is_there { None } else { Some(bind(plan.proxy.clone())?) };
            Ok::<_, Error>((plan.clone(), proxy))
        };
        Ok(Prepared(plans.iter().map(&mut prepare).collect::<Result<_, _>>()?))
    }

    /// Carries it out, for the hosts of these apiservers, on the current tokio runtime. What is the
    /// same goes on. The proxies that are not wanted any more still accept.
    pub(crate) fn apply(
        &mut self,
        prepared: Prepared,
        hosts: &watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Vec<proxy::Handle>, Error> {
        let start = |(plan, proxy): (ExtraPortPlan, Option<Proxy>)| {
            Ok((plan, proxy.map(Proxy::start).transpose()?))
        };
        let started = prepared.0.into_iter().map(start).collect::<Result<Vec<_>, Error>>()?;
        let mut before = std::mem::take(&mut self.0);
        for (plan, proxy) in started {
            let there = before.iter().position(|it| it.plan.proxy.listen == plan.proxy.listen);
            let extra = match (proxy, there.map(|index| before.swap_remove(index))) {
                (Some(proxy), _) => ExtraPort::open(plan, proxy, hosts),
                (None, Some(mut there)) => {
                    there.change(plan, hosts);
                    there
                }
                (None, None) => unreachable!("what is not there was bound"),
            };
            self.0.push(extra);
        }
        Ok(before.iter().map(|it| it.proxy.clone()).collect())
    }

    /// The apiservers are known by other means from now on.
    pub(crate) fn follow(&mut self, hosts: &watch::Receiver<Arc<Snapshot>>) {
        for extra in &mut self.0 {
            extra.feed(extra.plan.clone(), hosts);
        }
    }

    /// What others look at.
    pub(crate) fn parts(&self) -> Vec<Parts> {
        let parts = |it: &ExtraPort| Parts {
            plan: it.plan.clone(),
            proxy: it.proxy.clone(),
            snapshots: it.backends.snapshots(),
        };
        self.0.iter().map(parts).collect()
    }
}

impl ExtraPort {
    fn open(
        plan: ExtraPortPlan,
        proxy: proxy::Handle,
        hosts: &watch::Receiver<Arc<Snapshot>>,
    ) -> Self {
        let (backends, feeder) = fed(&plan, &proxy, hosts);
        let reporter = Arc::new(ArcSwap::from_pointee(backends.reporter()));
        pass_on_evidence(&proxy, Arc::clone(&reporter));
        Self { plan, proxy, reporter, backends, feeder }
    }

    /// What is the same goes on.
    fn change(&mut self, plan: ExtraPortPlan, hosts: &watch::Receiver<Arc<Snapshot>>) {
        self.proxy.change(&plan.proxy);
        let is_checked_alike = (plan.port, &plan.check, &plan.health)
            == (self.plan.port, &self.plan.check, &self.plan.health);
        match is_checked_alike {
            true => self.plan = plan,
            false => self.feed(plan, hosts),
        }
    }

    /// Feeds the proxy by other checks from now on.
    fn feed(&mut self, plan: ExtraPortPlan, hosts: &watch::Receiver<Arc<Snapshot>>) {
        let (backends, feeder) = fed(&plan, &self.proxy, hosts);
        self.reporter.store(Arc::new(backends.reporter()));
        self.feeder.abort();
        (self.plan, self.backends, self.feeder) = (plan, backends, feeder);
    }
}

/// Checks who is at the port, and gives the proxy what is usable, from the first instant.
fn fed(
    plan: &ExtraPortPlan,
    proxy: &proxy::Handle,
    hosts: &watch::Receiver<Arc<Snapshot>>,
) -> (Backends, JoinHandle<()>) {
    let (port, health, check) = (plan.port, plan.health, plan.check.clone());
    let backends = backends::spawn_beside(SERVER, hosts.clone(), port, health, check);
    let (proxy, snapshots) = (proxy.clone(), backends.snapshots());
    proxy.set_backends(snapshots.borrow().usable.clone());
    let feeder = tokio::spawn(async move { feed(&proxy, snapshots).await });
    (backends, feeder)
}

impl Drop for ExtraPort {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}
