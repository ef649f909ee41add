//! Balancing by the proxy of this process, which the firewall leads connections into.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backends::Reporter;
use kernel::redirect::{self, Redirect, Rule};
use proxy::{EvidenceKind, Proxy};

use crate::error::Error;
use crate::plan::ProxyPlan;

/// Bound, but nothing running or redirected yet.
pub(crate) struct Prepared {
    plan: ProxyPlan,
    /// Without rules.
    redirect: Option<Redirect>,
    proxy: Proxy,
}

/// The running proxy and the redirect to it.
pub(crate) struct Proxying {
    plan: ProxyPlan,
    reporter: Arc<ArcSwap<Reporter>>,
    redirect: Option<Redirect>,
    parts: Arc<ArcSwap<Parts>>,
}

/// What others look at, without waiting for the balancer.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) proxy: proxy::Handle,
    /// Proxies that a reload replaced, until their last connection has ended.
    pub(crate) draining: Vec<proxy::Handle>,
    pub(crate) redirects: Vec<Rule>,
}

/// A change of the running proxy, with everything checked and bound.
pub(crate) struct Change {
    plan: ProxyPlan,
    proxy: Option<Proxy>,
}

/// A proxy thread turns at least four times a second; so much later it hangs. On a machine with
/// dozens of busy threads a core, one that does not hang was seen to be a second late.
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// A handshake and a short request as the address leaves.
const UNDER_WAY: Duration = Duration::from_millis(50);

impl Prepared {
    pub(crate) fn new(plan: ProxyPlan) -> Result<Self, Error> {
        // The kernel closes a dead process's descriptors last opened first. The one that owns the
        // redirect has to outlive the listener's: the resets of connections not accepted yet find
        // their way back by it, without it their clients wait for ever.
        let redirect = match plan.redirects.as_slice() {
            [] => None,
            _ => Some(Redirect::install_by(plan.redirect_by, redirect::TABLE, &[])?),
        };
        let proxy = Proxy::bind(plan.proxy.clone())?;
        Ok(Self { plan, redirect, proxy })
    }

    /// Starts it. The rules come last: they must find a listener.
    pub(crate) fn start(
        self,
        reporter: Reporter,
        usable: &[SocketAddr],
    ) -> Result<Proxying, Error> {
        let proxy = self.proxy.start_with(usable)?;
        let reporter = Arc::new(ArcSwap::from_pointee(reporter));
        pass_on_evidence(&proxy, Arc::clone(&reporter));
        let mut redirect = self.redirect;
        if let Some(redirect) = &mut redirect {
            redirect.replace(&self.plan.redirects)?;
        }
        let redirects = self.plan.redirects.clone();
        let parts = Parts { proxy, draining: Vec::new(), redirects };
        Ok(Proxying {
            plan: self.plan,
            reporter,
            redirect,
            parts: Arc::new(ArcSwap::from_pointee(parts)),
        })
    }
}

impl Proxying {
    pub(crate) fn set_usable(&self, usable: &[SocketAddr]) {
        self.parts.load().proxy.set_backends(usable.to_vec());
    }

    /// Ends the connections to a backend that hangs.
    pub(crate) fn eject(&self, backend: SocketAddr) {
        self.parts.load().proxies().for_each(|proxy| proxy.eject(backend));
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.parts.load().is_alive()
    }

    /// What the proxy meets goes to these health checks from now on.
    pub(crate) fn report_to(&self, reporter: Reporter) {
        self.reporter.store(Arc::new(reporter));
    }

    /// Firewalls get flushed by others. Puts the redirect back where that happened.
    pub(crate) fn mend(&mut self) {
        if let Some(redirect) = &mut self.redirect {
            super::mend(redirect);
        }
    }

    /// What others look at.
    pub(crate) fn parts(&self) -> Arc<ArcSwap<Parts>> {
        Arc::clone(&self.parts)
    }

    /// Checks and binds what a reload needs. Changes nothing yet.
    pub(crate) fn prepare(&self, plan: ProxyPlan) -> Result<Change, Error> {
        if plan.redirect_by != self.plan.redirect_by {
            return Err(Error::NeedsRestart("loadBalancer.redirect"));
        }
        let moved = plan.proxy.listen != self.plan.proxy.listen;
        if !moved && plan.proxy != self.plan.proxy {
            return Err(Error::NeedsRestart("loadBalancer.maxConnections"));
        }
        let proxy = if moved { Some(Proxy::bind(plan.proxy.clone())?) } else { None };
        Ok(Change { plan, proxy })
    }

    /// Carries a prepared change out. Open connections stay where they are.
    pub(crate) fn apply(&mut self, change: Change, usable: &[SocketAddr]) -> Result<(), Error> {
        let Change { plan, proxy } = change;
        let mut parts = Parts::clone(&self.parts.load());
        if let Some(proxy) = proxy {
            let proxy = proxy.start_with(usable)?;
            pass_on_evidence(&proxy, Arc::clone(&self.reporter));
            let old = std::mem::replace(&mut parts.proxy, proxy);
            parts.draining.push(old);
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
        Ok(())
    }

    /// Ends it: no new connections, those open may finish until the deadline.
    pub(crate) async fn stop(self) {
        super::remove(self.redirect);
        drain(self.parts.load().proxy.clone(), self.plan.drain).await;
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

    fn is_alive(&self) -> bool {
        self.proxy.alive(ALIVE_WITHIN)
    }

    /// Resets the clients that came by these addresses.
    fn reset_if(&self, addresses: &[IpAddr]) {
        for proxy in self.proxies() {
            proxy.reset_if(addresses);
        }
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
        self.0.load().is_alive()
    }

    fn released(&self, addresses: &[IpAddr]) {
        let parts = Arc::clone(&self.0);
        if parts.load().redirects.is_empty() {
            return parts.load().reset_if(addresses);
        }
        // What is redirected needs no address here: a request under way may end where its client has
        // not heard of the heir yet, and the address waits for no busy proxy.
        let addresses = addresses.to_vec();
        let _detached = std::thread::spawn(move || {
            std::thread::sleep(UNDER_WAY);
            parts.load().reset_if(&addresses);
        });
    }
}

/// On a thread of its own, since the proxy speaks over a channel of the standard library. It ends
/// with the proxy.
pub(crate) fn pass_on_evidence(proxy: &proxy::Handle, reporter: Arc<ArcSwap<Reporter>>) {
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
