//! Reads and watches the `kubernetes` endpoints, through whichever apiserver will do.
//!
//! Each turn lists and then watches through one apiserver for about a minute, which makes every
//! turn a fresh list as well. A turn ends early when the apiserver fails, falls silent or is found
//! unhealthy; the next turn then goes to another one at once. Only when all have failed in a row
//! there is a pause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use rustls::ClientConfig;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::endpoints::{self, NAMESPACE, SERVICE};
use crate::health::Health;
use crate::jitter;
use crate::kubeconfig::{self, Credentials};
use crate::snapshot::Resource;

mod candidates;
mod failure;

pub(crate) use candidates::Candidate;
use failure::Failure;

/// How long a watch lasts, more or less, and so how often the list is read in full.
const TURN: Duration = Duration::from_secs(60);
/// A watch that should have ended this long ago hangs.
const GRACE: Duration = Duration::from_secs(5);
/// An apiserver that takes longer for the first answer is not the one to read from.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause after all apiservers have failed; doubled each time, up to the second.
const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(10)];
/// How often a kubeconfig that does not exist yet is looked for.
const KUBECONFIG_POLL: Duration = Duration::from_secs(1);

/// What discovery has to say.
pub(crate) enum Event {
    /// Credentials were read: how to make health checks from now on.
    Credentials(Arc<ClientConfig>),
    /// The kubeconfig's own server was resolved.
    Server(Vec<SocketAddr>),
    /// The list, in full.
    Listed { via: SocketAddr, resource: Resource, addresses: BTreeSet<SocketAddr> },
    /// No apiserver is being watched through any more; it went wrong if there is an error.
    Idle { error: Option<String> },
}

/// The reader, to be run as a task of its own until it is aborted.
pub(crate) struct Discovery {
    kubeconfig: PathBuf,
    credentials: Option<Credentials>,
    /// What was wrong with the kubeconfig when it was last read, so that this is said only once.
    unusable: Option<String>,
    candidates: watch::Receiver<Vec<Candidate>>,
    events: mpsc::Sender<Event>,
    clients: BTreeMap<SocketAddr, Client>,
    turn: usize,
}

