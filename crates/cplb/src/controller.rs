use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;

use crate::address_labels::Labels;
use crate::admin;
use crate::balancer::{self, Balancer, Unserved};
use crate::cleanup::remove_leftovers;
use crate::cli;
use crate::document;
use crate::engine::{self, Applied, Engine, Told};
use crate::error::Error;
use crate::notify;
use crate::plan::Plan;
use crate::readiness::Readiness;
use crate::run_dir::{self, RunDir};
use crate::signals::{Asked, Signals};
use crate::status::View;

/// Runs a control plane node until it is told to stop.
pub(crate) fn run(arguments: &cli::Controller) -> Result<(), Error> {
    let settings = document::load(&arguments.config)?;
    let run_dir = RunDir::take(&arguments.run_dir)?;
    run_dir::make_state_dir(&arguments.state_dir)?;
    for what in remove_leftovers(&arguments.run_dir)? {
        tracing::warn!("removed what an earlier run left: {what}");
    }

    // Whatever can be wrong shows here, before anything is changed.
    let plan = Plan::new(&settings, arguments)?;
    refuse_worker_beside_ipvs(&plan, arguments)?;
    let engine = engine::Prepared::new(&plan.engine)?;
    let balancer = plan.balancer.clone().map(balancer::Prepared::new).transpose()?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(plan, engine, balancer, arguments, &run_dir));
    // A blocked task, such as a name look-up, must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

/// k0s' documentation forbids it, and rightly: kube-proxy and IPVS services of the virtual IPs get
/// in each other's way.
fn refuse_worker_beside_ipvs(plan: &Plan, arguments: &cli::Controller) -> Result<(), Error> {
    let has_ipvs = plan.balancer.as_ref().is_some_and(|it| it.forwarder.is_ipvs());
    if has_ipvs && run_dir::is_taken(&run_dir::of_worker(&arguments.run_dir)) {
        return Err(Error::Unsupported(format!(
            "{}: virtualServers on a node that is a worker as well: a `cplb worker` runs here. Take the section virtualServers out, and the proxy balances, or make this node a controller alone",
            arguments.config.display()
        )));
    }
    Ok(())
}

async fn serve(
    plan: Plan,
    engine: engine::Prepared,
    balancer: Option<balancer::Prepared>,
    arguments: &cli::Controller,
    run_dir: &RunDir,
) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let admin = admin::Listeners::bind(&run_dir.admin_socket(), arguments.admin_listen).await?;
    let mut balancer = balancer.map(balancer::Prepared::start).transpose()?;
    // Before the addresses, which must not be chosen as a source for a moment either.
    let mut labels = Labels::open(&arguments.run_dir)?;
    labels.apply(&plan.address_labels)?;
    let service = balancer.as_ref().map_or_else(|| Arc::new(Unserved) as _, Balancer::service);
    let (engine, mut told) = engine.start(service)?;
    if !plan.peers.is_empty() {
        engine.set_peers(plan.peers.clone());
    }

    let state = Arc::new(State::default());
    admin.serve(View {
        started: SystemTime::now(),
        engine: engine.source(),
        balancer: balancer.as_ref().map(Balancer::parts),
        state: Arc::clone(&state),
    });

    // Not only once an apiserver answers: where this comes first, the apiserver comes after it.
    notify::ready("no apiserver has answered yet");
    let mut node = Node { arguments, engine, labels, readiness: Readiness::new(), state, plan };
    let ended = node.watch(balancer.as_mut(), &mut told, &mut signals).await;
    if ended.is_ok() {
        node.hand_over(balancer.as_ref(), &mut told, &mut signals).await;
    }
    drop(node);
    if let Some(balancer) = balancer {
        tokio::select! {
            () = balancer.stop() => {}
            () = signals.stop() => tracing::warn!("told to stop again: connections are cut"),
        }
    }
    ended
}

/// What the status shows beside the parts' own.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) ready: AtomicBool,
    pub(crate) leaving: AtomicBool,
}

/// The node as a whole: decides whether it is ready, and when to go.
struct Node<'a> {
    arguments: &'a cli::Controller,
    engine: Engine,
    labels: Labels,
    readiness: Readiness,
    state: Arc<State>,
    plan: Plan,
}

const LOOK_EACH: Duration = Duration::from_secs(1);

/// After a hand-over, hosts that missed the heir's announcement still send connections here for a
/// moment. The redirect works without the address, so they are served rather than lost.
const SERVE_STRAGGLERS: Duration = Duration::from_millis(500);

