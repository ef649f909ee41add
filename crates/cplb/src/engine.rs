//! Who speaks VRRP for this node: this process itself, or a keepalived that it supervises.

mod heartbeat;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use keepalived::Keepalived;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use vip::{Service, Vip};
use vrrp::State;

use self::heartbeat::Heartbeat;
use crate::error::Error;
use crate::events;
use crate::plan::EnginePlan;

/// Moves the virtual IPs.
pub(crate) enum Engine {
    Builtin(Vip),
    Keepalived {
        keepalived: Keepalived,
        service: Arc<dyn Service>,
        #[expect(dead_code, reason = "it beats until it is dropped")]
        heartbeat: Heartbeat,
    },
}

/// Checked, nothing running or changed yet.
pub(crate) enum Prepared {
    Builtin(Vec<vip::Instance>),
    Keepalived(Box<keepalived::Checked>),
}

/// What an engine tells.
pub(crate) enum Told {
    Builtin(vip::Event),
    Keepalived(keepalived::Event),
}

/// A way to an engine's status that outlives it.
#[derive(Clone)]
pub(crate) enum Source {
    Builtin(Arc<ArcSwap<vip::Status>>),
    Keepalived(Arc<ArcSwap<keepalived::Status>>),
}

/// What a reload changed: names of virtual routers.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) added: Vec<String>,
    pub(crate) updated: Vec<String>,
    pub(crate) removed: Vec<String>,
}

impl Prepared {
    pub(crate) fn new(plan: &EnginePlan) -> Result<Self, Error> {
        Ok(match plan {
            EnginePlan::Builtin(instances) => Self::Builtin(instances.clone()),
            EnginePlan::Keepalived(settings) => {
                Self::Keepalived(Box::new(keepalived::check(settings)?))
            }
        })
    }

    /// Starts it on the current tokio runtime, not ready yet. Nothing is changed in the kernel when
    /// it fails.
    pub(crate) fn start(
        self,
        service: Arc<dyn Service>,
    ) -> Result<(Engine, UnboundedReceiver<Told>), Error> {
        let (sender, told) = mpsc::unbounded_channel();
        // Nobody listens any more only when the program ends.
        let engine = match self {
            Self::Builtin(instances) => {
                let tell = move |event| drop(sender.send(Told::Builtin(event)));
                Engine::Builtin(Vip::start(settings(instances), service, Arc::new(tell))?)
            }
            Self::Keepalived(checked) => {
                let tell = move |event| drop(sender.send(Told::Keepalived(event)));
                let keepalived = checked.start(Arc::new(tell))?;
                let heartbeat = Heartbeat::start(keepalived.heart(), Arc::clone(&service))?;
                Engine::Keepalived { keepalived, service, heartbeat }
            }
        };
        engine.set_ready(false);
        Ok((engine, told))
    }

    /// Starts it in place of that of another process, once that passes it on at the other end of
    /// `relay`.
    pub(crate) fn succeed(
        self,
        service: Arc<dyn Service>,
        relay: OwnedFd,
    ) -> Result<(Engine, UnboundedReceiver<Told>), Error> {
        let Self::Builtin(instances) = self else { return Err(Error::NoSuccession(KEEPALIVED)) };
        let (sender, told) = mpsc::unbounded_channel();
        let tell = Arc::new(move |event| drop(sender.send(Told::Builtin(event))));
        let vip = Vip::succeed(settings(instances), service, tell, relay)?;
        Ok((Engine::Builtin(vip), told))
    }
}

/// Why it cannot change over to another process.
const KEEPALIVED: &str = "type: Keepalived, whose keepalived ends with the process that started it";

fn settings(instances: Vec<vip::Instance>) -> vip::Settings {
    vip::Settings { instances, lifetime: vip::Settings::DEFAULT_LIFETIME, realtime: true }
}

impl Engine {
    /// The virtual routers that a successor has to run as well.
    pub(crate) fn identities(&self) -> Result<Vec<vip::Identity>, Error> {
        match self {
            Self::Builtin(vip) => Ok(vip.identities()),
            Self::Keepalived { .. } => Err(Error::NoSuccession(KEEPALIVED)),
        }
    }

