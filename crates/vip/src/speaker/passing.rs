//! The change over to another process, on either side.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use vrrp::{Instant, State};

use super::{LOOK_EACH, Speaker};
use crate::handle::StandBy;
use crate::instance::Running;
use crate::relay::{self, Relay};
use crate::succession::Estate;
use crate::{Error, Event, now};

/// The process that is about to go on.
pub(super) struct Passing {
    relay: Relay,
    process: OwnedFd,
    /// When to give it up.
    end: Instant,
    asked_to_rest: bool,
    pub(super) keeper_rests: bool,
}

/// How long a quiet moment is waited for. Addresses part for half a second, a virtual router that a
/// reload took away leaves within seconds.
const QUIET_WITHIN: Duration = Duration::from_secs(8);

/// How long the other process may take to read what it waits for; less where heirs are so impatient
/// that half of their patience is shorter.
const TAKEN_WITHIN: Duration = Duration::from_millis(500);

impl Passing {
    pub(super) fn new(now: Instant, relay: Relay, process: OwnedFd) -> Self {
        let end = now + QUIET_WITHIN;
        Self { relay, process, end, asked_to_rest: false, keeper_rests: false }
    }
}

impl Speaker {
    /// Goes on as before.
    pub(super) fn keep(&mut self, reason: &str) {
        if self.passing.take().is_some() {
            self.keeper.go_on();
            (self.tell)(Event::NotPassedOn { reason: reason.to_owned() });
        }
    }

    /// Passes the virtual routers on when it is time; how long nobody spoke, if that is done.
    pub(super) fn pass_on(&mut self) -> Option<Duration> {
        let begin = now();
        let passing = self.passing.as_mut()?;
        if passing.end <= begin {
            self.keep("a virtual router did not come to rest");
            return None;
        }
        if !self.instances.iter().all(Running::is_quiet) {
            return None;
        }
        if !passing.keeper_rests {
            // Whatever it does, it has to be over before another one begins.
            if !std::mem::replace(&mut passing.asked_to_rest, true) {
                self.keeper.rest();
            }
            return None;
        }
        // The others have heard from us this very moment, and wait for longest.
        for instance in &mut self.instances {
            instance.router().advertise_now(begin);
        }
        self.perform(begin);
        if !self.instances.iter().all(Running::is_quiet) {
            return None;
        }
        let patience = self.patience_of_heirs() / 2;
        let estate = Estate {
            ready: self.ready,
            peers: self.peers.clone(),
            routers: self.instances.iter().map(Running::estate).collect(),
        };
        let passing = self.passing.as_ref()?;
        let outcome = estate.write().map_err(|error| error.to_string()).and_then(|baton| {
            let patience = patience.min(TAKEN_WITHIN);
            let held_out = passing.relay.hold_out(&baton, passing.process.as_fd(), patience);
            held_out.map_err(|error| error.to_string())
        });
        match outcome {
            Ok(()) => return Some(now().saturating_since(begin)),
            Err(reason) => self.keep(&reason),
        }
        None
    }

    /// Waits for what the process before this one passes on, and goes on with it.
    pub(super) fn stand_by(&mut self, stand_by: StandBy) -> Result<(), Error> {
        let StandBy { relay, stands_by } = stand_by;
        // Who waits may have given up.
        let _ = stands_by.send(());
        let mut baton = Vec::new();
        // First the baton, then the sockets: what comes after it is for this process.
        while !relay::take(relay.as_fd(), &mut baton).map_err(Error::Thread)? {
            self.instances.iter().for_each(Running::let_pass);
            let now = now();
            self.follow_the_kernel(now);
            self.pulse.beat();
            if !self.obey(now) {
                return Err(Error::NoPredecessor);
            }
            self.wait_for(LOOK_EACH, Some(relay.as_fd()));
        }
        let estate = Estate::read(&baton)?;
        self.resume(now(), estate);
        relay::say_taken(relay.as_fd());
        (self.tell)(Event::TookOver);
        Ok(())
    }

    fn resume(&mut self, now: Instant, estate: Estate) {
        self.ready = estate.ready;
        self.peers = estate.peers;
        // Before anybody is told to hold something.
        self.pulse.beat();
        for left in estate.routers {
            let instance = self.instances.iter_mut().find(|it| it.is(&left.identity));
            match instance {
                Some(instance) => instance.resume(now, left, &self.keeper),
                None => (self.tell)(Event::Trouble {
                    instance: left.identity.name,
                    error: "the previous process ran this virtual router, and this one does not: its addresses go within seconds".to_owned(),
                }),
            }
        }
        // Those that are new here begin as any other does.
        for instance in &mut self.instances {
            if instance.router().state() == State::Initialize {
                instance.router().start(now);
            }
            if let Some(peers) = self.peers.clone() {
                instance.router().set_peers(peers);
            }
        }
        self.pass_on_readiness(now);
    }

    /// The shortest time after which an heir would take over from a silent router of ours.
    fn patience_of_heirs(&mut self) -> Duration {
        let routers = self.instances.iter_mut().map(Running::router);
        let active = routers.filter(|it| it.state() == State::Active);
        let shortest = active.map(|it| it.settings().interval).min();
        shortest.map_or(TAKEN_WITHIN * 2, |interval| interval * 2)
    }
}
