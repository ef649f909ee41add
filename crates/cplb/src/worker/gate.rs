//! One service of the built-in balancer: a proxy, fed by the backends behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use backends::{Backends, Reporter, Snapshot};
use proxy::{BindError, Proxy};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::balancer::{self, pass_on_evidence};
use crate::error::Error;

/// Listeners that are there, or will be: a pod that is about to end may still have the ports.
pub(crate) struct Entrance {
    settings: proxy::Settings,
    proxy: Option<Proxy>,
}

/// The place of a proxy that may still be waiting for its ports.
pub(crate) type Slot = Arc<ArcSwapOption<proxy::Handle>>;

/// A proxy that is fed. It goes on until it is closed or dropped.
pub(crate) struct Gate {
    settings: proxy::Settings,
    proxy: Slot,
    reporter: Arc<ArcSwap<Reporter>>,
    feeder: JoinHandle<()>,
}

/// Proxies whose listeners are closed, until their last connection has ended.
#[derive(Clone, Default)]
pub(crate) struct Draining(Arc<Mutex<Vec<proxy::Handle>>>);

/// How often a port is tried that a pod is about to leave.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// How often it is looked whether the last connection has ended.
const LOOK_EACH: Duration = Duration::from_millis(250);

impl Entrance {
    /// Listens at these addresses. If `leaving` is true and they are in use, they will be free.
    pub(crate) fn new(
        listen: Vec<SocketAddr>,
        threads: usize,
        leaving: bool,
    ) -> Result<Self, Error> {
        let settings = proxy::Settings { listen, ..proxy::Settings::default() };
        let settings = proxy::Settings { threads: threads.min(settings.threads), ..settings };
        let bound = if leaving { bind_beside(&settings) } else { Proxy::bind(settings.clone()) };
        match bound {
            Ok(proxy) => Ok(Self { settings, proxy: Some(proxy) }),
            Err(BindError::InUse { .. }) if leaving => Ok(Self { settings, proxy: None }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Gate {
    /// Starts on the current tokio runtime.
    pub(crate) fn open(entrance: Entrance, backends: &Backends) -> Result<Self, Error> {
        let reporter = Arc::new(ArcSwap::from_pointee(backends.reporter()));
        let snapshots = backends.snapshots();
        let Entrance { settings, proxy } = entrance;
        let proxy = proxy.map(Proxy::start).transpose()?.map(Arc::new);
        if let Some(proxy) = &proxy {
            proxy.set_backends(snapshots.borrow().usable.clone());
            pass_on_evidence(proxy, Arc::clone(&reporter));
        }
        let proxy = Arc::new(ArcSwapOption::new(proxy));
        let feeder = tokio::spawn(feed(
            settings.clone(),
            Arc::clone(&proxy),
            Arc::clone(&reporter),
            snapshots,
        ));
        Ok(Self { settings, proxy, reporter, feeder })
    }

    /// Where it listens, or is going to.
    pub(crate) fn listen(&self) -> &[SocketAddr] {
        &self.settings.listen
    }

    /// The proxy, once it has its ports.
    pub(crate) fn proxy(&self) -> Option<proxy::Handle> {
        self.proxy.load().as_deref().cloned()
    }

    /// Where the proxy is, or is going to be.
    pub(crate) fn slot(&self) -> Slot {
        Arc::clone(&self.proxy)
    }

    /// Feeds it by other backends from now on.
    pub(crate) fn feed_by(&mut self, backends: &Backends) {
        self.reporter.store(Arc::new(backends.reporter()));
        let (proxy, reporter) = (Arc::clone(&self.proxy), Arc::clone(&self.reporter));
        let feeder = feed(self.settings.clone(), proxy, reporter, backends.snapshots());
        std::mem::replace(&mut self.feeder, tokio::spawn(feeder)).abort();
    }

    /// Lets a pod that is to take its place listen beside it; whether that is possible.
    pub(crate) fn share(&self) -> bool {
        let Some(proxy) = self.proxy() else { return false };
        let shared = proxy.listening_sockets().and_then(|it| it.iter().try_for_each(nllb::share));
        if let Err(error) = &shared {
            tracing::warn!(%error, "the ports cannot be shared with the pod, so they are free until it has them");
        }
        shared.is_ok()
    }

    /// Lets nobody listen beside it any more.
    pub(crate) fn keep(&self) {
        let sockets = self.proxy().map(|it| it.listening_sockets()).transpose();
        let kept = sockets.and_then(|it| it.iter().flatten().try_for_each(nllb::keep));
        if let Err(error) = kept {
            tracing::warn!(%error, "the ports stay shared");
        }
    }

    /// Closes the listeners. Open connections go on for as long as they last.
    pub(crate) fn close(mut self, draining: &Draining) {
        let Some(proxy) = self.proxy() else { return };
        proxy.stop_accepting();
        draining.add(proxy.clone());
        // It still hears which backends hang.
        let feeder = std::mem::replace(&mut self.feeder, tokio::spawn(async {}));
        let draining = draining.clone();
        tokio::spawn(async move {
            while proxy.stats().open > 0 {
                sleep(LOOK_EACH).await;
            }
            feeder.abort();
            draining.remove(&proxy);
            tracing::info!(listened = ?proxy.listening(), "the last connection of a closed door has ended");
            // Nothing is open any more; dropped, it ends.
        });
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

impl Draining {
    /// The proxies that still have connections.
    pub(crate) fn proxies(&self) -> Vec<proxy::Handle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, proxy: proxy::Handle) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(proxy);
    }

    fn remove(&self, proxy: &proxy::Handle) {
        let addresses = proxy.listening();
        let mut proxies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = proxies.iter().position(|it| it.listening() == addresses) {
            proxies.remove(index);
        }
    }
}

/// Gives the proxy the backends as they are, once it is there.
async fn feed(
    settings: proxy::Settings,
    slot: Slot,
    reporter: Arc<ArcSwap<Reporter>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
) {
    let proxy = match slot.load_full() {
        Some(proxy) => proxy,
        None => {
            let proxy = Arc::new(opened(settings, &reporter).await);
            slot.store(Some(Arc::clone(&proxy)));
            proxy
        }
    };
    balancer::feed(&proxy, snapshots).await;
}

/// Listens beside a pod that is about to end, if that shares its ports.
fn bind_beside(settings: &proxy::Settings) -> Result<Proxy, BindError> {
    match Proxy::bind(settings.clone()) {
        Err(BindError::InUse { address }) => {
            let sockets = settings.listen.iter().map(|it| nllb::listen_beside(*it));
            match sockets.collect::<io::Result<Vec<_>>>() {
                Ok(sockets) => Proxy::adopt(settings.clone(), sockets),
                Err(_) => Err(BindError::InUse { address }),
            }
        }
        bound => bound,
    }
}

/// A proxy with these settings, as soon as nobody else has its ports.
async fn opened(settings: proxy::Settings, reporter: &Arc<ArcSwap<Reporter>>) -> proxy::Handle {
    let mut told = None;
    loop {
        let started = bind_beside(&settings)
            .map_err(Error::from)
            .and_then(|proxy| proxy.start().map_err(Error::from));
        match started {
            Ok(proxy) => {
                tracing::info!(listen = ?settings.listen, "the ports are free, listening");
                pass_on_evidence(&proxy, Arc::clone(reporter));
                return proxy;
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    tracing::warn!(%error, "waiting for the ports to become free");
                }
                told = Some(error);
                sleep(TRY_AGAIN).await;
            }
        }
    }
}
