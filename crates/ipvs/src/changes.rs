//! From what is wanted and what is found to what has to be changed. Nothing here asks the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use kernel::ipvs::{Change, Destination, FALLBACK, Persistence, Service};

use crate::real_servers::unusable;
use crate::settings::{Scheduler, VirtualServer};

/// A service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Balanced {
    pub(crate) service: Service,
    /// In the order in which they were added, or are to be.
    pub(crate) destinations: Vec<Destination>,
}

/// How far this node serves a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tenure {
    /// It holds the address.
    Holding,
    /// It has just given the address away, and some hosts do not know that yet: what is
    /// established goes on. Nothing new goes to another node, which may be the next director and
    /// would send it back: it stays here.
    Leaving,
}

impl Balanced {
    /// The service of `server`, with the real servers that it can use.
    pub(crate) fn wanted(
        server: &VirtualServer,
        weights: &BTreeMap<SocketAddr, u32>,
        tenure: Tenure,
        local: &BTreeSet<IpAddr>,
    ) -> Self {
        let prefix_length = if server.address.is_ipv4() { 32 } else { 128 };
        let persistence = server.persistence.map(|timeout| Persistence { timeout, prefix_length });
        let service = Service {
            address: server.address,
            scheduler: server.scheduler.name().to_owned(),
            flags: if server.scheduler.wants_fallback() { FALLBACK } else { 0 },
            persistence,
        };
        let can_use = |address: &SocketAddr| unusable(server, *address).is_none();
        let one_is_here =
            weights.keys().any(|address| can_use(address) && local.contains(&address.ip()));
        let stays_here = tenure == Tenure::Leaving && one_is_here;
        let destination = |(address, weight): (&SocketAddr, &u32)| Destination {
            address: *address,
            forwarding: server.forwarding,
            weight: if stays_here && !local.contains(&address.ip()) { 0 } else { *weight },
            upper_threshold: 0,
            lower_threshold: 0,
        };
        let destinations = weights
            .iter()
            .filter(|(address, _)| can_use(address))
            .map(destination)
            .filter(|destination| destination.weight > 0 || server.scheduler.passes_over());
        Self { service, destinations: destinations.collect() }
    }
}

/// What brings about the `wanted` services at addresses of `ours`, and no others there. Services at
/// other addresses are not looked at.
pub(crate) fn changes(
    ours: &BTreeSet<SocketAddr>,
    wanted: &[Balanced],
    found: &[Balanced],
) -> Vec<Change> {
    let mut changes = Vec::new();
    for found in found.iter().map(|found| found.service.address) {
        if ours.contains(&found) && !wanted.iter().any(|wanted| wanted.service.address == found) {
            changes.push(Change::RemoveService(found));
        }
    }
    for wanted in wanted {
        let address = wanted.service.address;
        let there = found.iter().find(|found| found.service.address == address);
        match there {
            None => changes.push(Change::AddService(wanted.service.clone())),
            Some(there) if there.service != wanted.service => {
                changes.push(Change::SetService(wanted.service.clone()));
            }
            Some(_) => {}
        }
        let there = there.map_or(&[][..], |there| &there.destinations);
        destination_changes(wanted, there, &mut changes);
    }
    changes
}

fn destination_changes(wanted: &Balanced, found: &[Destination], changes: &mut Vec<Change>) {
    let service = wanted.service.address;
    let is_wanted = |address| wanted.destinations.iter().any(|wanted| wanted.address == address);
    let (kept, surplus): (Vec<&Destination>, Vec<&Destination>) =
        found.iter().partition(|found| is_wanted(found.address));
    changes.extend(surplus.iter().map(|gone| Change::RemoveDestination(service, gone.address)));

    // A hash table is filled in the order of the real servers, so the order is part of what is
    // wanted: from the first that is out of place on, they are added anew.
    let mut in_place = kept.len();
    if hashes(&wanted.service) {
        let pairs = kept.iter().zip(&wanted.destinations);
        in_place = pairs.take_while(|(kept, wanted)| kept.address == wanted.address).count();
    }
    let misplaced = &kept[in_place..];
    changes.extend(misplaced.iter().map(|found| Change::RemoveDestination(service, found.address)));

    for wanted in &wanted.destinations {
        match kept[..in_place].iter().find(|found| found.address == wanted.address) {
            None => changes.push(Change::AddDestination(service, wanted.clone())),
            Some(found) if *found != wanted => {
                changes.push(Change::SetDestination(service, wanted.clone()));
            }
            Some(_) => {}
        }
    }
}

fn hashes(service: &Service) -> bool {
    Scheduler::ALL.iter().any(|it| it.hashes() && it.name() == service.scheduler)
}

#[cfg(test)]
mod tests;
