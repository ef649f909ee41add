//! What keepalived is told as it runs: how ready this node is, and for which addresses it balances.

use std::net::SocketAddr;
use std::time::Duration;

use vrrp::State;

use super::Supervisor;
use crate::files::Readiness;
use crate::outline::services;
use crate::{Error, heirs, watchdog};

impl Supervisor {
    /// Has keepalived balance for the addresses that are here, and for no others.
    pub(super) fn follow_virtual_servers(&mut self) {
        if self.checked.settings.virtual_servers.is_empty() {
            return;
        }
        let outcome = self.virtual_servers().and_then(|servers| {
            if servers != self.virtual_servers {
                self.give_virtual_servers(servers)?;
                self.process.as_ref().inspect(|process| process.reload());
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.trouble(error);
        }
    }

    /// Writes them for keepalived to read, and before that, for removal after a crash, which they are.
    pub(super) fn give_virtual_servers(&mut self, text: String) -> Result<(), Error> {
        let new = services(&text).into_iter().filter(|it| !self.services.contains(it));
        let all: Vec<SocketAddr> = self.services.iter().copied().chain(new).collect();
        if all.len() > self.services.len() {
            self.files.write_services(&all)?;
            self.services = all;
        }
        self.files.write_virtual_servers(&text)?;
        self.virtual_servers = text;
        Ok(())
    }

    pub(super) fn virtual_servers(&self) -> Result<String, Error> {
        let holds = |address| self.status.has(address);
        let configuration = &self.checked.configuration;
        configuration.virtual_servers(&self.checked.settings, &self.real_servers, holds)
    }

    pub(super) fn tell_readiness(&mut self) {
        self.describe();
        if let Err(error) = self.files.write_readiness(self.readiness()) {
            self.trouble(error);
        }
    }

    pub(super) fn readiness(&self) -> Readiness {
        match (self.leaving, self.ready) {
            (Some(_), _) => Readiness::Leaving,
            (None, true) if !self.watchdog.overrules() => Readiness::Ready,
            (None, _) => Readiness::NotReady,
        }
    }

    pub(super) fn tell_ranks(&mut self) {
        if let Err(error) = self.write_ranks() {
            self.trouble(error);
        }
    }

    /// Those that have changed.
    pub(super) fn write_ranks(&mut self) -> Result<(), Error> {
        let runs = self.process.as_ref().map_or(Duration::ZERO, |it| it.started.elapsed());
        let outlines = &self.checked.configuration.outlines;
        for outline in outlines.iter().filter(|outline| outline.ranked) {
            // Until it has heard a new holder twice, if there is one.
            let has_just_started = runs < 4 * outline.advert_interval + Duration::from_secs(2);
            let instance = self.status.instances.iter().find(|it| it.name == outline.name);
            let rank = match instance {
                Some(instance) if instance.state == State::Active => heirs::HOLDER,
                Some(instance) => heirs::rank(instance.source, &self.peers, has_just_started),
                None => continue,
            };
            if self.ranks.get(&outline.name) != Some(&rank) {
                self.files.write_rank(&outline.name, rank)?;
                self.ranks.insert(outline.name.clone(), rank);
            }
        }
        Ok(())
    }

    /// How long the watchdog hears nothing before it speaks.
    pub(super) fn patience(&self) -> Duration {
        let intervals = self.checked.configuration.outlines.iter().map(|it| it.advert_interval);
        watchdog::patience(intervals.min().unwrap_or_default())
    }

    /// Brings readiness and priorities of the status up to date.
    pub(super) fn describe(&mut self) {
        let steps = self.readiness().value();
        let outlines = &self.checked.configuration.outlines;
        for instance in &mut self.status.instances {
            instance.ready = self.ready && !self.watchdog.overrules();
            instance.leaving = self.leaving.is_some();
            let weight =
                outlines.iter().find(|it| it.name == instance.name).map_or(0, |it| it.weight);
            let configured = instance.priority.1;
            // Within 1..=254, as keepalived.conf(5) says of track files.
            let now = (i64::from(configured) + steps * weight).clamp(1, 254);
            instance.priority.0 = if configured == u8::MAX { configured } else { now as u8 };
        }
    }
}