impl Discovery {
    pub(crate) fn new(
        kubeconfig: PathBuf,
        credentials: Option<Credentials>,
        candidates: watch::Receiver<Vec<Candidate>>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            kubeconfig,
            credentials,
            unusable: None,
            candidates,
            events,
            clients: BTreeMap::new(),
            turn: 0,
        }
    }

    /// Reads and watches for ever.
    pub(crate) async fn run(mut self) {
        if let Some(credentials) = &self.credentials {
            tokio::spawn(resolve_server(credentials.clone(), self.events.clone()));
        }
        let mut pause = BACKOFF[0];
        loop {
            self.refresh_credentials().await;
            let began = Instant::now();
            let error = self.round().await.err();
            // An apiserver that ends each watch at once must not be asked in a tight loop either.
            let failed = error.is_some() || began.elapsed() < BACKOFF[0];
            self.tell(Event::Idle { error }).await;
            if !failed {
                pause = BACKOFF[0];
                continue;
            }
            self.rest(jitter::around(pause)).await;
            pause = (pause * 2).min(BACKOFF[1]);
        }
    }

    /// Takes a turn with the first candidate that will do. The error is what all of them said.
    async fn round(&mut self) -> Result<(), String> {
        let Some(credentials) = self.credentials.clone() else {
            return Err(self.unusable.clone().unwrap_or_else(|| {
                format!("waiting for the kubeconfig {} to appear", self.kubeconfig.display())
            }));
        };
        let order = candidates::order(&self.candidates.borrow_and_update(), self.turn);
        let mut failures = Vec::new();
        for via in order {
            let unhealthy = turned_unhealthy(self.candidates.clone(), via);
            let outcome = tokio::select! {
                outcome = self.follow(&credentials, via) => outcome,
                () = unhealthy => Err(Failure::Unhealthy),
            };
            let Err(failure) = outcome else { return Ok(()) };
            self.clients.remove(&via);
            self.turn = self.turn.wrapping_add(1);
            let text = failure.explain(via, credentials.path());
            if failure.interrupts() {
                info!(%via, reason = %text, "reading the endpoints through another apiserver");
                return Ok(());
            }
            debug!(%via, reason = %text, "the endpoints cannot be read through this apiserver");
            failures.push(text);
        }
        if failures.is_empty() {
            return Err(format!(
                "no apiserver is known to begin with: the server of {} is a virtual IP or has no \
                 address; give --apiserver HOST:PORT",
                credentials.path().display()
            ));
        }
        // In turn they come in any order; the same failures shall read the same.
        failures.sort();
        Err(failures.join("; "))
    }

    /// Lists and watches through `via`, until the watch ends as it should.
    async fn follow(&mut self, credentials: &Credentials, via: SocketAddr) -> Result<(), Failure> {
        let client = self.client(credentials, via).await?;
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE);
        let selector = format!("kubernetes.io/service-name={SERVICE}");
        let of = |objects: &Objects<EndpointSlice>| endpoints::of_slices(objects.values());
        let turn = Turn { via, resource: Resource::Slices, selector: Selector::Label(selector) };
        match turn.run(&slices, &self.events, of).await {
            // Not served before v1.21; not allowed where only the older kind was granted.
            Err(Failure::Api(status)) if [403, 404].contains(&status.code) => {}
            outcome => return outcome,
        }
        let endpoints = Api::<Endpoints>::namespaced(client, NAMESPACE);
        let selector = format!("metadata.name={SERVICE}");
        let of = |objects: &Objects<Endpoints>| {
            objects.values().flat_map(endpoints::of_endpoints).collect()
        };
        let turn = Turn { via, resource: Resource::Endpoints, selector: Selector::Field(selector) };
        turn.run(&endpoints, &self.events, of).await
    }

    async fn client(
        &mut self,
        credentials: &Credentials,
        via: SocketAddr,
    ) -> Result<Client, Failure> {
        if let Some(client) = self.clients.get(&via) {
            return Ok(client.clone());
        }
        let credentials = credentials.clone();
        let made = tokio::task::spawn_blocking(move || credentials.client(via));
        let made = timeout(ANSWER_TIMEOUT, made).await.map_err(|_| Failure::Plugin)?;
        let client = made.map_err(|_| Failure::Plugin)?.map_err(Failure::from)?;
        self.clients.insert(via, client.clone());
        Ok(client)
    }

    /// Reads the kubeconfig if it has changed or appeared. A bad one changes nothing.
    async fn refresh_credentials(&mut self) {
        if self.credentials.as_ref().is_some_and(|it| it.files().now() == *it.files()) {
            return;
        }
        if self.credentials.is_none() && !self.kubeconfig.exists() {
            return;
        }
        match kubeconfig::load(&self.kubeconfig, SystemTime::now()) {
            Ok(credentials) => {
                info!(kubeconfig = %self.kubeconfig.display(), "credentials read");
                self.clients.clear();
                self.unusable = None;
                self.tell(Event::Credentials(credentials.health())).await;
                tokio::spawn(resolve_server(credentials.clone(), self.events.clone()));
                self.credentials = Some(credentials);
            }
            Err(error) => {
                let error = error.to_string();
                if self.unusable.as_ref() != Some(&error) {
                    warn!(%error, "the kubeconfig is not usable; going on without it, or as it was before");
                }
                self.unusable = Some(error);
            }
        }
    }

    /// Waits for `pause`, or less if the candidates change or a missing kubeconfig may be there.
    async fn rest(&mut self, pause: Duration) {
        if self.credentials.is_none() {
            sleep(KUBECONFIG_POLL).await;
            return;
        }
        sleep(pause.min(BACKOFF[0])).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(BACKOFF[0])) => {}
            // The sender lives as long as this task.
            _ = self.candidates.changed() => {}
        }
    }

    async fn tell(&self, event: Event) {
        // Nobody listens any more only when this task is about to be ended.
        let _ = self.events.send(event).await;
    }
}

