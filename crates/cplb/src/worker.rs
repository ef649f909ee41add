//! A worker node: the apiservers and the konnectivity servers on loopback.

mod gate;
mod kubeconfig;
mod leaving;
mod plan;
mod pod;
mod readiness;
mod serving;
mod view;
mod written;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use nllb::Manifests;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::admin;
use crate::cli;
use crate::document;
use crate::error::Error;
use crate::notify;
use crate::run_dir::{self, RunDir};
use crate::signals::{Asked, Signals};
use kubeconfig::Kubeconfigs;
use plan::Plan;
use readiness::{Reach, watch_reach};
use serving::Serving;
use view::{Parts, View};
use written::Written;

pub(crate) use written::remove as remove_written;

/// How often a pod behind which nobody answers is asked to listen again.
const OFFER_EACH: Duration = Duration::from_secs(5);
/// How often it is looked whether a pod listens in whose favour another balancer leaves.
const YIELD_EACH: Duration = Duration::from_millis(200);

/// Runs a worker node until it is told to stop.
pub(crate) fn run(arguments: &cli::Worker) -> Result<(), Error> {
    let settings = document::load(&arguments.config)?;
    refuse_other_hosts(arguments)?;
    let run_dir = RunDir::take(&arguments.run_dir)?;
    run_dir::make_state_dir(&arguments.state_dir)?;
    let plan = Plan::new(&settings, arguments, &arguments.run_dir)?;
    refuse_ipvs_controller(&settings, arguments)?;

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(plan, arguments, &run_dir));
    // A blocked task, such as a name look-up, must not hold the exit up.
    runtime.shutdown_background();
    outcome
}

/// A manifest makes the kubelet run what stands in it, so it is for this machine alone.
fn refuse_other_hosts(arguments: &cli::Worker) -> Result<(), Error> {
    match arguments.manifest_listen {
        Some(address) if !address.ip().is_loopback() => Err(Error::Unsupported(format!(
            "--manifest-listen {address} is no loopback address: say 127.0.0.1:PORT or [::1]:PORT"
        ))),
        _ => Ok(()),
    }
}

/// The controller says the same where it starts second.
fn refuse_ipvs_controller(
    settings: &config::Settings,
    arguments: &cli::Worker,
) -> Result<(), Error> {
    let cplb = settings.control_plane_load_balancing.as_ref().filter(|cplb| cplb.enabled);
    let has_ipvs = cplb.is_some_and(|cplb| !cplb.virtual_servers.is_empty());
    let controller = arguments.run_dir.parent();
    if has_ipvs && controller.is_some_and(run_dir::is_taken) {
        return Err(Error::Unsupported(format!(
            "{}: virtualServers on a node that is a controller as well: take the section out, and the proxy balances, or make this node a controller alone",
            arguments.config.display()
        )));
    }
    Ok(())
}

/// Everything that a reload may have written, too.
fn written(arguments: &cli::Worker, kubeconfigs: &Kubeconfigs) -> Result<Written, Error> {
    let absolute = |paths: &mut dyn Iterator<Item = PathBuf>| {
        paths.map(std::path::absolute).collect::<Result<BTreeSet<_>, _>>()
    };
    let manifests = arguments.manifest_dir.iter().map(|it| nllb::manifest_file(it));
    Ok(Written {
        kubeconfigs: absolute(&mut kubeconfigs.files().into_iter())?,
        manifests: absolute(&mut { manifests })?,
        pods: absolute(&mut std::iter::once(plan::pod_directory(&arguments.run_dir)))?,
    })
}

