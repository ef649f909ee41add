use std::net::IpAddr;
use std::time::Duration;

use super::{ActiveRouter, Lead, Rival, VirtualRouter};
use crate::{Action, Checksum, Instant, Settings, State};

/// Everything of a router that decides what it will do, and nothing else: times count from now,
/// what is only told or counted is left out.
///
/// Two routers of the same outlook do the same when the same happens to them, though the text of
/// a [`Reason`](crate::Reason) may give other times. A model checker knows by it where it has been.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outlook<'a> {
    settings: &'a Settings,
    state: State,
    ready: bool,
    tracking: i16,
    leaving: bool,
    link_up: bool,
    lead: Option<Lead>,
    demoted: bool,
    learned: Checksum,
    begins: Option<Duration>,
    preempts: Option<Duration>,
    active: Option<(IpAddr, u8, Duration)>,
    rival: Option<(Duration, Duration)>,
    start: Option<Duration>,
    give_up: Option<Duration>,
    /// Until then, and since then.
    down: Option<(Duration, Duration)>,
    advertise: Option<(Duration, Duration)>,
    claims_with_leader: bool,
    rival_heard: Option<Duration>,
    late: bool,
    others: Vec<IpAddr>,
    no_others: bool,
    actions: Vec<&'a Action>,
}

impl VirtualRouter {
    /// What decides the future of this router.
    pub fn outlook(&self, now: Instant) -> Outlook<'_> {
        // All fields are named, so that a new one cannot be forgotten here.
        let Self {
            settings,
            state,
            since: _,
            ready,
            tracking,
            leaving,
            link_up,
            lead,
            heard_anyone,
            begins,
            active,
            preempts,
            rival,
            demoted,
            learned,
            timers,
            peers,
            foreign: _,
            counters: _,
            actions,
        } = self;
        let ago = |at: Instant| now.saturating_since(at);
        // All that is over is alike.
        let rest = |at: Instant| at.saturating_since(now);
        Outlook {
            settings,
            state: *state,
            ready: *ready,
            tracking: *tracking,
            leaving: *leaving,
            link_up: *link_up,
            lead: *lead,
            demoted: *demoted,
            learned: *learned,
            begins: begins.map(rest),
            preempts: preempts.map(rest),
            active: active.map(|ActiveRouter { address, priority, interval, heard: _ }| {
                (address, priority, interval)
            }),
            rival: rival.map(|Rival { first, last }| (ago(first), ago(last))),
            start: timers.start.map(rest),
            give_up: timers.give_up.map(rest),
            // Later than too late makes no difference: no claim delay is longer than two skews.
            down: timers.down.map(|at| (rest(at), ago(at).min(self.skew_unit() * 2))),
            advertise: timers.advertise.map(|at| (rest(at), ago(at).min(self.given_up_after()))),
            claims_with_leader: *heard_anyone && lead.is_some(),
            rival_heard: self
                .last_rival()
                .filter(|_| lead.is_some())
                .map(|at| rest(at + settings.interval)),
            late: self.next_advertisement(now).saturating_since(now) > settings.interval,
            others: peers.known(settings.source).collect(),
            no_others: peers.are_none(),
            actions: actions.iter().collect(),
        }
    }
}
