//! The controller where it succeeds another process, or is succeeded by one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::{Node, State, view};
use crate::address_labels::Labels;
use crate::admin;
use crate::balancer::{self, Balancer, Unserved};
use crate::cli;
use crate::engine::{self, Told};
use crate::error::Error;
use crate::notify;
use crate::plan::Plan;
use crate::readiness::Readiness;
use crate::run_dir::RunDir;
use crate::signals::Signals;
use crate::succession::{Heard, Predecessor, Served, Successor};

/// A process that is to go on in place of another one, which serves meanwhile.
pub(super) struct Heir<'a> {
    pub(super) relay: OwnedFd,
    /// The admin server's listening sockets.
    pub(super) admin: Vec<OwnedFd>,
    /// Whether the other one is ready.
    pub(super) ready: bool,
    pub(super) predecessor: &'a Predecessor,
}

/// How long the old process accepts clients for a successor that does not say that it does.
const SERVING_WITHIN: Duration = Duration::from_secs(5);

/// The old process lives so long at least: who asked for all this is to read the answer.
const ANSWER_READ: Duration = Duration::from_millis(500);

impl Heir<'_> {
    pub(super) async fn serve(
        self,
        plan: Plan,
        engine: engine::Prepared,
        balancer: Option<balancer::Prepared>,
        arguments: &cli::Controller,
        run_dir: &RunDir,
    ) -> Result<(), Error> {
        let Self { relay, admin, ready, predecessor } = self;
        let mut signals = Signals::listen()?;
        let admin = admin::Listeners::inherit(admin)?;
        let mut balancer = balancer.map(balancer::Prepared::start).transpose()?;
        let here = balancer.as_ref().map_or_else(|| Arc::new(Unserved) as _, Balancer::service);
        let service = Arc::new(Served { here, predecessor: predecessor.clone() });
        let (engine, mut told) = engine.succeed(service, relay)?;
        if ready {
            become_able(balancer.as_mut(), &mut told, &mut signals).await?;
        }
        predecessor.say_ready();
        wait_for_baton(balancer.as_mut(), &mut told, &mut signals).await?;

        // In charge. What goes wrong from now on is mended like anything else that goes wrong.
        if let Some(balancer) = &mut balancer
            && let Err(error) = balancer.take_over()
        {
            tracing::error!("the firewall redirect is not as it should be: {error}");
        }
        run_dir.write_pid()?;
        predecessor.say_serving();
        let mut labels = Labels::inherit(&arguments.run_dir)?;
        labels.apply(&plan.address_labels)?;
        let (upgrades, asked) = mpsc::unbounded_channel();
        let state = Arc::new(State::default());
        state.ready.store(ready, Relaxed);
        let admin = admin.serve(view(&engine, balancer.as_ref(), &state, upgrades))?;
        let mut node = Node {
            arguments,
            run_dir,
            engine,
            labels,
            readiness: Readiness::inherit(ready),
            state,
            plan,
            admin,
            asked,
            upgrade: None,
            predecessor: Some(predecessor.clone()),
        };
        node.follow(balancer.as_mut());
        node.run(balancer, &mut told, &mut signals).await
    }
}

/// Until connections could be served here: then the new process is as good as the old one.
async fn become_able(
    mut balancer: Option<&mut Balancer>,
    told: &mut UnboundedReceiver<Told>,
    signals: &mut Signals,
) -> Result<(), Error> {
    while balancer.as_ref().is_some_and(|it| !it.can_serve()) {
        wait(balancer.as_deref_mut(), told, signals).await?;
    }
    Ok(())
}

async fn wait_for_baton(
    mut balancer: Option<&mut Balancer>,
    told: &mut UnboundedReceiver<Told>,
    signals: &mut Signals,
) -> Result<(), Error> {
    loop {
        if wait(balancer.as_deref_mut(), told, signals).await? {
            return Ok(());
        }
    }
}

/// For anything; whether it was the baton. Ends with the predecessor.
async fn wait(
    mut balancer: Option<&mut Balancer>,
    told: &mut UnboundedReceiver<Told>,
    signals: &mut Signals,
) -> Result<bool, Error> {
    let changed = async {
        match balancer.as_deref_mut() {
            Some(balancer) => balancer.changed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = changed => {}
        () = signals.stop() => return Err(Error::Predecessor("told to stop".to_owned())),
        event = told.recv() => {
            let gone = || Error::Predecessor("the VRRP thread is gone".to_owned());
            let event = event.ok_or_else(gone)?;
            event.log();
            if matches!(event, Told::Builtin(vip::Event::TookOver)) {
                return Ok(true);
            }
            if let Some(ended) = event.ended() {
                return ended.and_then(|()| Err(gone()));
            }
        }
    }
    if let Some(balancer) = balancer {
        balancer.follow();
    }
    Ok(false)
}

/// The rest of a process that another one has succeeded: it serves its connections to their end, and
/// passes on to its own predecessor what the successor says.
pub(super) async fn leave_to(
    mut successor: Successor,
    admin: admin::Serving,
    balancer: Option<Balancer>,
    predecessor: Option<Predecessor>,
    signals: &mut Signals,
) {
    notify::passed_on_to(successor.pid(), "another process has taken over");
    admin.stop();
    let begun = tokio::time::Instant::now();
    let serving = async {
        // Its end shows below once more.
        let waits = |heard: &Heard| matches!(heard, Heard::Ready | Heard::Released(_));
        while waits(&successor.next().await) {}
    };
    let _ = tokio::time::timeout(SERVING_WITHIN, serving).await;
    let service = balancer.as_ref().map(Balancer::service);
    let gone = async {
        loop {
            match (successor.next().await, &service) {
                (Heard::Released(addresses), Some(service)) => {
                    if let Some(predecessor) = &predecessor {
                        predecessor.say_released(&addresses);
                    }
                    service.released(&addresses);
                }
                (Heard::Ended(how) | Heard::Failed(how), _) => return how,
                _ => {}
            }
        }
    };
    let rest = async {
        if let Some(balancer) = balancer {
            balancer.leave_to_successor().await;
        }
        if let Some(predecessor) = &predecessor {
            predecessor.ended().await;
        }
    };
    tokio::select! {
        () = rest => {}
        () = signals.stop() => tracing::warn!("told to stop: connections are cut"),
        how = gone => tracing::warn!("connections are cut, the virtual IP is no longer here: {how}"),
    }
    tokio::time::sleep_until(begun + ANSWER_READ).await;
}
