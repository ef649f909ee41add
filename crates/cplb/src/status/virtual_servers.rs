//! What the kernel balances (IPVS), from what it says and from what is known of the apiservers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use backends::Snapshot;
use ipvs::{Forwarding, Installed, Overview, Unusable};

use super::report::{InKernel, LeftOut, RealServer, VirtualServer};

/// Everything that tells why a real server is used or not.
pub(super) struct Known<'a> {
    pub(super) overview: &'a Overview,
    pub(super) snapshot: &'a Snapshot,
    /// Usable ones whose nodes do not carry the virtual addresses.
    pub(super) absent: &'a BTreeSet<SocketAddr>,
}

impl Known<'_> {
    /// The service as the kernel has it, or as this node would have it.
    pub(super) fn virtual_server(&self, server: &ipvs::VirtualServer) -> VirtualServer {
        let services = &self.overview.services;
        let here = services.iter().find(|it| it.service.address == server.address);
        let wanted = (server.scheduler.name(), server.persistence);
        let (scheduler, persistence) = here.map_or(wanted, |Installed { service, .. }| {
            (service.scheduler.as_str(), service.persistence.map(|it| it.timeout))
        });
        let in_use = here.and_then(|it| it.real_servers.first());
        let forwarding = in_use.map_or(server.forwarding, |it| it.destination.forwarding);
        VirtualServer {
            address: server.address,
            scheduler: scheduler.to_owned(),
            forwarding: kind(forwarding),
            persistence_seconds: persistence.map(|time| time.as_secs()),
            here: here.is_some(),
            real_servers: self.real_servers(server.address, here),
        }
    }

    /// The apiservers, and those that are in the kernel still.
    fn real_servers(&self, service: SocketAddr, here: Option<&Installed>) -> Vec<RealServer> {
        let found = here.map_or(&[][..], |it| &it.real_servers);
        let mut addresses: BTreeSet<SocketAddr> =
            self.snapshot.backends.iter().map(|backend| backend.address).collect();
        addresses.extend(found.iter().map(|it| it.destination.address));
        let real_server = |address| {
            let found = found.iter().find(|it| it.destination.address == address);
            let in_kernel = found.map(|it| InKernel {
                weight: it.destination.weight,
                active: it.active,
                inactive: it.inactive,
            });
            let missing = here.is_some() && in_kernel.is_none();
            let left_out = self.obstacle(service, address).or(missing.then_some(LeftOut::Missing));
            RealServer::new(address, in_kernel, left_out)
        };
        addresses.into_iter().map(real_server).collect()
    }

    /// Why the service must not use it; `None` when it may.
    fn obstacle(&self, service: SocketAddr, real_server: SocketAddr) -> Option<LeftOut> {
        let is_known = self.snapshot.backends.iter().any(|it| it.address == real_server);
        if !self.snapshot.usable.contains(&real_server) {
            return Some(if is_known { LeftOut::Unhealthy } else { LeftOut::Gone });
        }
        if self.absent.contains(&real_server) {
            return Some(LeftOut::Absent);
        }
        let mut left_out = self.overview.left_out.iter();
        let this = left_out.find(|it| it.service == service && it.real_server == real_server)?;
        Some(match this.reason {
            Unusable::OtherFamily => LeftOut::OtherFamily,
            Unusable::OtherPort => LeftOut::OtherPort,
        })
    }
}

/// As `lbKind` names it.
fn kind(forwarding: Forwarding) -> &'static str {
    match forwarding {
        Forwarding::Masquerading => "NAT",
        Forwarding::Tunnel => "TUN",
        Forwarding::DirectRouting => "DR",
        Forwarding::Local => "local",
        Forwarding::Other(_) => "unknown",
    }
}

#[cfg(test)]
mod tests;
