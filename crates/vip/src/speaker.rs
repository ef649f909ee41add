use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use kernel::monitor::{self, Monitor};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vrrp::Instant;

use crate::instance::{Machine, Running};
use crate::keeper::Keeper;
use crate::pulse::Pulse;
use crate::{Error, Event, Service, Settings, Status, now};

/// The virtual IPs of this node, served by a thread of their own.
///
/// Dropping it stops at once, with priority 0 and the addresses released.
pub struct Vip {
    commander: Commander,
    status: Arc<ArcSwap<Status>>,
    thread: Option<JoinHandle<()>>,
}

/// Gives the thread commands and wakes it up.
struct Commander {
    commands: Sender<Command>,
    wake: Arc<OwnedFd>,
}

enum Command {
    Ready(bool),
    Peers(Vec<IpAddr>),
    HandOver(Duration),
    /// The keeper put the addresses of this instance on their interface.
    Held(usize),
    Stop,
}

/// How often the service is looked at, and the longest the thread ever sleeps.
const LOOK_EACH: Duration = Duration::from_millis(500);

/// Above everything ordinary, below the kernel's own real-time threads (which have 50).
pub(crate) const REALTIME_PRIORITY: u8 = 40;

impl Vip {
    /// Opens all sockets, then starts the thread. Nothing is changed in the kernel when it fails,
    /// nor before a router becomes Active.
    pub fn start(
        settings: Settings,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<Self, Error> {
        let start = now();
        let Settings { instances, lifetime, realtime } = settings;
        let numbered = instances.into_iter().enumerate();
        let instances = numbered
            .map(|(i, instance)| Running::open(i, instance, start))
            .collect::<Result<_, _>>()?;
        let (commands, receiver) = mpsc::channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::Thread(errno.into()))?;
        let wake = Arc::new(wake);
        let status = Arc::new(ArcSwap::default());
        let pulse = Arc::new(Pulse::default());
        let held = Commander { commands: commands.clone(), wake: Arc::clone(&wake) };
        let keeper = Keeper::start(
            lifetime,
            realtime,
            Arc::clone(&pulse),
            Arc::clone(&service),
            Arc::clone(&tell),
            move |number| held.give(Command::Held(number)),
        )?;
        let speaker = Speaker {
            instances,
            keeper,
            monitor: Monitor::open().map_err(Error::Monitor)?,
            pulse,
            realtime,
            service,
            service_alive: true,
            ready: true,
            look: start,
            commands: receiver,
            wake: Arc::clone(&wake),
            status: Arc::clone(&status),
            tell,
        };
        speaker.publish();
        let thread = std::thread::Builder::new()
            .name("vrrp".into())
            .spawn(move || speaker.run())
            .map_err(Error::Thread)?;
        Ok(Self { commander: Commander { commands, wake }, status, thread: Some(thread) })
    }

    /// Tells whether this node can serve, with all hysteresis already applied.
    pub fn set_ready(&self, ready: bool) {
        self.commander.give(Command::Ready(ready));
    }

    /// Names the other control plane nodes.
    pub fn set_peers(&self, addresses: Vec<IpAddr>) {
        self.commander.give(Command::Peers(addresses));
    }

