//! What stands between the doors of a worker and the apiservers, and how it is changed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use backends::{Backends, Checked, HealthSettings, PortCheck};
use nllb::{Deployment, Leaving, Manifests};
use tokio::task::JoinSet;

use super::gate::{Draining, Entrance, Gate};
use super::leaving::Leavers;
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
    /// Pods that go on until their successor listens. Gates beside a pod go on so long, too.
    yielding: Vec<Pod>,
    leavers: Leavers,
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
            yielding: Vec::new(),
            leavers: Leavers::default(),
            draining: Draining::default(),
            manifests,
            plan,
        };
        serving.take_up()?;
        let prepared = serving.prepare(&serving.plan)?;
        let wanted = prepared.pod.as_ref();
        if let Some(manifests) = &serving.plan.manifests {
            nllb::remove_orphans(&serving.plan.pods, manifests, wanted)?;
        }
        serving.bring_about(prepared, serving.plan.clone(), None).await?;
        Ok(serving)
    }

    /// Goes on with the pods of an earlier run.
    fn take_up(&mut self) -> Result<(), Error> {
        for leaving in Leaving::all(&self.plan.pods, &self.manifests)? {
            self.leavers.add(leaving, Arc::clone(&self.manifests));
        }
        for deployment in Deployment::all(&self.plan.pods)? {
            let manifests = Arc::clone(&self.manifests);
            self.yielding.push(Pod::start(deployment, manifests, &self.sources.apiservers)?);
        }
        Ok(())
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

    /// Whether somebody waits for a pod to take its place.
    pub(crate) fn is_yielding(&self) -> bool {
        !self.yielding.is_empty() || (self.pod.is_some() && self.apiserver.is_some())
    }

    /// Lets go who waits, if the pod listens.
    pub(crate) async fn yield_to_pod(&mut self) -> Result<(), Error> {
        match &self.pod {
            Some(pod) if !pod.presence().listens() => Ok(()),
            _ => self.let_go().await,
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
            leavers: self.leavers.clone(),
        }
    }

    /// Ends it: no new connections, those open may finish until the deadline. The files of a pod
    /// stay, so that a restart of this process cuts nobody off.
    pub(crate) async fn stop(self, limit: Duration) {
        if let Some(pod) = &self.pod {
            let engine = pod.settings().engine;
            tracing::info!("the static pod of {engine} goes on with the apiservers it knows");
        }
        let gates = self.gates();
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
                let leaving =
                    self.pod.is_some() || !self.yielding.is_empty() || !self.leavers.is_empty();
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
        if self.pod.as_ref().is_some_and(|pod| pod.settings() == settings) {
            return Ok(Prepared::default());
        }
        let pods = self.pod.iter().chain(&self.yielding);
        let gates = self.gates().flat_map(Gate::listen).copied();
        let own = pods.flat_map(|it| it.settings().doors.addresses()).chain(gates).collect();
        // A pod that starts finds out by itself; one that moves stays where it was then.
        if self.pod.is_some() {
            find_free(&plan.doors.addresses() - &own)?;
        }
        let pod = Some(Deployment::new(settings.clone())?);
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
        // Before it knows of the ports.
        let at_once = prepared.pod.as_ref().is_some_and(|it| !self.can_yield(it));
        let pod = prepared.pod.map(|it| Pod::start(it, Arc::clone(&self.manifests), apiservers));
        let pod = pod.transpose()?;
        let apiserver = prepared.apiserver.map(|it| Gate::open(it, apiservers)).transpose()?;
        let konnectivity = prepared.konnectivity.zip(konnectivity.as_ref());
        let konnectivity =
            konnectivity.map(|(it, backends)| Gate::open(it, backends)).transpose()?;

        let old_sources = sources.map(|new| std::mem::replace(&mut self.sources, new));
        self.replace_gates(&plan, apiserver, konnectivity, old_sources.is_some());
        self.replace_pod(&plan, pod).await;
        if at_once || self.pod.is_none() {
            self.let_go().await?;
        }
        if let Some(old) = old_sources {
            old.stop().await;
        }
        self.plan = plan;
        Ok(())
    }

    /// Whether everybody can stay until this pod listens: at its addresses, too.
    fn can_yield(&self, pod: &Deployment) -> bool {
        pod.can_share() && self.gates().all(Gate::share)
    }

    fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.apiserver.iter().chain(&self.konnectivity)
    }

    /// Whoever waited for the pod that is to take its place: gates and pods close their listeners, and
    /// keep their connections for as long as they last.
    async fn let_go(&mut self) -> Result<(), Error> {
        if self.pod.is_some() {
            let gates = self.apiserver.take().into_iter().chain(self.konnectivity.take());
            gates.for_each(|gate| gate.close(&self.draining));
        }
        for pod in std::mem::take(&mut self.yielding) {
            let Some(deployment) = pod.stop().await else { continue };
            if let Some(leaving) = deployment.leave(&self.manifests)? {
                self.leavers.add(leaving, Arc::clone(&self.manifests));
            }
        }
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
            // Beside a pod it is closed when that listens.
            let replaced = new.is_some() || (builtin && !wanted);
            if let Some(old) = slot.take_if(|_| replaced) {
                old.close(&self.draining);
            }
            if let Some(kept) = slot.as_ref().filter(|_| builtin) {
                kept.keep();
            }
            match (new, slot.as_mut(), backends) {
                (Some(new), _, _) => *slot = Some(new),
                (None, Some(kept), Some(backends)) if new_sources => kept.feed_by(backends),
                _ => {}
            }
        }
    }

    async fn replace_pod(&mut self, plan: &Plan, pod: Option<Pod>) {
        if pod.is_none() && plan.kind != Kind::Builtin {
            return;
        }
        self.yielding.extend(self.pod.take());
        // The same pod by another plan goes on, and its files have another writer now.
        let is_same = |old: &mut Pod| pod.as_ref().is_some_and(|new| new.name() == old.name());
        for same in self.yielding.extract_if(.., is_same).collect::<Vec<_>>() {
            same.stop().await;
        }
        self.pod = pod;
    }
}

/// Refuses addresses that are taken.
fn find_free(listen: BTreeSet<SocketAddr>) -> Result<(), Error> {
    if !listen.is_empty() {
        Entrance::new(listen.into_iter().collect(), 1, false)?;
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
