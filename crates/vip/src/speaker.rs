use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use arc_swap::ArcSwap;
use kernel::monitor::{self, Monitor};
use rustix::event::{PollFd, PollFlags, poll};
use vrrp::Instant;

use crate::handle::{Command, Commander, StandBy};
use crate::instance::{Machine, Running};
use crate::keeper::Keeper;
use crate::outbox::Outboxes;
use crate::pulse::Pulse;
use crate::relay::timespec;
use crate::{Error, Event, Service, Settings, Status, now};

mod passing;

use passing::Passing;

/// How often the service is looked at, and the longest the thread ever sleeps.
const LOOK_EACH: Duration = Duration::from_millis(500);

/// Above everything ordinary, below the kernel's own real-time threads (which have 50).
pub(crate) const REALTIME_PRIORITY: u8 = 40;

/// How the thread ended.
enum End {
    /// Stopped or left.
    Over,
    /// Another process goes on.
    PassedOn { pause: Duration },
}

/// The thread that speaks VRRP.
pub(crate) struct Speaker {
    instances: Vec<Running>,
    outboxes: Outboxes,
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
    /// What others were told: everybody is to leave, and the thread ends with the last one.
    ending: bool,
    peers: Option<Vec<IpAddr>>,
    /// Another process is about to go on in place of this one.
    passing: Option<Passing>,
    status: Arc<ArcSwap<Status>>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
}

impl Speaker {
    pub(crate) fn new(
        instances: Vec<Running>,
        settings: &Settings,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
        commander: Commander,
        (commands, wake): (Receiver<Command>, Arc<OwnedFd>),
        status: Arc<ArcSwap<Status>>,
    ) -> Result<Self, Error> {
        let Settings { lifetime, realtime, .. } = *settings;
        let pulse = Arc::new(Pulse::default());
        let keeper = Keeper::start(
            lifetime,
            realtime,
            Arc::clone(&pulse),
            Arc::clone(&service),
            Arc::clone(&tell),
            move |command| commander.give(command),
        )?;
        let speaker = Self {
            instances,
            outboxes: Outboxes::default(),
            keeper,
            monitor: Monitor::open().map_err(Error::Monitor)?,
            pulse,
            realtime,
            service,
            service_alive: true,
            ready: true,
            look: now(),
            commands,
            wake,
            ending: false,
            peers: None,
            passing: None,
            status,
            tell,
        };
        speaker.publish();
        Ok(speaker)
    }

    pub(crate) fn run(mut self, stand_by: Option<StandBy>) {
        self.ask_for_realtime();
        let begun = stand_by.map_or(Ok(()), |stand_by| self.stand_by(stand_by));
        let result = match begun.and_then(|()| self.turn_until_over()) {
            Ok(End::PassedOn { pause }) => {
                let Self { keeper, tell, .. } = self;
                drop(keeper);
                return tell(Event::PassedOn { pause });
            }
            Ok(End::Over) => Ok(()),
            Err(error) => Err(error),
        };
        // Also after an error nothing of ours may stay behind.
        let now = now();
        for instance in &mut self.instances {
            instance.router().stop(now);
        }
        self.perform(now);
        for instance in &mut self.instances {
            instance.end_parting(&self.keeper);
        }
        self.publish();
        let Self { keeper, tell, .. } = self;
        // Ended means released.
        drop(keeper);
        tell(Event::Ended(result));
    }

