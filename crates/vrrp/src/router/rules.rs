//! What is done about what happens: RFC 9568 section 6.4.

use std::net::IpAddr;

use super::timing::{DOWN_INTERVALS, Timers};
use super::{ActiveRouter, Lead, OWNER, Rival, VirtualRouter};
use crate::{Action, Advertisement, Instant, Reason, State, Transition};

impl VirtualRouter {
    pub(super) const fn is_owner(&self) -> bool {
        self.settings.priority == OWNER && !self.demoted
    }

    pub(super) fn hear_as_backup(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        if theirs.priority == 0 {
            return self.hear_leaving(now, source, theirs);
        }
        let lower = theirs.priority < self.priority();
        if !lower {
            self.preempts = None;
        }
        if !lower || !self.settings.preempt {
            return self.follow(now, source, theirs);
        }
        if self.lowered_itself(source, theirs) {
            // The Active router wants to be relieved.
            self.tolerate(now, source, theirs);
            self.claim_soon(now);
            self.preempts = Some(now);
            return;
        }
        let delay = self.settings.preempt_delay;
        if now < *self.preempts.get_or_insert(now + delay) {
            return self.follow(now, source, theirs);
        }
        self.tolerate(now, source, theirs);
    }

    pub(super) fn hear_as_active(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        let ours = self.priority();
        if theirs.priority == 0 {
            return self.advertise(now);
        }
        let higher_address = theirs.priority == ours && source > self.settings.source;
        if theirs.priority < ours || (theirs.priority == ours && !higher_address) {
            // RFC 9568 section 6.4.3, (740): the other one must learn of us, and so must whoever
            // believed its announcements.
            self.advertise(now);
            self.actions.push_back(Action::Announce);
            return;
        }
        if self.leaving {
            return self.enter(now, State::Initialize, Reason::HandedOver(source));
        }
        match self.lead {
            // The leader decides, not what is heard here.
            Some(Lead::Active) => return,
            Some(Lead::Backup) => return self.step_down(now),
            Some(Lead::Undecided) | None => {}
        }
        let reason = match higher_address {
            true if self.is_owner() => {
                if !self.outlasted_by_rival(now) {
                    return;
                }
                self.demoted = true;
                Reason::TwoOwners(source)
            }
            true => Reason::HigherAddress(source),
            false => Reason::HigherPriority { address: source, theirs: theirs.priority, ours },
        };
        self.active = Some(active_router(now, source, theirs));
        self.become_backup(now, reason);
    }

    /// RFC 9568 section 6.4.2, (345): wait for the skew only.
    fn hear_leaving(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        // Where two routers were Active, the end of the one that lost moves nothing.
        if self.active.is_some_and(|active| active.address != source && active.priority != 0) {
            return;
        }
        self.active = Some(active_router(now, source, theirs));
        self.claim_soon(now);
    }

    fn follow(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        self.active = Some(active_router(now, source, theirs));
        self.timers.down = Some(now + self.silence());
    }

    /// A lower priority is discarded (RFC 9568 section 6.4.2, (370)): the down timer runs on, and
    /// the interval is not learned. Who it came from is known all the same.
    fn tolerate(&mut self, now: Instant, source: IpAddr, theirs: &Advertisement) {
        match &mut self.active {
            None => {
                let interval = self.settings.interval;
                self.active = Some(ActiveRouter { interval, ..active_router(now, source, theirs) });
            }
            Some(active) if active.address == source => {
                active.priority = theirs.priority;
                active.heard = now;
            }
            // The better one that we follow.
            Some(_) => {}
        }
    }

    fn lowered_itself(&self, source: IpAddr, theirs: &Advertisement) -> bool {
        self.active
            .is_some_and(|active| active.address == source && theirs.priority < active.priority)
    }

    /// Saying it twice must not put the claim off.
    fn claim_soon(&mut self, now: Instant) {
        self.timers.down = Some(self.timers.down.map_or(now, |down| down.min(now)));
    }

    /// Whether another owner went on for a down interval beside us; until then it may be the
    /// previous owner about to end.
    fn outlasted_by_rival(&mut self, now: Instant) -> bool {
        let patience = self.settings.interval * DOWN_INTERVALS;
        let first = match self.rival {
            Some(rival) if now.saturating_since(rival.last) <= patience => rival.first,
            _ => now,
        };
        self.rival = Some(Rival { first, last: now });
        now.saturating_since(first) >= patience
    }

