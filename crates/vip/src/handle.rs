use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustix::event::{EventfdFlags, eventfd};

use crate::instance::Running;
use crate::relay::Relay;
use crate::speaker::Speaker;
use crate::succession::Identity;
use crate::{Error, Event, Instance, Service, Settings, Status, now};

/// The virtual IPs of this node, served by threads of their own.
///
/// Dropping it stops at once, with priority 0 and the addresses released.
pub struct Vip {
    commander: Commander,
    status: Arc<ArcSwap<Status>>,
    thread: Option<JoinHandle<()>>,
    /// What runs, each under the number it keeps while it does.
    instances: Vec<(usize, Instance)>,
    numbers: usize,
}

/// What [`Vip::apply`] changed: names of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Started as Backups.
    pub added: Vec<String>,
    /// Changed without leaving their state.
    pub updated: Vec<String>,
    /// Handed over and ended.
    pub removed: Vec<String>,
}

/// Gives the thread commands and wakes it up.
pub(crate) struct Commander {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
}

pub(crate) enum Command {
    Ready(bool),
    Peers(Vec<IpAddr>),
    Add(Box<Running>),
    Update(usize, Box<Instance>),
    Remove(usize),
    HandOver(Duration),
    PassOn(Relay, OwnedFd),
    /// The keeper put the addresses of this instance on their interface.
    Held(usize),
    /// The keeper renews nothing now.
    Resting,
    Stop,
}

/// How a thread begins that succeeds another process.
pub(crate) struct StandBy {
    pub(crate) relay: OwnedFd,
    /// Told once the thread only waits for the baton.
    pub(crate) stands_by: Sender<()>,
}

impl Vip {
    /// Opens all sockets, then starts the threads. Nothing is changed in the kernel when it fails,
    /// nor before a router becomes Active.
    pub fn start(
        settings: Settings,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, Error> {
        Self::begin(settings, service, tell, None)
    }

    /// Goes on in place of another process of this machine, once that passes its virtual routers on
    /// to the other end of `relay` ([`Vip::pass_on`]): [`Event::TookOver`]. Until then it only
    /// stands by. When this returns, all is prepared and the other process may pass on.
    ///
    /// It ends with [`Error::NoPredecessor`] when that process ends before.
    pub fn succeed(
        settings: Settings,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
        relay: OwnedFd,
    ) -> Result<Self, Error> {
        let (stands_by, ready) = mpsc::channel();
        let vip = Self::begin(settings, service, tell, Some(StandBy { relay, stands_by }))?;
        // An error means that the thread has ended already, which it tells.
        let _ = ready.recv();
        Ok(vip)
    }

    fn begin(
        settings: Settings,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
        stand_by: Option<StandBy>,
    ) -> Result<Self, Error> {
        let start = now();
        let instances: Vec<_> = settings.instances.iter().cloned().enumerate().collect();
        let mut running = instances
            .iter()
            .map(|(number, instance)| Running::open(*number, instance.clone(), start))
            .collect::<Result<Vec<_>, _>>()?;
        if stand_by.is_none() {
            running.iter_mut().for_each(|it| it.router().start(start));
        }
        let (commands, receiver) = mpsc::channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::Thread(errno.into()))?;
        let wake = Arc::new(wake);
        let status = Arc::new(ArcSwap::default());
        let commander = Commander { commands, wake: Arc::clone(&wake) };
        let speaker = Speaker::new(
            running,
            &settings,
            service,
            tell,
            commander.clone(),
            (receiver, wake),
            Arc::clone(&status),
        )?;
        let thread = std::thread::Builder::new()
            .name("vrrp".into())
            .spawn(move || speaker.run(stand_by))
            .map_err(Error::Thread)?;
        let numbers = instances.len();
        Ok(Self { commander, status, thread: Some(thread), instances, numbers })
    }

    /// Changes what runs to `wanted`, and nothing else: an instance that is the same keeps its
    /// state, timers and sockets; one whose settings changed keeps its state. New ones are opened
    /// first, so an error changes nothing.
    pub fn apply(&mut self, wanted: Vec<Instance>) -> Result<Applied, Error> {
        let start = now();
        let mut applied = Applied::default();
        let mut commands = Vec::new();
        let mut instances = Vec::new();
        let mut numbers = self.numbers;
        for instance in wanted {
            let current = self.instances.iter().find(|(_, it)| it.is_same_router(&instance));
            let number = match current {
                Some((number, current)) => {
                    if !current.is_set_as(&instance) {
                        applied.updated.push(instance.name.clone());
                        commands.push(Command::Update(*number, Box::new(instance.clone())));
                    }
                    *number
                }
                None => {
                    numbers += 1;
                    let mut running = Running::open(numbers, instance.clone(), start)?;
                    running.router().start(start);
                    applied.added.push(instance.name.clone());
                    commands.push(Command::Add(Box::new(running)));
                    numbers
                }
            };
            instances.push((number, instance));
        }
        for (number, gone) in &self.instances {
            if !instances.iter().any(|(kept, _)| kept == number) {
                applied.removed.push(gone.name.clone());
                commands.push(Command::Remove(*number));
            }
        }
        self.instances = instances;
        self.numbers = numbers;
        for command in commands {
            self.commander.give(command);
        }
        Ok(applied)
    }

    /// Tells whether this node can serve, with all hysteresis already applied.
    pub fn set_ready(&self, ready: bool) {
        self.commander.give(Command::Ready(ready));
    }

    /// Names the other control plane nodes; an empty list says that there are none.
    pub fn set_peers(&self, addresses: Vec<IpAddr>) {
        self.commander.give(Command::Peers(addresses));
    }

    /// Starts the planned hand-over; [`Event::Ended`] tells when it is over, `patience` at most.
    pub fn hand_over(&self, patience: Duration) {
        self.commander.give(Command::HandOver(patience));
    }

    /// Passes the virtual routers on to `process` (a pidfd), which waits for them at the other end
    /// of `relay` in [`Vip::succeed`]. At a quiet moment it is the one that speaks, and this one
    /// ends with [`Event::PassedOn`]; the addresses stay where they are. If it does not take over
    /// in time, this one goes on as before: [`Event::NotPassedOn`]. A process that hangs in the
    /// middle of it is killed.
    pub fn pass_on(&self, relay: Relay, process: OwnedFd) {
        self.commander.give(Command::PassOn(relay, process));
    }

    /// Which virtual routers it runs, for a successor to see whether it would run them too.
    pub fn identities(&self) -> Vec<Identity> {
        self.instances.iter().map(|(_, instance)| instance.identity()).collect()
    }

    /// What it does at this moment.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// A way to the status that outlives this handle.
    pub fn status_source(&self) -> Arc<ArcSwap<Status>> {
        Arc::clone(&self.status)
    }
}

impl Drop for Vip {
    fn drop(&mut self) {
        self.commander.give(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Commander {
    pub(crate) fn give(&self, command: Command) {
        // A thread that has ended needs no commands.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Clone for Commander {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), wake: Arc::clone(&self.wake) }
    }
}
