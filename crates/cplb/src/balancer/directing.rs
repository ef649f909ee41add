//! Balancing by the kernel (IPVS).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use kernel::redirect::{self, Redirect};

use super::presence::{NOTICE, Presence};
use crate::error::Error;
use crate::plan::IpvsPlan;

/// The kernel's services, and the redirect that spares this machine's own connections them.
pub(crate) struct Directing {
    plan: IpvsPlan,
    director: Arc<ipvs::Handle>,
    redirect: Option<Redirect>,
    /// `None` where a real server needs nothing of cplb (NAT).
    presence: Option<Presence>,
    parts: Arc<Parts>,
}

/// What others look at.
pub(crate) struct Parts {
    pub(crate) director: Arc<ipvs::Handle>,
    settings: Mutex<ipvs::Settings>,
    /// Usable apiservers that get no connections, since their nodes do not carry the addresses.
    absent: ArcSwap<BTreeSet<SocketAddr>>,
}

impl Directing {
    /// Looks whether this kernel has IPVS first; then makes what every node carries.
    pub(crate) fn start(plan: IpvsPlan) -> Result<Self, Error> {
        let director = Arc::new(ipvs::Handle::start(plan.settings.clone())?);
        let redirect = match plan.redirects.as_slice() {
            [] => None,
            rules => Some(Redirect::install_by(plan.redirect_by, redirect::TABLE, rules)?),
        };
        let settings = Mutex::new(plan.settings.clone());
        let absent = ArcSwap::default();
        let parts = Arc::new(Parts { director: Arc::clone(&director), settings, absent });
        // The link with the addresses is there now.
        let presence = plan.presence_port.map(Presence::start);
        Ok(Self { plan, director, redirect, presence, parts })
    }

    /// Of these apiservers those that IPVS can send connections to.
    pub(crate) fn reachable(&self, servers: &[SocketAddr]) -> Vec<SocketAddr> {
        let reachable = match &self.presence {
            Some(presence) => presence.of(servers),
            None => servers.to_vec(),
        };
        let absent = servers.iter().filter(|server| !reachable.contains(server));
        self.parts.absent.store(Arc::new(absent.copied().collect()));
        reachable
    }

    /// Waits until [`Directing::reachable`] may have another answer.
    pub(crate) async fn changed(&mut self) {
        match &mut self.presence {
            Some(presence) => presence.changed().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn set_usable(&self, usable: &[SocketAddr]) {
        self.director.set_usable(usable.to_vec());
    }

    /// Lets the other nodes know that this one leaves; for how long they may send connections still.
    pub(crate) fn leave(&self) -> Duration {
        let Some(presence) = &self.presence else { return Duration::ZERO };
        presence.leave();
        NOTICE
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.director.overview().error.is_none()
    }

    pub(crate) fn mend(&mut self) {
        if let Some(redirect) = &mut self.redirect {
            super::mend(redirect);
        }
    }

    pub(crate) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.parts)
    }

    /// Changes nothing when it fails.
    pub(crate) fn apply(&mut self, plan: IpvsPlan) -> Result<(), Error> {
        self.director.apply(plan.settings.clone())?;
        if let Some(redirect) = &mut self.redirect {
            redirect.replace(&plan.redirects)?;
        }
        self.parts.set_settings(plan.settings.clone());
        if plan.presence_port != self.plan.presence_port {
            self.presence = plan.presence_port.map(Presence::start);
        }
        self.plan = plan;
        Ok(())
    }

    /// Undoes everything.
    pub(crate) fn stop(self) {
        super::remove(self.redirect);
    }
}

impl Parts {
    pub(crate) fn settings(&self) -> ipvs::Settings {
        self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn absent(&self) -> Arc<BTreeSet<SocketAddr>> {
        self.absent.load_full()
    }

    fn set_settings(&self, settings: ipvs::Settings) {
        *self.settings.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = settings;
    }
}

/// The services come before the addresses, and go with them.
pub(crate) struct Directed(pub(crate) Arc<Parts>);

impl vip::Service for Directed {
    fn alive(&self) -> bool {
        true
    }

    fn claimed(&self, addresses: &[IpAddr]) {
        self.0.director.hold(addresses);
    }

    fn released(&self, addresses: &[IpAddr]) {
        self.0.director.release(addresses);
    }
}
