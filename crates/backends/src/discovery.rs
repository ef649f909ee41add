//! Reads and watches the `kubernetes` endpoints, through whichever apiserver will do.
//!
//! Each turn lists and then watches through one apiserver for about a minute, which makes every
//! turn a fresh list as well. A turn ends early when the apiserver fails, falls silent or is found
//! unhealthy; the next turn then goes to another one at once. At the begin of a turn the apiservers
//! are asked side by side. Only when all have failed there is a pause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::health::Health;
use crate::jitter;
use crate::kubeconfig::{self, Credentials};
use crate::snapshot::Resource;

mod candidates;
mod failure;
mod reading;

pub(crate) use candidates::Candidate;
use failure::Failure;
use reading::Reading;

/// An apiserver that has not answered after this long is asked beside another one.
const BESIDE: Duration = Duration::from_millis(250);
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
    /// Read while there is no kubeconfig.
    bootstrap_kubeconfig: Option<PathBuf>,
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
        bootstrap_kubeconfig: Option<PathBuf>,
        credentials: Option<Credentials>,
        candidates: watch::Receiver<Vec<Candidate>>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            kubeconfig,
            bootstrap_kubeconfig,
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
        let (via, reading) = self.open_first(&credentials, order).await?;
        let unhealthy = turned_unhealthy(self.candidates.clone(), via);
        let outcome = tokio::select! {
            outcome = reading.follow(&self.events) => outcome,
            () = unhealthy => Err(Failure::Unhealthy),
        };
        let Err(failure) = outcome else { return Ok(()) };
        self.forget(via);
        let text = failure.explain(via, credentials.path());
        if failure.interrupts() {
            info!(%via, reason = %text, "reading the endpoints through another apiserver");
            return Ok(());
        }
        debug!(%via, reason = %text, "the endpoints cannot be watched through this apiserver");
        Err(text)
    }

    /// Asks the candidates side by side, each a moment after the one before it or as soon as that
    /// one has failed, until one of them gives its list.
    async fn open_first(
        &mut self,
        credentials: &Credentials,
        order: Vec<SocketAddr>,
    ) -> Result<(SocketAddr, Reading), String> {
        let mut next = order.into_iter().peekable();
        let mut asked = FuturesUnordered::new();
        let mut failures = Vec::new();
        loop {
            if let Some(via) = next.next() {
                let (known, credentials) = (self.clients.get(&via).cloned(), credentials.clone());
                let unhealthy = turned_unhealthy(self.candidates.clone(), via);
                asked.push(async move {
                    let opened = tokio::select! {
                        opened = open(known, credentials, via) => opened,
                        () = unhealthy => Err(Failure::Unhealthy),
                    };
                    (via, opened)
                });
            }
            let more = next.peek().is_some();
            let answer = tokio::select! {
                answer = asked.next() => answer,
                () = sleep(BESIDE), if more => continue,
            };
            match answer {
                Some((via, Ok((client, reading)))) => {
                    self.clients.insert(via, client);
                    return Ok((via, reading));
                }
                Some((via, Err(failure))) => {
                    self.forget(via);
                    let text = failure.explain(via, credentials.path());
                    debug!(%via, reason = %text, "the endpoints cannot be read through this apiserver");
                    failures.push(text);
                }
                None => break,
            }
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

    fn forget(&mut self, via: SocketAddr) {
        self.clients.remove(&via);
        self.turn = self.turn.wrapping_add(1);
    }

    /// Reads the kubeconfig if it has changed or appeared. A bad one changes nothing.
    async fn refresh_credentials(&mut self) {
        let path = kubeconfig::current(&self.kubeconfig, self.bootstrap_kubeconfig.as_deref());
        let unchanged = |it: &Credentials| it.path() == path && it.files().now() == *it.files();
        if self.credentials.as_ref().is_some_and(unchanged) {
            return;
        }
        if self.credentials.is_none() && !path.exists() {
            return;
        }
        match kubeconfig::load(path, SystemTime::now()) {
            Ok(credentials) => {
                info!(kubeconfig = %path.display(), "credentials read");
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

/// Reads the list through `via`, by the client that is known or a new one.
async fn open(
    known: Option<Client>,
    credentials: Credentials,
    via: SocketAddr,
) -> Result<(Client, Reading), Failure> {
    let client = match known {
        Some(client) => client,
        None => {
            let made = tokio::task::spawn_blocking(move || credentials.client(via));
            let made = timeout(ANSWER_TIMEOUT, made).await.map_err(|_| Failure::Plugin)?;
            made.map_err(|_| Failure::Plugin)?.map_err(Failure::from)?
        }
    };
    let reading = Reading::open(client.clone(), via).await?;
    Ok((client, reading))
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
