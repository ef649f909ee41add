//! keepalived's own check (`keepalived -t`) before it starts again and before it gets other real
//! servers. It takes some 50 milliseconds, ten seconds at worst: a thread of its own waits for that.

use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Supervisor;
use crate::{Checked, Error};

/// What is being tested. A trial whose subject has changed is dropped, and its outcome with it.
#[derive(Debug, Default)]
pub(super) struct Trials {
    start: Option<Trial>,
    real_servers: Option<Trial>,
    /// Told, and not accepted yet.
    proposed: Option<Vec<SocketAddr>>,
    /// When those that were refused are tested once more.
    again_at: Option<Instant>,
}

type Trial = JoinHandle<Result<(), Error>>;

/// What came out.
#[derive(Debug)]
pub(super) enum Tried {
    Start(Result<(), Error>),
    RealServers(Result<(), Error>),
}

/// Refused real servers may do later: the disk was full, keepalived was being upgraded.
const AGAIN: Duration = Duration::from_secs(5);

/// At the end, for a test that is under way to remove its files.
const AT_LAST: Duration = Duration::from_secs(1);

impl Trials {
    /// The next outcome; may be called again and be dropped.
    pub(super) async fn next(&mut self) -> Tried {
        tokio::select! {
            outcome = wait(&mut self.start) => {
                self.start = None;
                Tried::Start(outcome)
            }
            outcome = wait(&mut self.real_servers) => {
                self.real_servers = None;
                Tried::RealServers(outcome)
            }
        }
    }

    pub(super) fn again_at(&self) -> Option<Instant> {
        self.again_at
    }

    /// Waits for those that are under way, but not long.
    pub(super) async fn end(&mut self) {
        let all = async {
            for trial in [self.start.take(), self.real_servers.take()].into_iter().flatten() {
                let _ = trial.await;
            }
        };
        let _ = tokio::time::timeout(AT_LAST, all).await;
    }
}

async fn wait(trial: &mut Option<Trial>) -> Result<(), Error> {
    match trial {
        Some(trial) => trial.await.unwrap_or_else(|error| Err(Error::Thread(error.into()))),
        None => pending().await,
    }
}

impl Supervisor {
    /// Has the configuration tested with which keepalived is to start again.
    pub(super) fn try_start(&mut self) {
        self.trials.start = Some(begin(&self.checked, &self.real_servers));
    }

    /// Has the configuration tested with these real servers. Until it has passed, those of before stay.
    pub(super) fn propose(&mut self, servers: Vec<SocketAddr>) {
        // What came before is of no interest any more.
        let start = self.trials.start.take();
        self.trials = Trials { start, ..Trials::default() };
        if self.checked.settings.virtual_servers.is_empty() {
            self.real_servers = servers;
            return;
        }
        self.trials.real_servers = Some(begin(&self.checked, &servers));
        self.trials.proposed = Some(servers);
    }

    /// Once more, those that were refused.
    pub(super) fn propose_again(&mut self) {
        if let Some(servers) = self.trials.proposed.take() {
            self.propose(servers);
        }
    }

    pub(super) fn tried(&mut self, tried: Tried) {
        match tried {
            Tried::Start(outcome) => {
                if let Err(error) = outcome.and_then(|()| self.launch()) {
                    self.trouble(error);
                    self.again_at = Some(Instant::now() + self.back_off.ended(Duration::ZERO));
                    return;
                }
                self.status.restarts += 1;
            }
            Tried::RealServers(Ok(())) => {
                if let Some(servers) = self.trials.proposed.take() {
                    self.real_servers = servers;
                    self.follow_virtual_servers();
                }
            }
            Tried::RealServers(Err(error)) => {
                self.trouble(error);
                self.trials.again_at = Some(Instant::now() + AGAIN);
            }
        }
    }
}

/// As on a holder of everything, which is what it may be at any moment: a take-over waits for no
/// test.
fn begin(checked: &Checked, real_servers: &[SocketAddr]) -> Trial {
    let (checked, real_servers) = (checked.clone(), real_servers.to_vec());
    tokio::task::spawn_blocking(move || checked.test(&real_servers, |_| true).map(drop))
}