impl Node<'_> {
    /// Until a signal (`Ok`) or until the virtual IPs cannot be served.
    async fn watch(
        &mut self,
        mut balancer: Option<&mut Balancer>,
        told: &mut UnboundedReceiver<Told>,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        // The first one after a while: before, no apiserver can have answered.
        let start = tokio::time::Instant::now() + LOOK_EACH;
        let mut looks = tokio::time::interval_at(start, LOOK_EACH);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let changed = async {
                match balancer.as_deref_mut() {
                    Some(balancer) => balancer.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => return Ok(()),
                    Asked::Reload => {
                        notify::reloading();
                        match self.reload(balancer.as_deref_mut()) {
                            Ok(applied) => tracing::info!(
                                added = ?applied.added,
                                updated = ?applied.updated,
                                removed = ?applied.removed,
                                "configuration applied"
                            ),
                            Err(error) => tracing::error!("SIGHUP: {error}"),
                        }
                        notify::reloaded();
                    }
                },
                Some(event) = told.recv() => {
                    event.log();
                    self.engine.heed(&event);
                    if let Some(result) = event.ended() {
                        return result;
                    }
                }
                () = changed => self.follow(balancer.as_deref_mut()),
                _ = looks.tick() => self.look(balancer.as_deref_mut()),
            }
        }
    }

    /// Brings about what the document says now. Whatever can be wrong shows before anything is
    /// changed, and what is the same is not touched.
    fn reload(&mut self, balancer: Option<&mut Balancer>) -> Result<Applied, Error> {
        let settings = document::load(&self.arguments.config)?;
        let plan = Plan::new(&settings, self.arguments)?;
        let change = match (balancer, plan.balancer.clone()) {
            (Some(balancer), Some(plan)) => Some((balancer.prepare(plan)?, balancer)),
            (None, None) => None,
            _ => return Err(Error::NeedsRestart("disableLoadBalancer")),
        };
        let applied = self.engine.apply(&plan.engine)?;
        self.labels.apply(&plan.address_labels)?;
        self.plan = plan;
        if let Some((change, balancer)) = change {
            balancer.apply(change)?;
            self.tell_engine(balancer);
        }
        Ok(applied)
    }

    fn follow(&mut self, balancer: Option<&mut Balancer>) {
        let Some(balancer) = balancer else { return };
        balancer.follow();
        self.tell_engine(balancer);
    }

    /// Tells the engine what it has to know of the others.
    fn tell_engine(&self, balancer: &Balancer) {
        if let Some(mut peers) = balancer.control_plane() {
            peers.extend(&self.plan.peers);
            self.engine.set_peers(peers);
        }
        self.engine.set_real_servers(balancer.usable());
    }

    fn look(&mut self, balancer: Option<&mut Balancer>) {
        // Without a load balancer of ours, nothing can be said about what is behind the addresses.
        let good = balancer.is_none_or(|balancer| {
            balancer.mend();
            balancer.can_serve()
        });
        if !self.readiness.look(good, self.engine.source().holds()) {
            return;
        }
        let ready = self.readiness.is_ready();
        self.state.ready.store(ready, Relaxed);
        self.engine.set_ready(ready);
        notify::status(if ready { "ready" } else { "not ready: no apiserver can be reached" });
        if ready {
            tracing::info!("ready to hold the virtual IP");
        } else {
            tracing::warn!(
                "not ready: no apiserver can be reached through this node, another one should hold the virtual IP"
            );
        }
    }

    /// Make before break: goes on serving until the heir is there.
    async fn hand_over(
        &mut self,
        balancer: Option<&Balancer>,
        told: &mut UnboundedReceiver<Told>,
        signals: &mut Signals,
    ) {
        let noticed =
            tokio::time::Instant::now() + balancer.map_or(Duration::ZERO, Balancer::leave);
        self.state.leaving.store(true, Relaxed);
        let held = self.engine.source().holds();
        notify::stopping("handing the virtual IP over");
        tracing::info!("leaving{}", if held { ", handing the virtual IP over" } else { "" });
        self.engine.hand_over(self.plan.patience);
        loop {
            tokio::select! {
                () = signals.stop() => return tracing::warn!("told to stop again: leaving at once"),
                event = told.recv() => {
                    let Some(event) = event else { break };
                    event.log();
                    self.engine.heed(&event);
                    if event.ended().is_some() {
                        break;
                    }
                }
            }
        }
        if held {
            tokio::time::sleep(SERVE_STRAGGLERS).await;
        }
        tokio::select! {
            () = tokio::time::sleep_until(noticed) => {}
            () = signals.stop() => tracing::warn!("told to stop again: leaving at once"),
        }
    }
}