/// The objects that make up the list, by name.
type Objects<K> = BTreeMap<String, K>;

/// What is to be read through whom.
struct Turn {
    via: SocketAddr,
    resource: Resource,
    selector: Selector,
}

enum Selector {
    Label(String),
    Field(String),
}

impl Turn {
    /// Lists, then watches until the server ends the watch as it was asked to.
    async fn run<K>(
        &self,
        api: &Api<K>,
        events: &mpsc::Sender<Event>,
        addresses: impl Fn(&Objects<K>) -> BTreeSet<SocketAddr>,
    ) -> Result<(), Failure>
    where
        K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let length = jitter::around(TURN);
        let (list, watch) = self.parameters(length);
        let list =
            timeout(ANSWER_TIMEOUT, api.list(&list)).await.map_err(|_| Failure::Silent)??;
        let version = list.metadata.resource_version.unwrap_or_default();
        let mut objects: Objects<K> =
            list.items.into_iter().map(|it| (it.name_any(), it)).collect();
        self.tell(events, addresses(&objects)).await;

        let watch = async {
            let watching = timeout(ANSWER_TIMEOUT, api.watch(&watch, &version));
            let mut watching = pin!(watching.await.map_err(|_| Failure::Silent)??);
            while let Some(event) = watching.try_next().await? {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        objects.insert(object.name_any(), object);
                    }
                    WatchEvent::Deleted(object) => {
                        objects.remove(&object.name_any());
                    }
                    WatchEvent::Bookmark(_) => continue,
                    // The version is too old to watch from: list again.
                    WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                    WatchEvent::Error(status) => return Err(Failure::Api(status)),
                }
                self.tell(events, addresses(&objects)).await;
            }
            Ok(())
        };
        let watched = timeout(length + GRACE, watch).await.unwrap_or(Err(Failure::Silent));
        watched.map_err(|reason| Failure::Broken(Box::new(reason)))
    }

    fn parameters(&self, length: Duration) -> (ListParams, WatchParams) {
        let seconds = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        let watch = WatchParams::default().timeout(seconds);
        match &self.selector {
            Selector::Label(it) => (ListParams::default().labels(it), watch.labels(it)),
            Selector::Field(it) => (ListParams::default().fields(it), watch.fields(it)),
        }
    }

    async fn tell(&self, events: &mpsc::Sender<Event>, addresses: BTreeSet<SocketAddr>) {
        let (via, resource) = (self.via, self.resource);
        // Nobody listens any more only when this task is about to be ended.
        let _ = events.send(Event::Listed { via, resource, addresses }).await;
    }
}

/// Returns when `via` becomes unhealthy, though not if it was so from the beginning.
async fn turned_unhealthy(mut candidates: watch::Receiver<Vec<Candidate>>, via: SocketAddr) {
    let mut was_unhealthy = true;
    loop {
        let health =
            candidates.borrow_and_update().iter().find(|it| it.address == via).map(|it| it.health);
        let is_unhealthy = health == Some(Health::Unhealthy);
        if is_unhealthy && !was_unhealthy {
            return;
        }
        was_unhealthy = is_unhealthy;
        if candidates.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Looks up the kubeconfig's server, which may take its time.
async fn resolve_server(credentials: Credentials, events: mpsc::Sender<Event>) {
    let (host, port) = credentials.server();
    let resolved = match credentials.server_address() {
        Some(address) => vec![address],
        None => match tokio::net::lookup_host((host, port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => {
                info!(host, %error, "the kubeconfig's server has no address; going on without it");
                return;
            }
        },
    };
    // Nobody listens any more only at the end.
    let _ = events.send(Event::Server(resolved)).await;
}
