//! What a worker says of itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use backends::Snapshot;
use nllb::Doors;
use tokio::sync::watch;

use super::readiness::Reach;
use crate::status::{Report, Reporting, Worker, load_balancer, milliseconds, time, warnings};

/// Ways to what the parts of the worker know, none of which waits for them.
pub(crate) struct View {
    pub(crate) started: SystemTime,
    pub(crate) kubeconfigs: Vec<PathBuf>,
    pub(crate) reach: watch::Receiver<Reach>,
    pub(crate) parts: Arc<ArcSwap<Parts>>,
}

/// What a reload replaces.
pub(crate) struct Parts {
    pub(crate) leaving: bool,
    /// Builtin, EnvoyProxy or Traefik.
    pub(crate) balancer: String,
    pub(crate) image: Option<String>,
    pub(crate) doors: Doors,
    pub(crate) apiservers: Service,
    pub(crate) konnectivity: Option<Service>,
    pub(crate) draining: super::gate::Draining,
    pub(crate) leavers: super::leaving::Leavers,
}

/// One service: who is behind it, and the proxy before it, if it is one of this process.
pub(crate) struct Service {
    pub(crate) snapshots: watch::Receiver<Arc<Snapshot>>,
    pub(crate) proxy: Option<super::gate::Slot>,
}

impl Reporting for View {
    fn is_ready(&self) -> bool {
        self.reach.borrow().ready && !self.parts.load().leaving
    }

    fn status(&self) -> Report {
        let parts = self.parts.load();
        let reach = self.reach.borrow().clone();
        let proxies = parts.draining.proxies();
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION"),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            started: time(self.started),
            started_at: self.started,
            uptime_ms: milliseconds(self.started.elapsed().unwrap_or_default()),
            ready: self.is_ready(),
            leaving: parts.leaving,
            // Nothing here needs to be in time.
            realtime: true,
            warnings: Vec::new(),
            keepalived: None,
            virtual_routers: Vec::new(),
            load_balancer: Some(parts.apiservers.report()),
            worker: Some(Worker {
                balancer: parts.balancer.clone(),
                image: parts.image.clone(),
                doors: parts.doors.apiserver_addresses(),
                konnectivity_doors: parts.doors.konnectivity_addresses(),
                unreached: (!reach.reason.is_empty()).then_some(reach.reason),
                kubeconfigs: self.kubeconfigs.iter().filter(|it| it.exists()).cloned().collect(),
                draining: proxies.iter().map(|it| it.stats().open).sum::<usize>()
                    + parts.leavers.connections(),
                konnectivity: parts.konnectivity.as_ref().map(Service::report),
            }),
        };
        report.warnings = warnings(&report);
        report
    }
}

impl Service {
    fn report(&self) -> crate::status::LoadBalancer {
        let proxy = self.proxy.as_ref().and_then(|slot| slot.load_full());
        let stats = proxy.map(|it| it.stats()).unwrap_or_default();
        load_balancer(&stats, Snapshot::clone(&self.snapshots.borrow()))
    }
}
