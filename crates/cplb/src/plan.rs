//! From a checked document and this machine to what is wanted here.

mod balancing;
mod keepalived;
mod routers;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::{ControlPlaneKind, ControlPlaneLoadBalancing};

pub(crate) use balancing::{BalancerPlan, ExtraPortPlan, ForwarderPlan, IpvsPlan, ProxyPlan};

use crate::cli::{Controller, VrrpEngine};
use crate::error::Error;

/// Everything a controller is to bring about on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Who moves the virtual IPs, and which.
    pub(crate) engine: EnginePlan,
    /// Keep virtual IPv6 addresses from being source addresses.
    pub(crate) address_labels: BTreeMap<Ipv6Addr, u32>,
    /// Other control plane nodes that the document names.
    pub(crate) peers: Vec<IpAddr>,
    /// How long a hand-over waits for an heir.
    pub(crate) patience: Duration,
    /// `None` where the user brings a load balancer.
    pub(crate) balancer: Option<BalancerPlan>,
}

/// Who moves the virtual IPs.
#[derive(Clone, Debug)]
pub(crate) enum EnginePlan {
    /// This process: the virtual routers, one per family of each instance.
    Builtin(Vec<vip::Instance>),
    /// A keepalived.
    Keepalived(Box<::keepalived::Settings>),
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
        let instances = routers::on_this_machine(cplb)?;
        let engine = match engine(cplb, arguments) {
            VrrpEngine::Builtin => {
                EnginePlan::Builtin(routers::virtual_routers(&instances, &virtual_addresses)?)
            }
            VrrpEngine::Keepalived => EnginePlan::Keepalived(Box::new(keepalived::settings(
                settings, cplb, &instances, arguments,
            ))),
        };
        let balancer = (!cplb.disable_load_balancer)
            .then(|| balancing::plan(settings, cplb, &instances, arguments, virtual_addresses));
        let slowest = cplb.vrrp_instances.iter().map(|i| i.advert_interval).max();
        Ok(Self {
            engine,
            address_labels: routers::address_labels(cplb),
            peers: peers(cplb, arguments),
            // A heir that follows the RFC to the letter waits for its down interval.
            patience: slowest.unwrap_or_default() * 4 + Duration::from_secs(1),
            balancer,
        })
    }
}

/// The nodes that are known beforehand. Where there is no load balancer, nobody reads the list of
/// apiservers, and these name the nodes that might be heirs.
fn peers(cplb: &ControlPlaneLoadBalancing, arguments: &Controller) -> Vec<IpAddr> {
    let unicast = cplb.vrrp_instances.iter().flat_map(|instance| instance.unicast_peers.clone());
    let apiservers = arguments.apiservers.iter().map(SocketAddr::ip);
    unicast.chain(apiservers.filter(|_| cplb.disable_load_balancer)).collect()
}

/// The block to bring about, or what stands against it.
fn wanted<'a>(
    settings: &'a config::Settings,
    arguments: &Controller,
) -> Result<&'a ControlPlaneLoadBalancing, Error> {
    let cplb = settings.control_plane_load_balancing.as_ref().filter(|cplb| cplb.enabled);
    cplb.ok_or_else(|| {
        Error::Unsupported(format!(
            "{}: controlPlaneLoadBalancing is not enabled, so there is nothing to do: set enabled: true in spec.network.controlPlaneLoadBalancing",
            arguments.config.display()
        ))
    })
}

fn engine(cplb: &ControlPlaneLoadBalancing, arguments: &Controller) -> VrrpEngine {
    arguments.vrrp.unwrap_or(match cplb.kind {
        ControlPlaneKind::Builtin => VrrpEngine::Builtin,
        ControlPlaneKind::Keepalived => VrrpEngine::Keepalived,
    })
}