async fn serve(plan: Plan, arguments: &cli::Worker, run_dir: &RunDir) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let admin = admin::Listeners::bind(&run_dir.admin_socket(), arguments.admin_listen).await?;
    let mut kubeconfigs = Kubeconfigs::new(arguments, &arguments.run_dir)?;
    written(arguments, &kubeconfigs)?.note(&arguments.state_dir)?;
    let manifests = match arguments.manifest_listen {
        Some(address) => Manifests::serve(address).await?,
        None => Manifests::default(),
    };
    if let Some(url) = manifests.url() {
        tracing::info!(url, "serving the static pod");
    }
    let serving = Serving::start(plan, Arc::new(manifests)).await?;
    kubeconfigs.write(serving.plan().door())?;

    let doors = serving.plan().doors.apiserver_addresses();
    tracing::info!(?doors, konnectivity = ?serving.plan().doors.konnectivity_addresses(), "serving");
    let (told_doors, watched_doors) = watch::channel(doors);
    let (told_door, watched_door) = watch::channel(serving.plan().door());
    let (told_reach, reach) = watch::channel(Reach::default());
    tokio::spawn(watch_reach(watched_doors, told_reach));
    let parts = Arc::new(ArcSwap::from_pointee(serving.parts(false)));
    let _serving = admin.serve(View {
        started: SystemTime::now(),
        kubeconfigs: kubeconfigs.files(),
        reach: reach.clone(),
        parts: Arc::clone(&parts),
    })?;
    tokio::spawn(kubeconfigs.follow(watched_door));

    let mut node = Node { arguments, serving, doors: told_doors, door: told_door, reach, parts };
    node.watch(&mut signals).await;
    notify::stopping("connections are drained");
    node.parts.store(Arc::new(node.serving.parts(true)));
    tokio::select! {
        () = node.serving.stop(Duration::from_secs(arguments.drain)) => {}
        () = signals.stop() => tracing::warn!("told to stop again: connections are cut"),
    }
    Ok(())
}

/// The node as a whole.
struct Node<'a> {
    arguments: &'a cli::Worker,
    serving: Serving,
    doors: watch::Sender<Vec<SocketAddr>>,
    door: watch::Sender<SocketAddr>,
    reach: watch::Receiver<Reach>,
    parts: Arc<ArcSwap<Parts>>,
}

impl Node<'_> {
    /// Until a signal.
    async fn watch(&mut self, signals: &mut Signals) {
        let mut was_ready = false;
        let mut offers = tokio::time::interval(OFFER_EACH);
        let mut yields = tokio::time::interval(YIELD_EACH);
        for ticks in [&mut offers, &mut yields] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                _ = offers.tick() => if !was_ready {
                    self.serving.offer_again();
                },
                _ = yields.tick(), if self.serving.is_yielding() => self.yield_to_pod().await,
                asked = signals.next() => match asked {
                    Asked::Stop => return,
                    Asked::Reload => self.take_signal(was_ready).await,
                    Asked::Upgrade => tracing::warn!(
                        "SIGUSR2: only a controller can be upgraded as it runs; restart this worker"
                    ),
                },
                Ok(()) = self.reach.changed() => {
                    let reach = self.reach.borrow_and_update().clone();
                    match (was_ready, reach.ready) {
                        (false, true) => {
                            tracing::info!("ready: an apiserver answers through the balancer");
                            notify::ready("ready");
                        }
                        (true, false) => {
                            let reason = &reach.reason;
                            tracing::warn!(reason, "not ready: no apiserver answers through the balancer");
                        }
                        _ => {}
                    }
                    if !reach.ready {
                        notify::status(&format!("not ready: {}", reach.reason));
                    }
                    was_ready = reach.ready;
                }
            }
        }
    }

    /// Whoever waited for a pod goes when it listens.
    async fn yield_to_pod(&mut self) {
        if let Err(error) = self.serving.yield_to_pod().await {
            tracing::error!(%error, "a pod whose place is taken is not told to leave");
        }
        self.parts.store(Arc::new(self.serving.parts(false)));
    }

    async fn take_signal(&mut self, ready: bool) {
        notify::reloading();
        match self.reload().await {
            Ok(()) => tracing::info!("configuration applied"),
            Err(error) => tracing::error!("SIGHUP: {error}; nothing was changed"),
        }
        if ready {
            notify::reloaded();
        }
    }

    /// Brings about what the document says now, and changes what differs.
    async fn reload(&mut self) -> Result<(), Error> {
        let settings = document::load(&self.arguments.config)?;
        let plan = Plan::new(&settings, self.arguments, &self.arguments.run_dir)?;
        self.serving.change(plan).await?;
        self.parts.store(Arc::new(self.serving.parts(false)));
        let plan = self.serving.plan();
        let replace = |known: &mut Vec<SocketAddr>| {
            let doors = plan.doors.apiserver_addresses();
            let changed = *known != doors;
            *known = doors;
            changed
        };
        self.doors.send_if_modified(replace);
        self.door.send_replace(plan.door());
        Ok(())
    }
}
