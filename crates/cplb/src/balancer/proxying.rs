//! Balancing by the proxy of this process, which the firewall leads connections into.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backends::{Reporter, Snapshot};
use kernel::redirect::{self, Bequest, Method, Redirect, Rule};
use proxy::{EvidenceKind, Proxy};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::extra_ports::{self, ExtraPorts};
use crate::error::Error;
use crate::plan::ProxyPlan;

/// Bound, but nothing running or redirected yet.
pub(crate) struct Prepared {
    plan: ProxyPlan,
    /// Without rules.
    redirect: Option<Redirect>,
    proxy: Proxy,
    extra_ports: extra_ports::Prepared,
    succession: Option<Legacy>,
}

/// What another process leaves, for this one to go on with.
pub(crate) struct Legacy {
    pub(crate) redirect: Option<Bequest>,
    /// Its listening sockets.
    pub(crate) listeners: Vec<OwnedFd>,
}

/// The running proxy and the redirect to it.
pub(crate) struct Proxying {
    plan: ProxyPlan,
    reporter: Arc<ArcSwap<Reporter>>,
    redirect: Option<Redirect>,
    extra_ports: ExtraPorts,
    parts: Arc<ArcSwap<Parts>>,
    /// While another process still has the redirect and the clients: what it leaves of the former.
    standing_by: Option<Option<Bequest>>,
}

/// What others look at, without waiting for the balancer.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) proxy: proxy::Handle,
    /// Proxies that a reload replaced, until their last connection has ended.
    pub(crate) draining: Vec<proxy::Handle>,
    pub(crate) extra_ports: Vec<extra_ports::Parts>,
    pub(crate) redirects: Vec<Rule>,
}

/// A change of the running proxy, with everything checked and bound.
pub(crate) struct Change {
    plan: ProxyPlan,
    proxy: Option<Proxy>,
    extra_ports: extra_ports::Prepared,
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
        let extra_ports = ExtraPorts::default().prepare(&plan.extra_ports, bind)?;
        Ok(Self { plan, redirect, proxy, extra_ports, succession: None })
    }

    /// To go on in place of another process: accepts nobody until [`Proxying::take_over`].
    pub(crate) fn succeed(plan: ProxyPlan, legacy: Legacy) -> Result<Self, Error> {
        let by_nftables = matches!(legacy.redirect, Some(Bequest::Nftables { .. }));
        if by_nftables && plan.redirect_by == Method::Iptables {
            return Err(Error::NeedsRestart("loadBalancer.redirect"));
        }
        let redirect = match (&legacy.redirect, plan.redirects.as_slice()) {
            (Some(_), _) | (None, []) => None,
            _ => Some(Redirect::install_by(plan.redirect_by, redirect::TABLE, &[])?),
        };
        let Legacy { redirect: bequest, mut listeners } = legacy;
        let mut adopt = |settings| adopt(settings, &mut listeners);
        let proxy = adopt(plan.proxy.clone())?;
        let extra_ports = ExtraPorts::default().prepare(&plan.extra_ports, adopt)?;
        let succession = Some(Legacy { redirect: bequest, listeners: Vec::new() });
        Ok(Self { plan, redirect, proxy, extra_ports, succession })
    }

    /// Starts it. The rules come last: they must find a listener. `hosts` are the apiservers, whose
    /// hosts have the extra ports.
    pub(crate) fn start(
        self,
        reporter: Reporter,
        usable: &[SocketAddr],
        hosts: &watch::Receiver<Arc<Snapshot>>,
    ) -> Result<Proxying, Error> {
        let proxy = self.proxy.start_with(usable)?;
        let reporter = Arc::new(ArcSwap::from_pointee(reporter));
        pass_on_evidence(&proxy, Arc::clone(&reporter));
        let mut extra_ports = ExtraPorts::default();
        extra_ports.apply(self.extra_ports, hosts)?;
        let mut redirect = self.redirect;
        if let (Some(redirect), None) = (&mut redirect, &self.succession) {
            redirect.replace(&self.plan.redirects)?;
        }
        let redirects = self.plan.redirects.clone();
        let parts =
            Parts { proxy, draining: Vec::new(), extra_ports: extra_ports.parts(), redirects };
        Ok(Proxying {
            plan: self.plan,
            reporter,
            redirect,
            extra_ports,
            parts: Arc::new(ArcSwap::from_pointee(parts)),
            standing_by: self.succession.map(|legacy| legacy.redirect),
        })
    }
}

impl Proxying {
    pub(crate) fn set_usable(&self, usable: &[SocketAddr]) {
        self.parts.load().proxy.set_backends(usable.to_vec());
    }

    /// Ends the connections to an apiserver that hangs.
    pub(crate) fn eject(&self, backend: SocketAddr) {
        self.parts.load().proxies().for_each(|proxy| proxy.eject(backend));
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.parts.load().is_alive()
    }

    /// What the proxy meets goes to these health checks from now on, and these are the apiservers.
    pub(crate) fn report_to(&mut self, reporter: Reporter, hosts: &watch::Receiver<Arc<Snapshot>>) {
        self.reporter.store(Arc::new(reporter));
        self.extra_ports.follow(hosts);
        let mut parts = Parts::clone(&self.parts.load());
        parts.extra_ports = self.extra_ports.parts();
        self.parts.store(Arc::new(parts));
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
        let proxy = if moved { Some(Proxy::bind(plan.proxy.clone())?) } else { None };
        let extra_ports = self.extra_ports.prepare(&plan.extra_ports, bind)?;
        Ok(Change { plan, proxy, extra_ports })
    }

