//! From a checked document and this machine to what is wanted here.

mod balancing;
mod routers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use config::{ControlPlaneKind, ControlPlaneLoadBalancing};

pub(crate) use balancing::BalancerPlan;

use crate::cli::{Controller, VrrpEngine};
use crate::error::Error;

/// Everything a controller is to bring about on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The virtual routers, one per family of each instance.
    pub(crate) virtual_routers: Vec<vip::Instance>,
    /// Keep virtual IPv6 addresses from being source addresses.
    pub(crate) address_labels: BTreeMap<Ipv6Addr, u32>,
    /// Other control plane nodes that the document names.
    pub(crate) peers: Vec<IpAddr>,
    /// How long a hand-over waits for an heir.
    pub(crate) patience: Duration,
    /// `None` where the user brings a load balancer.
    pub(crate) balancer: Option<BalancerPlan>,
}

impl Plan {
    /// Looks up interfaces and addresses, and refuses what cannot be done here. Changes nothing.
    pub(crate) fn new(settings: &config::Settings, arguments: &Controller) -> Result<Self, Error> {
        let cplb = wanted(settings, arguments)?;
        let virtual_addresses: Vec<IpAddr> = cplb
            .vrrp_instances
            .iter()
            .flat_map(|instance| &instance.virtual_ips)
            .map(|cidr| cidr.address)
            .collect();

        let slowest = cplb.vrrp_instances.iter().map(|i| i.advert_interval).max();
        Ok(Self {
            virtual_routers: routers::virtual_routers(cplb, &virtual_addresses)?,
            address_labels: routers::address_labels(cplb),
            peers: cplb.vrrp_instances.iter().flat_map(|i| i.unicast_peers.clone()).collect(),
            // A heir that follows the RFC to the letter waits for its down interval.
            patience: slowest.unwrap_or_default() * 4 + Duration::from_secs(1),
            balancer: (!cplb.disable_load_balancer)
                .then(|| balancing::plan(settings, cplb, arguments, virtual_addresses)),
        })
    }
}

/// The block to bring about, or what stands against it.
fn wanted<'a>(
    settings: &'a config::Settings,
    arguments: &Controller,
) -> Result<&'a ControlPlaneLoadBalancing, Error> {
    let file = arguments.config.display();
    let unsupported = |text: String| Err(Error::Unsupported(text));
    let Some(cplb) = settings.control_plane_load_balancing.as_ref().filter(|cplb| cplb.enabled)
    else {
        return unsupported(format!(
            "{file}: controlPlaneLoadBalancing is not enabled, so there is nothing to do: set enabled: true in spec.network.controlPlaneLoadBalancing"
        ));
    };
    let engine = arguments.vrrp.unwrap_or(match cplb.kind {
        ControlPlaneKind::Builtin => VrrpEngine::Builtin,
        ControlPlaneKind::Keepalived => VrrpEngine::Keepalived,
    });
    if engine == VrrpEngine::Keepalived {
        return unsupported(format!(
            "{file}: this version does not run keepalived: use --vrrp builtin or `type: Builtin`, which is the same on the wire and needs nothing installed"
        ));
    }
    if !cplb.virtual_servers.is_empty() {
        return unsupported(format!(
            "{file}: this version does not balance by IPVS: take the section virtualServers out, and the built-in proxy balances port {}",
            settings.api.port
        ));
    }
    Ok(cplb)
}