    /// Passes the virtual routers on to another process, a pidfd, that waits for them.
    pub(crate) fn pass_on(&self, relay: vip::Relay, process: OwnedFd) {
        if let Self::Builtin(vip) = self {
            vip.pass_on(relay, process);
        }
    }

    /// Brings about a changed plan. An error changes nothing.
    pub(crate) fn apply(&mut self, plan: &EnginePlan) -> Result<Applied, Error> {
        match (self, plan) {
            (Self::Builtin(vip), EnginePlan::Builtin(instances)) => {
                let vip::Applied { added, updated, removed } = vip.apply(instances.clone())?;
                Ok(Applied { added, updated, removed })
            }
            (Self::Keepalived { keepalived, .. }, EnginePlan::Keepalived(settings)) => {
                let keepalived::Applied { added, updated, removed } = keepalived.apply(settings)?;
                Ok(Applied { added, updated, removed })
            }
            _ => Err(Error::NeedsRestart("type")),
        }
    }

    /// Tells whether this node can serve, with all hysteresis already applied.
    pub(crate) fn set_ready(&self, ready: bool) {
        match self {
            Self::Builtin(vip) => vip.set_ready(ready),
            Self::Keepalived { keepalived, .. } => keepalived.set_ready(ready),
        }
    }

    /// Names the other control plane nodes.
    pub(crate) fn set_peers(&self, peers: Vec<IpAddr>) {
        match self {
            Self::Builtin(vip) => vip.set_peers(peers),
            Self::Keepalived { keepalived, .. } => keepalived.set_peers(peers),
        }
    }

    /// Names the apiservers for the virtual servers of keepalived.
    pub(crate) fn set_real_servers(&self, servers: Vec<SocketAddr>) {
        if let Self::Keepalived { keepalived, .. } = self {
            keepalived.set_real_servers(servers);
        }
    }

    /// Starts the planned hand-over; [`Told::ended`] says when it is over, `patience` at most.
    pub(crate) fn hand_over(&self, patience: Duration) {
        match self {
            Self::Builtin(vip) => vip.hand_over(patience),
            Self::Keepalived { keepalived, .. } => keepalived.hand_over(patience),
        }
    }

    /// Does what follows from an event. Builtin has told its service itself, before and after.
    pub(crate) fn heed(&self, told: &Told) {
        let Self::Keepalived { keepalived, service, .. } = self else { return };
        let Told::Keepalived(keepalived::Event::Transition { instance, transition }) = told else {
            return;
        };
        if transition.from != State::Active {
            return;
        }
        let status = keepalived.status();
        let left = status.instances.iter().filter(|it| it.name == *instance);
        let addresses: Vec<_> = left.flat_map(|it| &it.addresses).map(|it| it.address).collect();
        service.released(&addresses);
    }

    /// A way to the status that outlives the engine.
    pub(crate) fn source(&self) -> Source {
        match self {
            Self::Builtin(vip) => Source::Builtin(vip.status_source()),
            Self::Keepalived { keepalived, .. } => Source::Keepalived(keepalived.status_source()),
        }
    }
}

impl Source {
    /// Whether any of the virtual IPs is here.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Self::Builtin(status) => {
                status.load().instances.iter().any(|it| it.state == State::Active)
            }
            Self::Keepalived(status) => status.load().holds(),
        }
    }
}

impl Told {
    /// One log line.
    pub(crate) fn log(&self) {
        match self {
            Self::Builtin(event) => events::log(event),
            Self::Keepalived(event) => events::log_keepalived(event),
        }
    }

    /// Whether the engine has ended, and how.
    pub(crate) fn ended(self) -> Option<Result<(), Error>> {
        match self {
            Self::Builtin(vip::Event::Ended(result)) => Some(result.map_err(Error::from)),
            Self::Keepalived(keepalived::Event::Ended(result)) => Some(result.map_err(Error::from)),
            _ => None,
        }
    }
}