    /// Carries a prepared change out. Open connections stay where they are.
    pub(crate) fn apply(
        &mut self,
        change: Change,
        usable: &[SocketAddr],
        hosts: &watch::Receiver<Arc<Snapshot>>,
    ) -> Result<(), Error> {
        let Change { plan, proxy, extra_ports } = change;
        let mut parts = Parts::clone(&self.parts.load());
        let mut replaced = self.extra_ports.apply(extra_ports, hosts)?;
        parts.extra_ports = self.extra_ports.parts();
        if let Some(proxy) = proxy {
            let proxy = proxy.start_with(usable)?;
            pass_on_evidence(&proxy, Arc::clone(&self.reporter));
            replaced.push(std::mem::replace(&mut parts.proxy, proxy));
        } else {
            parts.proxy.change(&plan.proxy);
        }
        parts.draining.extend(replaced.iter().cloned());
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
        replaced.into_iter().for_each(|it| self.drain_replaced(it));
        Ok(())
    }

    /// What another process needs to go on in place of this one. The redirect is for one of the two
    /// at a time.
    pub(crate) fn bequeath(&self) -> Result<Legacy, Error> {
        let mut listeners = Vec::new();
        for proxy in self.parts.load().accepting() {
            listeners.extend(proxy.listening_sockets()?);
        }
        let redirect = self.redirect.as_ref().map(Redirect::bequeath).transpose()?;
        Ok(Legacy { redirect, listeners })
    }

    /// Goes on where another process has stopped: accepts clients, and has the redirect.
    pub(crate) fn take_over(&mut self) -> Result<(), Error> {
        let Some(bequest) = self.standing_by.take() else { return Ok(()) };
        self.parts.load().accepting().for_each(proxy::Handle::resume_accepting);
        let rules = &self.plan.redirects;
        if let Some(bequest) = bequest {
            let redirect = Redirect::inherit(bequest, redirect::TABLE, rules)?;
            // One without rules goes.
            self.redirect = Some(redirect).filter(|_| !rules.is_empty());
        } else if let Some(redirect) = &mut self.redirect {
            redirect.replace(rules)?;
        }
        Ok(())
    }

    /// Leaves new connections to the process that goes on; those open may finish until the deadline.
    pub(crate) async fn leave(mut self) {
        if let Some(redirect) = self.redirect.take() {
            redirect.leave();
        }
        self.stop().await;
    }

    /// Ends it: no new connections, those open may finish until the deadline.
    pub(crate) async fn stop(self) {
        super::remove(self.redirect);
        let parts = self.parts.load_full();
        let drains: JoinSet<()> =
            parts.accepting().map(|proxy| drain(proxy.clone(), self.plan.drain)).collect();
        drains.join_all().await;
    }

    /// A proxy that takes no new connections any more ends in its own time.
    fn drain_replaced(&self, proxy: proxy::Handle) {
        let (parts, limit) = (Arc::clone(&self.parts), self.plan.drain);
        tokio::spawn(async move {
            drain(proxy.clone(), limit).await;
            parts.rcu(|parts| {
                let mut parts = Parts::clone(parts);
                parts.draining.retain(|it| !it.is(&proxy));
                parts
            });
        });
    }
}

impl Parts {
    fn proxies(&self) -> impl Iterator<Item = &proxy::Handle> {
        self.accepting().chain(&self.draining)
    }

    /// Those that are not replaced.
    fn accepting(&self) -> impl Iterator<Item = &proxy::Handle> {
        std::iter::once(&self.proxy).chain(self.extra_ports.iter().map(|it| &it.proxy))
    }

    fn is_alive(&self) -> bool {
        self.proxy.alive(ALIVE_WITHIN)
    }

    /// Resets the clients that came by these addresses.
    pub(super) fn reset_if(&self, addresses: &[IpAddr]) {
        for proxy in self.proxies() {
            proxy.reset_if(addresses);
        }
    }
}

fn bind(settings: proxy::Settings) -> Result<Proxy, Error> {
    Ok(Proxy::bind(settings)?)
}

/// Takes those of the sockets that listen where it is wanted, and binds the others; paused.
fn adopt(mut settings: proxy::Settings, sockets: &mut Vec<OwnedFd>) -> Result<Proxy, Error> {
    let mut adopted = Vec::new();
    for address in &mut settings.listen {
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let serves = |at: SocketAddr| {
            // A kernel without IPv6 has the latter.
            at == *address || (address.ip() == Ipv6Addr::UNSPECIFIED && at == any)
        };
        let found = sockets.iter().position(|it| listens_at(it).is_some_and(serves));
        if let Some(socket) = found.map(|index| sockets.swap_remove(index)) {
            *address = listens_at(&socket).unwrap_or(*address);
            adopted.push(socket);
        }
    }
    Ok(Proxy::adopt(settings, adopted)?.paused())
}

fn listens_at(socket: &OwnedFd) -> Option<SocketAddr> {
    rustix::net::getsockname(socket).ok()?.try_into().ok()
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