    /// Starts the planned hand-over; [`Event::Ended`] tells when it is over, `patience` at most.
    pub fn hand_over(&self, patience: Duration) {
        self.commander.give(Command::HandOver(patience));
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

impl Commander {
    fn give(&self, command: Command) {
        // A thread that has ended needs no commands.
        if self.commands.send(command).is_ok() {
            let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
        }
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

struct Speaker {
    instances: Vec<Running>,
    keeper: Keeper,
    monitor: Monitor,
    pulse: Arc<Pulse>,
    realtime: bool,
    service: Arc<dyn Service>,
    service_alive: bool,
    ready: bool,
    look: Instant,
    commands: Receiver<Command>,
    wake: Arc<OwnedFd>,
    status: Arc<ArcSwap<Status>>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Speaker {
    fn run(mut self) {
        self.ask_for_realtime();
        let result = self.turn_until_over();
        // Also after an error nothing of ours may stay behind.
        let now = now();
        for instance in &mut self.instances {
            instance.router().stop(now);
        }
        self.perform(now);
        self.publish();
        let Self { keeper, tell, .. } = self;
        // Ended means released.
        drop(keeper);
        tell(Event::Ended(result));
    }

    fn turn_until_over(&mut self) -> Result<(), Error> {
        loop {
            self.perform(now());
            // After a freeze the keeper must not see life before it was told what to let go.
            self.pulse.beat();
            self.publish();
            if self.instances.iter().all(Running::is_over) {
                return Ok(());
            }
            self.wait();

            let now = now();
            if !self.obey(now) {
                return Ok(());
            }
            // First everything that was received, then the timers: a late thread must not take its
            // own lateness for the silence of others.
            for instance in &mut self.instances {
                instance.receive(now, &*self.tell);
            }
            self.notice_lateness(now);
            for instance in &mut self.instances {
                instance.handle_timeout(now)?;
            }
            self.perform(now);
            // Only now: an address that is gone because we overslept must stay gone.
            self.follow_the_kernel(now);
            if self.look <= now {
                self.look = now + LOOK_EACH;
                self.look_at_the_service(now);
            }
        }
    }

    fn wait(&self) {
        let deadline = self.instances.iter().filter_map(Running::next_deadline).min();
        let deadline = deadline.map_or(self.look, |deadline| deadline.min(self.look));
        let pause = deadline.saturating_since(now());
        let timeout = Timespec {
            tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: pause.subsec_nanos().into(),
        };
        let sockets = self.instances.iter().filter_map(Running::descriptor);
        let others: [BorrowedFd<'_>; 2] = [self.wake.as_fd(), self.monitor.as_fd()];
        let mut descriptors: Vec<PollFd<'_>> = others
            .into_iter()
            .chain(sockets)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        // An interrupted wait is a short one.
        let _ = poll(&mut descriptors, Some(&timeout));
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
    }

    /// False to stop at once.
    fn obey(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Ready(ready) => {
                    self.ready = ready;
                    self.pass_on_readiness(now);
                }
                Command::Peers(peers) => {
                    for instance in &mut self.instances {
                        instance.router().set_peers(peers.clone());
                    }
                }
                Command::HandOver(patience) => {
                    for instance in &mut self.instances {
                        instance.router().hand_over(now, patience);
                    }
                }
                Command::Held(number) => {
                    if let Some(instance) = self.instances.get_mut(number) {
                        instance.held(now);
                    }
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn follow_the_kernel(&mut self, now: Instant) {
        let Self { instances, keeper, monitor, tell, service_alive, .. } = self;
        let machine = Machine { keeper, service_alive: *service_alive, tell: &**tell };
        while let Ok(Some(event)) = monitor.next_event() {
            for instance in instances.iter_mut() {
                match &event {
                    monitor::Event::LinkChanged(link) => {
                        instance.link_changed(now, link, machine.tell);
                    }
                    monitor::Event::LinkGone { index, .. } => instance.link_gone(now, *index),
                    monitor::Event::AddressGone(gone) => instance.address_gone(gone, &machine),
                    // What was missed shows at the next renewal at the latest.
                    monitor::Event::AddressAdded(_) | monitor::Event::Resync => {}
                }
            }
        }
    }

    fn look_at_the_service(&mut self, now: Instant) {
        let alive = self.service.alive();
        if alive != self.service_alive {
            self.service_alive = alive;
            (self.tell)(if alive { Event::ServiceBack } else { Event::ServiceSilent });
            self.pass_on_readiness(now);
        }
    }

    fn pass_on_readiness(&mut self, now: Instant) {
        for instance in &mut self.instances {
            instance.router().set_ready(now, self.ready && self.service_alive);
        }
    }

    fn perform(&mut self, now: Instant) {
        let machine =
            Machine { keeper: &self.keeper, service_alive: self.service_alive, tell: &*self.tell };
        for instance in &mut self.instances {
            instance.perform(now, &machine);
        }
    }

    fn notice_lateness(&mut self, now: Instant) {
        for instance in &mut self.instances {
            let interval = instance.router().settings().interval;
            let Some(deadline) = instance.router().next_deadline() else { continue };
            let late = now.saturating_since(deadline);
            if late > interval / 2 {
                return (self.tell)(Event::Late { by: late });
            }
        }
    }

    fn publish(&self) {
        self.status.store(Arc::new(Status {
            instances: self.instances.iter().map(Running::status).collect(),
            realtime: self.realtime,
            service_alive: self.service_alive,
        }));
    }

    fn ask_for_realtime(&mut self) {
        if !self.realtime {
            return;
        }
        let asked = kernel::process::realtime(REALTIME_PRIORITY)
            .and_then(|()| kernel::process::lock_memory());
        if let Err(error) = asked {
            self.realtime = false;
            (self.tell)(Event::NotRealtime { error: error.to_string() });
        }
    }
}
