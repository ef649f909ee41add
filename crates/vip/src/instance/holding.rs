//! The addresses of an instance on this node: held, announced, and left to the heir.

use std::net::IpAddr;
use std::time::Duration;

use kernel::address::{Found, VirtualAddress};
use vrrp::{Instant, Reason, State};

use super::{Machine, Running};
use crate::Event;
use crate::keeper::{Holding, Keeper};
use crate::outbox::{Announcement, Form, Outboxes};

/// How long an heir has to announce the addresses before they go all the same. It may wait for the
/// lock of its kernel's network configuration, and until then nobody but us would answer.
const PARTING: Duration = Duration::from_millis(500);

/// How often another host that announces an address of ours is answered (DEFEND_INTERVAL of RFC
/// 5227 section 1.1).
const DEFEND_EACH: Duration = Duration::from_secs(10);

impl Running {
    /// The addresses have come.
    pub(crate) fn held(&mut self, now: Instant) {
        if self.router.state() == State::Active {
            self.held = true;
            self.announcements.start(now);
        }
    }

    /// Somebody took an address off an interface; it may be one of ours.
    pub(crate) fn address_gone(&mut self, gone: &Found, machine: &Machine<'_>) {
        let ours = gone.link_index == self.instance.link.index
            && self.instance.addresses.iter().any(|held| held.address == gone.address);
        if !ours || self.router.state() != State::Active || !machine.service_alive {
            return;
        }
        self.hold(machine.keeper);
        let (instance, address) = (self.instance.name.clone(), gone.address);
        (machine.tell)(Event::PutBack { instance, address });
    }

    /// Another host that announces our addresses is the heir, or its announcements have to be
    /// made good.
    pub(super) fn receive_announcements(&mut self, now: Instant) {
        // While the link is down there is nothing to hear.
        let heard = self.tools.as_ref().and_then(|tools| tools.witness.heard().ok());
        let heard = heard.unwrap_or_default();
        if heard.is_empty() {
            return;
        }
        if self.router.state() != State::Active {
            self.announced.extend(heard.iter().map(|it| it.address));
            return;
        }
        let lately = |at: Instant| now.saturating_since(at) < DEFEND_EACH;
        if self.held && !self.defended.is_some_and(lately) {
            self.defended = Some(now);
            self.announcements.start(now);
        }
    }

    /// Sends an announcement, unless the address has gone meanwhile.
    pub(crate) fn send(&mut self, announcement: &Announcement, tell: &dyn Fn(Event)) {
        let Some(tools) = self.tools.as_ref().filter(|_| self.held) else { return };
        let Announcement { address, form, .. } = *announcement;
        if !self.instance.addresses.iter().any(|held| held.address == address) {
            return;
        }
        let sent = match (address, form) {
            (IpAddr::V4(address), Form::Reply) => tools.announcer.gratuitous_arp_reply(address),
            _ => tools.announcer.announce(address),
        };
        if let Err(error) = sent
            && self.told.is_news(address, "announce")
        {
            let error = format!("cannot announce {address}: {error}");
            tell(Event::Trouble { instance: self.instance.name.clone(), error });
        }
    }

    /// Takes the addresses away if they are only still there for the heir's sake.
    pub(crate) fn end_parting(&mut self, keeper: &Keeper) {
        if self.parting.take().is_some() {
            keeper.release(self.number, self.holding());
        }
    }

    pub(super) fn hold(&mut self, keeper: &Keeper) {
        self.held = false;
        self.parting = None;
        self.announced.clear();
        keeper.hold(self.number, self.holding());
    }

    /// Lets go of the addresses: at once, unless there is an heir who is about to have them.
    pub(super) fn part(&mut self, now: Instant, reason: Reason, keeper: &Keeper) {
        self.held = false;
        self.announcements.stop();
        let has_heir = matches!(
            reason,
            Reason::HandedOver(_) | Reason::HigherPriority { .. } | Reason::Follows(_)
        );
        self.parting = Some(if has_heir { now + PARTING } else { now });
        if !has_heir {
            self.end_parting(keeper);
        }
    }

    pub(super) fn is_announced_by_heir(&self) -> bool {
        self.parting.is_some()
            && self.instance.addresses.iter().all(|it| self.announced.contains(&it.address))
    }

    pub(super) fn announce(&self, outboxes: &mut Outboxes) {
        for VirtualAddress { address, .. } in &self.instance.addresses {
            for (form, nth) in [(Form::Usual, 0), (Form::Reply, 1)] {
                if form == Form::Reply && address.is_ipv6() {
                    continue;
                }
                let announcement = Announcement { instance: self.number, form, address: *address };
                let turn = self.announcements.rounds() * 2 + nth;
                outboxes.put(self.instance.link.index, turn, announcement);
            }
        }
    }

    pub(super) fn holding(&self) -> Holding {
        Holding {
            instance: self.instance.name.clone(),
            link_index: self.instance.link.index,
            addresses: self.instance.addresses.clone(),
        }
    }
}
