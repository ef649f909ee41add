use std::time::Duration;

use kernel::link::Mac;
use kernel::probe::{Answer, Probe};
use vrrp::{Instant, State, VirtualRouter};

use crate::{Error, Instance};

/// The question before the first claim: does anybody have the address already?
///
/// A holder that speaks VRRP with us is heard while we listen. One that is not heard and yet
/// answers for the address is a stranger, and taking the address would break both. Only the first
/// claim asks: later, a dead peer's kernel may still answer, and then taking over is right.
#[derive(Debug)]
pub(crate) struct FirstClaim {
    probe: Option<Probe>,
    next: Option<Instant>,
    answered: Option<Answer>,
}

/// How long before the claim to begin asking.
const AHEAD: Duration = Duration::from_millis(600);
const EACH: Duration = Duration::from_millis(250);

impl FirstClaim {
    pub(crate) fn new(instance: &Instance, mac: Mac) -> Result<Self, kernel::Error> {
        let probe = Probe::open(instance.link.index, mac)?;
        Ok(Self { probe: Some(probe), next: None, answered: None })
    }

    /// When to ask next, if the address is to be claimed then.
    pub(crate) fn next(&self, claim: Option<Instant>) -> Option<Instant> {
        self.probe.as_ref()?;
        let begin = claim? - AHEAD;
        Some(self.next.map_or(begin, |next| next.max(begin)))
    }

    /// Asks when it is time, and reads the answers.
    pub(crate) fn turn(
        &mut self,
        now: Instant,
        claim: Option<Instant>,
        router: &VirtualRouter,
        instance: &Instance,
    ) {
        let waiting = router.state() == State::Backup && !router.heard_anyone();
        if router.state() != State::Initialize && !waiting {
            self.probe = None;
        }
        let due = self.next(claim).is_some_and(|next| next <= now);
        let Some(probe) = &mut self.probe else { return };
        // A question or answer that is lost leaves the claim as it was.
        self.answered = self.answered.or_else(|| probe.answers().ok()?.first().copied());
        if due {
            for address in &instance.addresses {
                let _ = probe.ask(address.address);
            }
            self.next = Some(now + EACH);
        }
    }

    /// To be asked when the router is about to claim.
    pub(crate) fn objection(&self, router: &VirtualRouter, instance: &Instance) -> Option<Error> {
        let answer = self.answered.filter(|_| self.probe.is_some() && !router.heard_anyone())?;
        Some(Error::Stranger {
            address: answer.address,
            mac: answer.mac,
            interface: instance.link.name.clone(),
            router_id: instance.router.virtual_router_id,
        })
    }
}
