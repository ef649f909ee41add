use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::outline::Outline;
use crate::supervisor::{Input, Supervisor};
use crate::{Checked, Error, Event, Settings, Status, check, remove_leftovers};

/// A keepalived at work, and the thread that supervises it.
///
/// Dropping it stops keepalived at once, with priority 0 and the addresses released.
pub struct Keepalived {
    inputs: UnboundedSender<Input>,
    status: Arc<ArcSwap<Status>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the watchdog that all is well. It outlives the handle.
#[derive(Clone, Debug)]
pub struct Heart(UnboundedSender<Input>);

/// What [`Keepalived::apply`] changed: names of VRRP instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Started as backups.
    pub added: Vec<String>,
    /// Changed; keepalived keeps their state where it can.
    pub updated: Vec<String>,
    /// Ended.
    pub removed: Vec<String>,
}

impl Keepalived {
    pub(crate) fn start(
        checked: Checked,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, Error> {
        for what in remove_leftovers(&checked.settings.run_dir)? {
            tell(Event::Removed { what });
        }
        for warning in checked.warnings() {
            tracing::warn!(target: "keepalived", "{warning}");
        }
        let (inputs, receiver) = unbounded_channel();
        let status = Arc::new(ArcSwap::default());
        let (started, outcome) = mpsc::channel();
        let supervisor =
            Supervisor::new(checked, tell, (inputs.clone(), receiver), Arc::clone(&status));
        // keepalived ends with the thread that starts it, so it is one that lasts.
        let thread = std::thread::Builder::new()
            .name("keepalived".into())
            .spawn(move || supervisor.run(&started))
            .map_err(Error::Thread)?;
        let keepalived = Self { inputs, status, thread: Some(thread) };
        outcome.recv().map_err(|_| Error::ended())??;
        Ok(keepalived)
    }

    /// Changes what runs: checks, writes, and has keepalived read it again. An error changes
    /// nothing. Takes as long as [`check()`].
    pub fn apply(&mut self, settings: &Settings) -> Result<Applied, Error> {
        let checked = check(settings)?;
        let (reply, outcome) = mpsc::channel();
        self.give(Input::Apply(Box::new(checked), reply));
        outcome.recv().map_err(|_| Error::ended())?
    }

    /// Tells whether this node can serve, with all hysteresis already applied.
    pub fn set_ready(&self, ready: bool) {
        self.give(Input::Ready(ready));
    }

    /// Names the servers behind the virtual servers.
    pub fn set_real_servers(&self, servers: Vec<SocketAddr>) {
        self.give(Input::RealServers(servers));
    }

    /// Names the other nodes, of which one shall go first when this one or another has to be
    /// followed. This node may be among them.
    pub fn set_peers(&self, addresses: Vec<IpAddr>) {
        self.give(Input::Peers(addresses));
    }

    /// Starts the planned hand-over: the priority drops to 1, and keepalived is ended when it has
    /// heard an heir, or after `patience`. [`Event::Ended`] tells when it is over.
    pub fn hand_over(&self, patience: Duration) {
        self.give(Input::HandOver(patience));
    }

    /// What it does at this moment.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// A way to the status that outlives this handle.
    pub fn status_source(&self) -> Arc<ArcSwap<Status>> {
        Arc::clone(&self.status)
    }

    /// To be beaten each [`Heart::EACH`] by whatever has to turn for this node to serve. Missed for
    /// three times as long (more, where advertisements are frequent), keepalived yields to a node
    /// that is ready.
    pub fn heart(&self) -> Heart {
        Heart(self.inputs.clone())
    }

    fn give(&self, input: Input) {
        // A thread that has ended needs no commands.
        let _ = self.inputs.send(input);
    }
}

impl Heart {
    /// Three fit into the watchdog's patience.
    pub const EACH: Duration = Duration::from_millis(125);

    /// False when there is nobody left to hear it.
    pub fn beat(&self) -> bool {
        self.0.send(Input::Beat).is_ok()
    }
}

impl Applied {
    pub(crate) fn between(before: &[Outline], after: &[Outline]) -> Self {
        let find = |these: &[Outline], it: &Outline| {
            these.iter().find(|other| other.name == it.name).map(|other| other.fingerprint)
        };
        let mut applied = Self::default();
        for outline in after {
            match find(before, outline) {
                None => applied.added.push(outline.name.clone()),
                Some(old) if old != outline.fingerprint => {
                    applied.updated.push(outline.name.clone());
                }
                Some(_) => {}
            }
        }
        let gone = before.iter().filter(|outline| find(after, outline).is_none());
        applied.removed = gone.map(|outline| outline.name.clone()).collect();
        applied
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        self.give(Input::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
