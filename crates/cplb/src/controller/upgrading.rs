//! How the controller starts another process that is to go on in its place, and lets it.

use super::Node;
use crate::balancer::{self, Balancer};
use crate::document;
use crate::engine::Told;
use crate::error::Error;
use crate::plan::{EnginePlan, Plan};
use crate::succession::{self, Bequest, Heard, Successor};

impl Node<'_> {
    /// Starts the process that is to go on in place of this one, unless something speaks against it.
    pub(super) fn upgrade(&mut self, balancer: Option<&Balancer>, request: succession::Request) {
        if self.upgrade.is_some() {
            return request.answer(Err("another new process is about to go on already".to_owned()));
        }
        let successor = self.bequest(balancer).and_then(|it| Successor::start(&it, &request));
        match successor {
            Ok(successor) => {
                tracing::info!(process = successor.pid(), "upgrade: a new process is started");
                self.upgrade = Some(successor.for_request(request));
            }
            Err(Error::NotUpgraded(reason)) => request.answer(Err(reason)),
            Err(error) => request.answer(Err(error.in_full())),
        }
    }

    /// What another process needs to go on; an error if it would not get far.
    fn bequest(&self, balancer: Option<&Balancer>) -> Result<Bequest, Error> {
        let routers = self.engine.identities()?;
        let settings = document::load(&self.arguments.config)?;
        refuse_other_routers(&Plan::new(&settings, self.arguments)?, &routers)?;
        let legacy = match balancer {
            Some(balancer) => balancer.bequeath()?,
            None => balancer::Legacy { redirect: None, listeners: Vec::new() },
        };
        Ok(Bequest {
            lock: self.run_dir.bequeath()?,
            admin: self.admin.bequeath()?,
            balancer: legacy,
            ready: self.readiness.is_ready(),
            routers,
        })
    }

    /// What the new process says.
    pub(super) fn heed_successor(&mut self, heard: Heard) {
        let Some(mut successor) = self.upgrade.take() else { return };
        match heard {
            Heard::Ready => match successor.take_baton() {
                Ok(Some((relay, process))) => {
                    self.engine.pass_on(relay, process);
                    self.upgrade = Some(successor);
                }
                Ok(None) => self.upgrade = Some(successor),
                Err(error) => successor.give_up(error.to_string()),
            },
            Heard::Failed(reason) | Heard::Ended(reason) => successor.give_up(reason),
            // Only once it is in charge.
            Heard::Serving | Heard::Released(_) => self.upgrade = Some(successor),
        }
    }

    /// The successor, if it is in charge now.
    pub(super) fn passed_on(&mut self, event: &Told) -> Option<Successor> {
        match event {
            Told::Builtin(vip::Event::PassedOn { pause }) => {
                let mut successor = self.upgrade.take()?;
                successor.is_in_charge(*pause);
                Some(successor)
            }
            Told::Builtin(vip::Event::NotPassedOn { reason }) => {
                self.upgrade.take()?.give_up(reason.clone());
                None
            }
            _ => None,
        }
    }
}

/// Only who runs a virtual router can hand it over.
pub(super) fn refuse_other_routers(plan: &Plan, routers: &[vip::Identity]) -> Result<(), Error> {
    let EnginePlan::Builtin(instances) = &plan.engine else { return Ok(()) };
    let wanted: Vec<_> = instances.iter().map(vip::Instance::identity).collect();
    let lost = routers.iter().find(|it| !wanted.iter().any(|wanted| wanted.is(it)));
    lost.map_or(Ok(()), |lost| {
        Err(Error::Unsupported(format!(
            "virtual router {} of {} ({}) is not in the configuration any more: reload it first (SIGHUP), which hands over",
            lost.virtual_router_id, lost.name, lost.source
        )))
    })
}