    /// An Active router that did not run for so long was given up by the others. To be asked first
    /// whatever happens, since sending re-arms the timer that tells.
    pub(super) fn notice_oversleeping(&mut self, now: Instant) {
        let Some(due) = self.timers.advertise else { return };
        let late = now.saturating_since(due);
        if late < self.given_up_after() || self.is_owner() {
            return;
        }
        if self.leaving {
            return self.leave(now, Reason::Overslept(late));
        }
        self.active = None;
        self.become_backup(now, Reason::Overslept(late));
    }

    pub(super) fn reason_to_claim(&self, now: Instant) -> Reason {
        if self.lead.is_some() {
            return Reason::Follows(State::Active);
        }
        let Some(active) = self.active else {
            return Reason::NobodyHeard(now.saturating_since(self.since));
        };
        let address = active.address;
        if active.priority == 0 {
            return Reason::ActiveLeft(address);
        }
        let silence = now.saturating_since(active.heard);
        if silence > active.interval * 2 || active.priority >= self.priority() {
            return Reason::ActiveSilent { address, silence };
        }
        Reason::LowerPriority { address, theirs: active.priority, ours: self.priority() }
    }

    /// Changes something that the priority depends on; as Active, the others learn of it at once.
    pub(super) fn change_priority(&mut self, now: Instant, change: impl FnOnce(&mut Self)) {
        self.notice_oversleeping(now);
        let before = self.priority();
        change(self);
        if self.state == State::Active && self.priority() != before {
            self.advertise(now);
        }
    }

    pub(super) fn listen(&mut self, now: Instant) {
        self.active = None;
        self.enter(now, State::Backup, Reason::Started);
        self.timers.down = Some(now + self.first_silence());
    }

    /// Goes on as a Backup, with all the time for the Active router to be heard.
    pub(super) fn watch(&mut self, now: Instant) {
        let silence = if self.heard_anyone { self.silence() } else { self.first_silence() };
        self.timers.down = Some(now + silence);
    }

    fn become_backup(&mut self, now: Instant, reason: Reason) {
        self.enter(now, State::Backup, reason);
        self.timers.down = Some(now + self.silence());
    }

    pub(super) fn become_active(&mut self, now: Instant, reason: Reason) {
        // The advertisement goes first: the other holder, if any, must let go of the addresses
        // before the neighbours hear from us.
        self.send(self.advertisement());
        self.enter(now, State::Active, reason);
        self.timers.advertise = Some(self.next_advertisement(now));
        self.active = None;
        self.counters.became_active += 1;
        self.actions.push_back(Action::Announce);
    }

    pub(super) fn leave(&mut self, now: Instant, reason: Reason) {
        if self.state == State::Initialize {
            self.timers = Timers::default();
            return;
        }
        if self.state == State::Active {
            self.resign();
        }
        self.enter(now, State::Initialize, reason);
    }

    /// Tells the others that it leaves; the state is for the caller to change.
    pub(super) fn resign(&mut self) {
        self.send(Advertisement { priority: 0, ..self.advertisement() });
    }

    /// The one place where the state changes. Timers are for the caller to set.
    pub(super) fn enter(&mut self, now: Instant, to: State, reason: Reason) {
        let from = self.state;
        self.timers = Timers::default();
        self.preempts = None;
        self.rival = None;
        self.state = to;
        self.since = now;
        self.counters.transitions += 1;
        match (from, to) {
            (State::Active, _) => self.actions.push_back(Action::Release),
            (_, State::Active) => self.actions.push_back(Action::Hold),
            _ => {}
        }
        self.actions.push_back(Action::Transition(Transition { at: now, from, to, reason }));
    }

    /// Re-arms the timer too: nothing but sending does.
    pub(super) fn advertise(&mut self, now: Instant) {
        self.send(self.advertisement());
        self.timers.advertise = Some(self.next_advertisement(now));
    }

    fn send(&mut self, advertisement: Advertisement) {
        self.counters.sent += 1;
        self.actions.push_back(Action::Advertise(advertisement));
    }

    fn advertisement(&self) -> Advertisement {
        Advertisement {
            version: self.settings.version,
            virtual_router_id: self.settings.virtual_router_id,
            priority: self.priority(),
            interval: self.settings.interval,
            authentication: self.settings.authentication,
            addresses: self.settings.addresses.clone(),
        }
    }
}

fn active_router(now: Instant, address: IpAddr, theirs: &Advertisement) -> ActiveRouter {
    ActiveRouter { address, priority: theirs.priority, interval: theirs.interval, heard: now }
}
