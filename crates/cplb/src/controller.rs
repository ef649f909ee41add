use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use kernel::address_label::AddressLabels;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use vip::{Applied, Event, Vip};

use crate::admin;
use crate::balancer::{Balancer, Prepared, Served, Unserved};
use crate::cleanup::remove_leftovers;
use crate::cli;
use crate::document;
use crate::error::Error;
use crate::events;
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
    for what in remove_leftovers()? {
        tracing::warn!("removed what an earlier run left: {what}");
    }

    // Whatever can be wrong shows here, before anything is changed.
    let plan = Plan::new(&settings, arguments)?;
    let balancer = plan.balancer.clone().map(Prepared::new).transpose()?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(plan, balancer, arguments, &run_dir));
    // A blocked task, such as a name look-up, must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    plan: Plan,
    balancer: Option<Prepared>,
    arguments: &cli::Controller,
    run_dir: &RunDir,
) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let admin = admin::Listeners::bind(&run_dir.admin_socket(), arguments.admin_listen).await?;
    let mut balancer = balancer.map(Prepared::start).transpose()?;
    // Before the addresses, which must not be chosen as a source for a moment either.
    let mut labels = AddressLabels::open()?;
    labels.apply(&plan.address_labels)?;
    let (vip, mut told) = start_vip(&plan, balancer.as_ref())?;

    let state = Arc::new(State::default());
    admin.serve(View {
        started: SystemTime::now(),
        vip: vip.status_source(),
        balancer: balancer.as_ref().map(Balancer::parts),
        state: Arc::clone(&state),
    });

    let mut node = Node { arguments, vip, labels, readiness: Readiness::new(), state, plan };
    let ended = node.watch(balancer.as_mut(), &mut told, &mut signals).await;
    if ended.is_ok() {
        node.hand_over(&mut told, &mut signals).await;
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
    vip: Vip,
    labels: AddressLabels,
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
        told: &mut UnboundedReceiver<Event>,
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
                    Asked::Reload => match self.reload(balancer.as_deref_mut()) {
                        Ok(applied) => tracing::info!(
                            added = ?applied.added,
                            updated = ?applied.updated,
                            removed = ?applied.removed,
                            "configuration applied"
                        ),
                        Err(error) => tracing::error!("SIGHUP: {error}"),
                    },
                },
                Some(event) = told.recv() => {
                    events::log(&event);
                    if let Event::Ended(result) = event {
                        return result.map_err(Error::from);
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
        let applied = self.vip.apply(plan.virtual_routers.clone())?;
        self.labels.apply(&plan.address_labels)?;
        self.plan = plan;
        if let Some((change, balancer)) = change {
            balancer.apply(change)?;
            self.name_peers(balancer);
        }
        Ok(applied)
    }

    fn follow(&mut self, balancer: Option<&mut Balancer>) {
        let Some(balancer) = balancer else { return };
        balancer.follow();
        self.name_peers(balancer);
    }

    fn name_peers(&self, balancer: &Balancer) {
        if let Some(mut peers) = balancer.control_plane() {
            peers.extend(&self.plan.peers);
            self.vip.set_peers(peers);
        }
    }

    fn look(&mut self, balancer: Option<&mut Balancer>) {
        // Without a load balancer of ours, nothing can be said about what is behind the addresses.
        let good = balancer.is_none_or(|balancer| {
            balancer.mend_redirect();
            balancer.can_serve()
        });
        if !self.readiness.look(good, self.holds()) {
            return;
        }
        let ready = self.readiness.is_ready();
        self.state.ready.store(ready, Relaxed);
        self.vip.set_ready(ready);
        if ready {
            tracing::info!("ready to hold the virtual IP");
        } else {
            tracing::warn!(
                "not ready: no apiserver can be reached through this node, another one should hold the virtual IP"
            );
        }
    }

    /// Whether any of the virtual IPs is here.
    fn holds(&self) -> bool {
        self.vip.status().instances.iter().any(|i| i.state == vrrp::State::Active)
    }

    /// Make before break: goes on serving until the heir is there.
    async fn hand_over(&mut self, told: &mut UnboundedReceiver<Event>, signals: &mut Signals) {
        self.state.leaving.store(true, Relaxed);
        let held = self.holds();
        tracing::info!("leaving{}", if held { ", handing the virtual IP over" } else { "" });
        self.vip.hand_over(self.plan.patience);
        loop {
            tokio::select! {
                () = signals.stop() => return tracing::warn!("told to stop again: leaving at once"),
                event = told.recv() => match event {
                    Some(Event::Ended(_)) | None => break,
                    Some(event) => events::log(&event),
                }
            }
        }
        if held {
            tokio::time::sleep(SERVE_STRAGGLERS).await;
        }
    }
}

fn start_vip(
    plan: &Plan,
    balancer: Option<&Balancer>,
) -> Result<(Vip, UnboundedReceiver<Event>), Error> {
    let (sender, told) = mpsc::unbounded_channel();
    let service: Arc<dyn vip::Service> = match balancer {
        Some(balancer) => Arc::new(Served(balancer.parts())),
        None => Arc::new(Unserved),
    };
    let settings = vip::Settings {
        instances: plan.virtual_routers.clone(),
        lifetime: vip::Settings::DEFAULT_LIFETIME,
        realtime: true,
    };
    // Nobody listens any more only when the program ends.
    let vip = Vip::start(settings, service, Arc::new(move |event| drop(sender.send(event))))?;
    vip.set_ready(false);
    if !plan.peers.is_empty() {
        vip.set_peers(plan.peers.clone());
    }
    Ok((vip, told))
}