    fn turn_until_over(&mut self) -> Result<End, Error> {
        loop {
            let start = now();
            self.move_together(start)?;
            self.perform(start);
            // After a freeze the keeper must not see life before it was told what to let go.
            self.pulse.beat();
            self.publish();
            if self.ending && self.instances.iter().all(Running::is_over) {
                return Ok(End::Over);
            }
            if !self.ending {
                self.instances.retain(|instance| !instance.is_over());
            }
            self.wait();

            let now = now();
            if !self.obey(now) {
                return Ok(End::Over);
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
            self.move_together(now)?;
            self.perform(now);
            // Only now: an address that is gone because we overslept must stay gone.
            self.follow_the_kernel(now);
            if self.look <= now {
                self.look = now + LOOK_EACH;
                self.look_at_the_service(now);
            }
            if let Some(pause) = self.pass_on() {
                return Ok(End::PassedOn { pause });
            }
        }
    }

    fn wait(&self) {
        let deadline = self.instances.iter().filter_map(Running::next_deadline).min();
        let deadlines = [deadline, self.outboxes.next(), Some(self.look)];
        let deadline = deadlines.into_iter().flatten().min().unwrap_or_default();
        let pause = deadline.saturating_since(now());
        self.wait_for(pause, None);
    }

    /// For what concerns the virtual routers, or for `other`.
    fn wait_for(&self, pause: Duration, other: Option<BorrowedFd<'_>>) {
        let sockets = self.instances.iter().flat_map(Running::descriptors);
        let own: [BorrowedFd<'_>; 2] = [self.wake.as_fd(), self.monitor.as_fd()];
        let mut descriptors: Vec<PollFd<'_>> = own
            .into_iter()
            .chain(other)
            .chain(sockets)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        // An interrupted wait is a short one.
        let _ = poll(&mut descriptors, Some(&timespec(pause)));
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
                Command::Peers(mut peers) => {
                    peers.retain(|peer| !self.instances.iter().any(|it| it.speaks_from(*peer)));
                    for instance in &mut self.instances {
                        instance.router().set_peers(peers.clone());
                    }
                    self.peers = Some(peers);
                }
                Command::Add(mut instance) => {
                    if let Some(peers) = &self.peers {
                        instance.router().set_peers(peers.clone());
                    }
                    self.instances.push(*instance);
                    self.pass_on_readiness(now);
                }
                Command::Update(number, to) => {
                    let (keeper, instance) = (&self.keeper, find(&mut self.instances, number));
                    if let Some(instance) = instance {
                        instance.update(now, *to, keeper);
                    }
                }
                Command::Remove(number) => {
                    if let Some(instance) = find(&mut self.instances, number) {
                        let router = instance.router();
                        // What a hand-over takes with an heir that follows the RFC to the letter.
                        let patience = router.settings().interval * 4 + Duration::from_secs(1);
                        router.hand_over(now, patience);
                    }
                }
                Command::HandOver(patience) => {
                    self.ending = true;
                    self.keep("this node is leaving");
                    for instance in &mut self.instances {
                        instance.router().hand_over(now, patience);
                    }
                }
                Command::Held(number) => {
                    if let Some(instance) = find(&mut self.instances, number) {
                        instance.held(now);
                    }
                }
                Command::PassOn(relay, process) => {
                    self.passing = Some(Passing::new(now, relay, process));
                }
                Command::Resting => {
                    if let Some(passing) = &mut self.passing {
                        passing.keeper_rests = true;
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

    /// Both families of an instance are on one node: whatever happened to the router that leads is
    /// told to the one that follows.
    fn move_together(&mut self, now: Instant) -> Result<(), Error> {
        for number in 0..self.instances.len() {
            let follower = &self.instances[number];
            let leader = self.instances.iter().find(|leader| follower.follows(leader));
            let leader = leader.map(Running::as_leader);
            self.instances[number].follow(now, leader)?;
        }
        Ok(())
    }

    fn perform(&mut self, now: Instant) {
        let Self { instances, outboxes, keeper, tell, service_alive, .. } = self;
        let machine = Machine { keeper, service_alive: *service_alive, tell: &**tell };
        for instance in instances.iter_mut() {
            instance.perform(now, &machine, outboxes);
        }
        while let Some(announcement) = outboxes.take(now) {
            if let Some(instance) = find(instances, announcement.instance) {
                instance.send(&announcement, machine.tell);
            }
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

fn find(instances: &mut [Running], number: usize) -> Option<&mut Running> {
    instances.iter_mut().find(|instance| instance.number() == number)
}
