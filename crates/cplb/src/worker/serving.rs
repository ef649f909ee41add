//! What stands between the doors of a worker and the apiservers, and how it is changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backends::{Backends, Checked, HealthSettings, PortCheck};
use nllb::{Deployment, Doors, Manifests};
use tokio::task::JoinSet;

use super::gate::{Draining, Entrance, Gate};
use super::plan::{Kind, Plan};
use super::pod::Pod;
use super::view::{Parts, Service};
use crate::error::Error;

/// Everything that runs. Dropped, it ends without a drain; the files of a pod stay.
pub(crate) struct Serving {
    plan: Plan,
    sources: Sources,
    /// Of the built-in balancer.
    apiserver: Option<Gate>,
    /// Of the built-in balancer.
    konnectivity: Option<Gate>,
    /// Instead of them.
    pod: Option<Pod>,
    draining: Draining,
    manifests: Arc<Manifests>,
}

/// Who is behind the doors.
struct Sources {
    apiservers: Backends,
    konnectivity: Option<Backends>,
}

/// What a plan needs that is not there, checked and bound, but nothing running yet.
#[derive(Default)]
struct Prepared {
    apiserver: Option<Entrance>,
    konnectivity: Option<Entrance>,
    pod: Option<Deployment>,
}

/// Kubelet, kube-proxy and a handful of pods need no more, and a storm of theirs shall not take
/// every core.
const APISERVER_THREADS: usize = 2;
/// An agent holds one connection to each controller.
const KONNECTIVITY_THREADS: usize = 1;

impl Serving {
    /// Starts on the current tokio runtime.
    pub(crate) async fn start(plan: Plan, manifests: Arc<Manifests>) -> Result<Self, Error> {
        let checked = backends::check(&plan.backends)?;
        let mut serving = Self {
            sources: Sources::start(checked, &plan),
            apiserver: None,
            konnectivity: None,
            pod: None,
            draining: Draining::default(),
            manifests,
            plan,
        };
        let prepared = serving.prepare(&serving.plan)?;
        serving.bring_about(prepared, serving.plan.clone(), None).await?;
        Ok(serving)
    }

    /// Makes it what `plan` says. What is the same goes on; closed doors keep their connections for
    /// as long as they last. After an error everything is as it was.
    pub(crate) async fn change(&mut self, plan: Plan) -> Result<(), Error> {
        let same = plan.backends == self.plan.backends
            && plan.doors.konnectivity == self.plan.doors.konnectivity;
        let checked = if same { None } else { Some(backends::check(&plan.backends)?) };
        let prepared = self.prepare(&plan)?;
        let sources = checked.map(|checked| Sources::start(checked, &plan));
        self.bring_about(prepared, plan, sources).await
    }

