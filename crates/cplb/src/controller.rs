use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

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
use crate::succession::{self, Inheritance, Predecessor, Successor};

mod changing;
mod upgrading;

use changing::{Heir, leave_to};
use upgrading::refuse_other_routers;

/// Runs a control plane node until it is told to stop.
pub(crate) fn run(arguments: &cli::Controller) -> Result<(), Error> {
    let Some(predecessor) = Predecessor::find()? else { return run_anew(arguments) };
    let outcome = succeed(arguments, &predecessor);
    if let Err(error) = &outcome {
        predecessor.say_failed(error);
    }
    outcome
}

fn run_anew(arguments: &cli::Controller) -> Result<(), Error> {
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

    block_on(serve(plan, engine, balancer, arguments, &run_dir))
}

/// Goes on in place of the process that started this one.
fn succeed(arguments: &cli::Controller, predecessor: &Predecessor) -> Result<(), Error> {
    let Inheritance { relay, lock, admin, balancer: legacy, ready, routers } =
        predecessor.inherit()?;
    let settings = document::load(&arguments.config)?;
    let run_dir = RunDir::inherit(&arguments.run_dir, lock);
    let plan = Plan::new(&settings, arguments)?;
    refuse_other_routers(&plan, &routers)?;
    let engine = engine::Prepared::new(&plan.engine)?;
    let balancer = match plan.balancer.clone() {
        Some(balancer) => Some(balancer::Prepared::succeed(balancer, legacy)?),
        None => None,
    };
    let heir = Heir { relay, admin, ready, predecessor };
    block_on(heir.serve(plan, engine, balancer, arguments, &run_dir))
}

fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
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
    let balancer = balancer.map(balancer::Prepared::start).transpose()?;
    // Before the addresses, which must not be chosen as a source for a moment either.
    let mut labels = Labels::open(&arguments.run_dir)?;
    labels.apply(&plan.address_labels)?;
    let service = balancer.as_ref().map_or_else(|| Arc::new(Unserved) as _, Balancer::service);
    let (engine, mut told) = engine.start(service)?;
    if !plan.peers.is_empty() {
        engine.set_peers(plan.peers.clone());
    }

    let (upgrades, asked) = mpsc::unbounded_channel();
    let state = Arc::new(State::default());
    let admin = admin.serve(view(&engine, balancer.as_ref(), &state, upgrades))?;
    // Not only once an apiserver answers: where this comes first, the apiserver comes after it.
    notify::ready("no apiserver has answered yet");
    let node = Node {
        arguments,
        run_dir,
        engine,
        labels,
        readiness: Readiness::new(),
        state,
        plan,
        admin,
        asked,
        upgrade: None,
        predecessor: None,
    };
    node.run(balancer, &mut told, &mut signals).await
}

fn view(
    engine: &Engine,
    balancer: Option<&Balancer>,
    state: &Arc<State>,
    upgrades: UnboundedSender<succession::Request>,
) -> View {
    View {
        started: SystemTime::now(),
        engine: engine.source(),
        balancer: balancer.map(Balancer::parts),
        state: Arc::clone(state),
        upgrades,
    }
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
    run_dir: &'a RunDir,
    engine: Engine,
    labels: Labels,
    readiness: Readiness,
    state: Arc<State>,
    plan: Plan,
    admin: admin::Serving,
    /// Who wants another process in place of this one.
    asked: UnboundedReceiver<succession::Request>,
    /// The one that is about to come.
    upgrade: Option<Successor>,
    /// The one that was here before, and may have connections still.
    predecessor: Option<Predecessor>,
}

/// Why the node is watched no longer.
enum Left {
    /// Told to stop.
    Told,
    /// Another process goes on.
    PassedOn(Box<Successor>),
}

const LOOK_EACH: Duration = Duration::from_secs(1);

/// After a hand-over, hosts that missed the heir's announcement still send connections here for a
/// moment. The redirect works without the address, so they are served rather than lost.
const SERVE_STRAGGLERS: Duration = Duration::from_millis(500);

impl Node<'_> {
    /// From the start to the end.
    async fn run(
        mut self,
        mut balancer: Option<Balancer>,
        told: &mut UnboundedReceiver<Told>,
        signals: &mut Signals,
    ) -> Result<(), Error> {
        let left = match self.watch(balancer.as_mut(), told, signals).await {
            Ok(Left::Told) => self.hand_over(balancer.as_ref(), told, signals).await,
            Ok(left) => left,
            Err(error) => {
                drop(self);
                stop(balancer, signals).await;
                return Err(error);
            }
        };
        match left {
            Left::Told => {
                drop(self);
                stop(balancer, signals).await;
            }
            Left::PassedOn(successor) => {
                let Node { labels, admin, predecessor, .. } = self;
                labels.leave();
                leave_to(*successor, admin, balancer, predecessor, signals).await;
            }
        }
        Ok(())
    }

    /// Until a signal or a successor (`Ok`), or until the virtual IPs cannot be served.
    async fn watch(
        &mut self,
        mut balancer: Option<&mut Balancer>,
        told: &mut UnboundedReceiver<Told>,
        signals: &mut Signals,
    ) -> Result<Left, Error> {
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
            let heard = async {
                match &mut self.upgrade {
                    Some(successor) => successor.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop => return Ok(Left::Told),
                    Asked::Upgrade => {
                        self.upgrade(balancer.as_deref(), succession::Request::by_signal());
                    }
                    Asked::Reload if self.upgrade.is_some() => {
                        tracing::error!("SIGHUP: a new process is about to go on in place of this one, reload that");
                    }
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
                Some(request) = self.asked.recv() => self.upgrade(balancer.as_deref(), request),
                heard = heard => self.heed_successor(heard),
                Some(event) = told.recv() => {
                    event.log();
                    self.engine.heed(&event);
                    if let Some(successor) = self.passed_on(&event) {
                        return Ok(Left::PassedOn(Box::new(successor)));
                    }
                    if let Some(result) = event.ended() {
                        return result.map(|()| Left::Told);
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
    ) -> Left {
        let noticed =
            tokio::time::Instant::now() + balancer.map_or(Duration::ZERO, Balancer::leave);
        self.state.leaving.store(true, Relaxed);
        let held = self.engine.source().holds();
        notify::stopping("handing the virtual IP over");
        tracing::info!("leaving{}", if held { ", handing the virtual IP over" } else { "" });
        self.engine.hand_over(self.plan.patience);
        loop {
            tokio::select! {
                () = signals.stop() => {
                    tracing::warn!("told to stop again: leaving at once");
                    return Left::Told;
                }
                event = told.recv() => {
                    let Some(event) = event else { break };
                    event.log();
                    self.engine.heed(&event);
                    // It was quicker than the signal, which is for both.
                    if let Some(successor) = self.passed_on(&event) {
                        successor.stop();
                        return Left::PassedOn(Box::new(successor));
                    }
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
        Left::Told
    }
}

async fn stop(balancer: Option<Balancer>, signals: &mut Signals) {
    let Some(balancer) = balancer else { return };
    tokio::select! {
        () = balancer.stop() => {}
        () = signals.stop() => tracing::warn!("told to stop again: connections are cut"),
    }
}
