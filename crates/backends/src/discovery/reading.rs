//! One apiserver's list of the apiservers: read in full, then watched.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::failure::Failure;
use super::{ANSWER_TIMEOUT, Event};
use crate::endpoints::{self, NAMESPACE, SERVICE};
use crate::jitter;
use crate::snapshot::Resource;

/// How long a watch lasts, more or less, and so how often the list is read in full.
const TURN: Duration = Duration::from_secs(60);
/// A watch that should have ended this long ago hangs.
const GRACE: Duration = Duration::from_secs(5);
/// How often a list that may be read but not watched is read.
const AGAIN: Duration = Duration::from_secs(5);

/// A list that has been read through one apiserver.
pub(super) struct Reading {
    via: SocketAddr,
    kind: Kind,
}

enum Kind {
    Slices(Listed<EndpointSlice>),
    Endpoints(Listed<Endpoints>),
    /// Kubelets may read the object itself, and neither list nor watch (`system:node`).
    Object(Box<(Api<Endpoints>, Endpoints)>),
}

/// The objects that make up the list, by name, as of a version.
struct Listed<K> {
    api: Api<K>,
    selector: Selector,
    objects: BTreeMap<String, K>,
    version: String,
}

#[derive(Clone)]
enum Selector {
    Label(String),
    Field(String),
}

impl Reading {
    /// Reads the list by the newest kind of object that `client` may use.
    pub(super) async fn open(client: Client, via: SocketAddr) -> Result<Self, Failure> {
        // Not served before v1.21; not allowed where only the older kind was granted.
        let withheld = |failure: &Failure| match failure {
            Failure::Api(status) => [403, 404].contains(&status.code),
            _ => false,
        };
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), NAMESPACE);
        let selector = Selector::Label(format!("kubernetes.io/service-name={SERVICE}"));
        let refusal = match Listed::read(slices, selector).await {
            Ok(listed) => return Ok(Self { via, kind: Kind::Slices(listed) }),
            Err(failure) if withheld(&failure) => failure,
            Err(failure) => return Err(failure),
        };
        let endpoints = Api::<Endpoints>::namespaced(client, NAMESPACE);
        let selector = Selector::Field(format!("metadata.name={SERVICE}"));
        match Listed::read(endpoints.clone(), selector).await {
            Ok(listed) => return Ok(Self { via, kind: Kind::Endpoints(listed) }),
            Err(failure) if withheld(&failure) => {}
            Err(failure) => return Err(failure),
        }
        match get(&endpoints).await {
            Ok(object) => Ok(Self { via, kind: Kind::Object(Box::new((endpoints, object))) }),
            // What is to be granted is the best of the three.
            Err(failure) if withheld(&failure) => Err(refusal),
            Err(failure) => Err(failure),
        }
    }

    /// Tells the list, and each change of it, until the server ends the watch as it was asked to.
    pub(super) async fn follow(self, events: &mpsc::Sender<Event>) -> Result<(), Failure> {
        let length = jitter::around(TURN);
        let teller = |resource| Teller { via: self.via, resource, events };
        let followed = match self.kind {
            Kind::Slices(listed) => {
                let of = |objects: &BTreeMap<_, _>| endpoints::of_slices(objects.values());
                listed.follow(length, &teller(Resource::Slices), of).await
            }
            Kind::Endpoints(listed) => {
                let of = |objects: &BTreeMap<_, _>| {
                    objects.values().flat_map(endpoints::of_endpoints).collect()
                };
                listed.follow(length, &teller(Resource::Endpoints), of).await
            }
            Kind::Object(object) => {
                let (api, object) = *object;
                follow_object(&api, object, length, &teller(Resource::Endpoints)).await
            }
        };
        followed.map_err(|reason| Failure::Broken(Box::new(reason)))
    }
}

impl<K> Listed<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    async fn read(api: Api<K>, selector: Selector) -> Result<Self, Failure> {
        let parameters = match &selector {
            Selector::Label(it) => ListParams::default().labels(it),
            Selector::Field(it) => ListParams::default().fields(it),
        };
        let list = timeout(ANSWER_TIMEOUT, api.list(&parameters));
        let list = list.await.map_err(|_| Failure::Silent)??;
        let version = list.metadata.resource_version.unwrap_or_default();
        let objects = list.items.into_iter().map(|it| (it.name_any(), it)).collect();
        Ok(Self { api, selector, objects, version })
    }

    async fn follow(
        self,
        length: Duration,
        teller: &Teller<'_>,
        addresses: impl Fn(&BTreeMap<String, K>) -> BTreeSet<SocketAddr>,
    ) -> Result<(), Failure> {
        let Self { api, selector, mut objects, version } = self;
        teller.tell(addresses(&objects)).await;
        let seconds = u32::try_from(length.as_secs()).unwrap_or(u32::MAX);
        let parameters = WatchParams::default().timeout(seconds);
        let parameters = match &selector {
            Selector::Label(it) => parameters.labels(it),
            Selector::Field(it) => parameters.fields(it),
        };
        let watch = async {
            let watching = timeout(ANSWER_TIMEOUT, api.watch(&parameters, &version));
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
                teller.tell(addresses(&objects)).await;
            }
            Ok(())
        };
        timeout(length + GRACE, watch).await.unwrap_or(Err(Failure::Silent))
    }
}

async fn follow_object(
    api: &Api<Endpoints>,
    mut object: Endpoints,
    length: Duration,
    teller: &Teller<'_>,
) -> Result<(), Failure> {
    let end = Instant::now() + length;
    loop {
        teller.tell(endpoints::of_endpoints(&object)).await;
        if Instant::now() >= end {
            return Ok(());
        }
        sleep(jitter::around(AGAIN)).await;
        object = get(api).await?;
    }
}

async fn get(api: &Api<Endpoints>) -> Result<Endpoints, Failure> {
    Ok(timeout(ANSWER_TIMEOUT, api.get(SERVICE)).await.map_err(|_| Failure::Silent)??)
}

/// Whose list it is, and who wants to know it.
struct Teller<'a> {
    via: SocketAddr,
    resource: Resource,
    events: &'a mpsc::Sender<Event>,
}

impl Teller<'_> {
    async fn tell(&self, addresses: BTreeSet<SocketAddr>) {
        let (via, resource) = (self.via, self.resource);
        // Nobody listens any more only when this task is about to be ended.
        let _ = self.events.send(Event::Listed { via, resource, addresses }).await;
    }
}