    /// Asks a pod to listen once more, which may have found its ports in use.
    pub(crate) fn offer_again(&self) {
        if let Some(pod) = &self.pod {
            pod.offer_again();
        }
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the status looks at.
    pub(crate) fn parts(&self, leaving: bool) -> Parts {
        let Sources { apiservers, konnectivity } = &self.sources;
        let slot = |gate: &Option<Gate>| gate.as_ref().map(Gate::slot);
        let pod = self.pod.as_ref().map(Pod::settings);
        Parts {
            leaving,
            balancer: pod.map_or_else(|| "Builtin".to_owned(), |pod| pod.engine.to_string()),
            image: pod.map(|pod| pod.image.to_string()),
            doors: self.plan.doors.clone(),
            apiservers: Service { snapshots: apiservers.snapshots(), proxy: slot(&self.apiserver) },
            konnectivity: konnectivity
                .as_ref()
                .zip(self.konnectivity.as_ref())
                .map(|(it, gate)| Service { snapshots: it.snapshots(), proxy: Some(gate.slot()) }),
            draining: self.draining.clone(),
        }
    }

    /// Ends it: no new connections, those open may finish until the deadline. The files of a pod
    /// stay, so that a restart of this process cuts nobody off.
    pub(crate) async fn stop(self, limit: Duration) {
        if let Some(pod) = &self.pod {
            let engine = pod.settings().engine;
            tracing::info!("the static pod of {engine} goes on with the apiservers it knows");
        }
        let gates = self.apiserver.iter().chain(&self.konnectivity);
        let mut drains = JoinSet::new();
        for proxy in self.draining.proxies().into_iter().chain(gates.filter_map(Gate::proxy)) {
            drains.spawn_blocking(move || proxy.drain(limit));
        }
        while let Some(Ok(drained)) = drains.join_next().await {
            let (finished, reset) = (drained.finished, drained.reset);
            tracing::info!(finished, reset, "connections drained");
        }
        self.sources.stop().await;
    }

    /// Whatever can be wrong with a plan shows here.
    fn prepare(&self, plan: &Plan) -> Result<Prepared, Error> {
        let settings = match &plan.kind {
            Kind::Pod(settings) => settings,
            Kind::Builtin => {
                let leaving = self.pod.is_some();
                let enter = |gate: &Option<Gate>, listen: Vec<SocketAddr>, threads| {
                    let there = gate.as_ref().is_some_and(|gate| gate.listen() == listen);
                    let wanted = !there && !listen.is_empty();
                    wanted.then(|| Entrance::new(listen, threads, leaving)).transpose()
                };
                let doors = &plan.doors;
                return Ok(Prepared {
                    apiserver: enter(
                        &self.apiserver,
                        doors.apiserver_addresses(),
                        APISERVER_THREADS,
                    )?,
                    konnectivity: enter(
                        &self.konnectivity,
                        doors.konnectivity_addresses(),
                        KONNECTIVITY_THREADS,
                    )?,
                    pod: None,
                });
            }
        };
        let pod = match &self.pod {
            Some(pod) if pod.settings() == settings => None,
            Some(pod) => {
                find_free(&plan.doors, &pod.settings().doors)?;
                Some(Deployment::new(settings.clone())?)
            }
            None => Some(Deployment::new(settings.clone())?),
        };
        Ok(Prepared { pod, ..Prepared::default() })
    }

    /// The new ones first: what fails then leaves the old ones.
    async fn bring_about(
        &mut self,
        prepared: Prepared,
        plan: Plan,
        sources: Option<Sources>,
    ) -> Result<(), Error> {
        let Sources { apiservers, konnectivity } = sources.as_ref().unwrap_or(&self.sources);
        let pod = prepared.pod.map(|it| Pod::start(it, Arc::clone(&self.manifests), apiservers));
        let pod = pod.transpose()?;
        let apiserver = prepared.apiserver.map(|it| Gate::open(it, apiservers)).transpose()?;
        let konnectivity = prepared.konnectivity.zip(konnectivity.as_ref());
        let konnectivity =
            konnectivity.map(|(it, backends)| Gate::open(it, backends)).transpose()?;

        let old_sources = sources.map(|new| std::mem::replace(&mut self.sources, new));
        self.replace_gates(&plan, apiserver, konnectivity, old_sources.is_some());
        self.replace_pod(&plan, pod).await?;
        if let Some(old) = old_sources {
            old.stop().await;
        }
        self.plan = plan;
        Ok(())
    }

    fn replace_gates(
        &mut self,
        plan: &Plan,
        apiserver: Option<Gate>,
        konnectivity: Option<Gate>,
        new_sources: bool,
    ) {
        let builtin = plan.kind == Kind::Builtin;
        let wanted = [builtin, builtin && plan.doors.konnectivity.is_some()];
        let slots = [&mut self.apiserver, &mut self.konnectivity];
        let backends = [Some(&self.sources.apiservers), self.sources.konnectivity.as_ref()];
        let new = [apiserver, konnectivity];
        for (((slot, new), backends), wanted) in
            slots.into_iter().zip(new).zip(backends).zip(wanted)
        {
            let old = if new.is_some() || !wanted { slot.take() } else { None };
            if let Some(old) = old {
                old.close(&self.draining);
            }
            match (new, slot.as_mut(), backends) {
                (Some(new), _, _) => *slot = Some(new),
                (None, Some(kept), Some(backends)) if new_sources => kept.feed_by(backends),
                _ => {}
            }
        }
    }

    async fn replace_pod(&mut self, plan: &Plan, pod: Option<Pod>) -> Result<(), Error> {
        let wanted = plan.kind != Kind::Builtin;
        let old = if pod.is_some() || !wanted { self.pod.take() } else { None };
        if let Some(old) = old {
            let deployment = old.stop().await;
            match (&pod, deployment) {
                (None, Some(deployment)) => deployment.remove(&self.manifests)?,
                (Some(new), Some(old)) if new.settings().engine != old.settings().engine => {
                    old.remove_files()?;
                }
                _ => {}
            }
        }
        if pod.is_some() {
            self.pod = pod;
        }
        Ok(())
    }
}

/// Whether a pod that listens at its old doors will find the new ones free.
fn find_free(new: &Doors, old: &Doors) -> Result<(), Error> {
    let all =
        |doors: &Doors| [doors.apiserver_addresses(), doors.konnectivity_addresses()].concat();
    let old = all(old);
    let listen: Vec<_> = all(new).into_iter().filter(|it| !old.contains(it)).collect();
    if !listen.is_empty() {
        Entrance::new(listen, 1, false)?;
    }
    Ok(())
}

impl Sources {
    fn start(checked: Checked, plan: &Plan) -> Self {
        let apiservers = backends::spawn(checked);
        let hosts = apiservers.snapshots();
        let konnectivity = plan.doors.konnectivity.map(|it| {
            let health = HealthSettings::default();
            let check = PortCheck::Connect;
            backends::spawn_beside("konnectivity server", hosts, it.server_port, health, check)
        });
        Self { apiservers, konnectivity }
    }

    async fn stop(self) {
        if let Some(konnectivity) = self.konnectivity {
            konnectivity.stop().await;
        }
        self.apiservers.stop().await;
    }
}
