//! Routers that move together: one leads, the others follow.

use serde::{Deserialize, Serialize};

use super::{LEAVING_PRIORITY, VirtualRouter};
use crate::{Instant, Reason, State};

/// What a router tells those of the same node that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lead {
    /// It is Active, so are they to be.
    Active,
    /// Another router is Active, so they are not to be.
    Backup,
    /// It does not know yet; they stay as they are.
    Undecided,
}

impl VirtualRouter {
    /// What this router tells those that follow it.
    pub const fn lead(&self) -> Lead {
        match (self.state, self.active) {
            (State::Active, _) => Lead::Active,
            (State::Backup, Some(_)) => Lead::Backup,
            _ => Lead::Undecided,
        }
    }

    /// Binds this router to another one of the same node, whose [`Self::lead`] it is told after
    /// everything that happens; `None` unbinds it.
    ///
    /// A follower leaves the election to its leader:
    ///
    /// - It claims with its leader and never by a timer of its own, but for the first time: then it
    ///   has listened for as long as any router does, unless it has heard another one.
    /// - While its leader is Active it stays so, whatever it hears, and advertises one more than its
    ///   priority, so that equal routers that follow nobody give way to it.
    /// - When its leader gives way, so does it: at once if its heir was heard within an interval,
    ///   otherwise as a router that leaves, at priority 1 until its heir is heard, for one down
    ///   interval at most.
    ///
    /// Link, start and hand-over are its own; a hand-over ends with its own heir.
    pub fn set_lead(&mut self, now: Instant, lead: Option<Lead>) {
        if self.leaving {
            return;
        }
        self.notice_oversleeping(now);
        let unbound = self.lead.is_some() && lead.is_none();
        if self.state == State::Active && lead == Some(Lead::Backup) && self.heard_heir(now) {
            self.lead = lead;
            return self.step_down(now);
        }
        self.change_priority(now, |router| router.lead = lead);
        match (self.state, lead) {
            (State::Backup, Some(Lead::Active)) if self.has_listened(now) => {
                self.become_active(now, Reason::Follows(State::Active));
            }
            (State::Backup, None) if unbound => self.watch(now),
            (State::Active, Some(Lead::Backup)) => {
                let patience = self.silence() + self.skew();
                self.timers.give_up.get_or_insert(now + patience);
            }
            (State::Active, _) => self.timers.give_up = None,
            _ => {}
        }
    }

    /// Active, while the leader no longer is: serves on until the heir is heard.
    pub(super) fn is_giving_way(&self) -> bool {
        self.state == State::Active && self.lead == Some(Lead::Backup)
    }

    /// Its heir is there.
    pub(super) fn step_down(&mut self, now: Instant) {
        self.enter(now, State::Backup, Reason::Follows(State::Backup));
        // It has listened; when to claim is for the leader to say.
        self.timers.down = Some(now);
    }

    /// Nobody was there to follow in time: a router that does not preempt waits for priority 0.
    pub(super) fn step_down_without_heir(&mut self, now: Instant) {
        self.resign();
        self.step_down(now);
    }

    fn has_listened(&self, now: Instant) -> bool {
        self.heard_anyone || self.timers.down.is_some_and(|down| down <= now)
    }

    fn heard_heir(&self, now: Instant) -> bool {
        self.last_rival().is_some_and(|heard| now.saturating_since(heard) < self.settings.interval)
    }

    /// When another router was last heard to be Active and not about to leave.
    pub(super) fn last_rival(&self) -> Option<Instant> {
        let staying = self.peers.heard().filter(|(_, peer)| peer.priority > LEAVING_PRIORITY);
        staying.map(|(_, peer)| peer.heard).max()
    }
}
