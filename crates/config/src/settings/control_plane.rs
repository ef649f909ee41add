//! Control plane load balancing.

use std::path::PathBuf;

use super::{LoadBalancer, VirtualServer, VrrpInstance};

/// `spec.network.controlPlaneLoadBalancing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPlaneLoadBalancing {
    /// Whether virtual IPs and load balancer are wanted at all.
    pub enabled: bool,
    /// `type`: who speaks VRRP.
    pub kind: ControlPlaneKind,
    /// `keepalived.vrrpInstances`: the virtual routers, at most 255. This and the next fields hold
    /// for [`ControlPlaneKind::Builtin`] as well.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// `keepalived.virtualServers`: IPVS services; any entry replaces the user space proxy by IPVS.
    pub virtual_servers: Vec<VirtualServer>,
    /// `keepalived.userSpaceProxyBindPort`: TCP, 1..=65535; 6444 unless given.
    pub user_space_proxy_bind_port: u16,
    /// `keepalived.disableLoadBalancer`: virtual IPs only, the user brings a load balancer.
    pub disable_load_balancer: bool,
    /// `keepalived.configTemplateVRRP`: Go template that replaces the built-in keepalived
    /// configuration.
    pub config_template_vrrp: Option<PathBuf>,
    /// `keepalived.configTemplateVS`: Go template that replaces the built-in virtual servers.
    pub config_template_vs: Option<PathBuf>,
    /// `loadBalancer`: how backends are checked and connections are handled.
    pub load_balancer: LoadBalancer,
}

impl Default for ControlPlaneLoadBalancing {
    fn default() -> Self {
        Self {
            enabled: false,
            kind: ControlPlaneKind::Builtin,
            vrrp_instances: Vec::new(),
            virtual_servers: Vec::new(),
            user_space_proxy_bind_port: 6444,
            disable_load_balancer: false,
            config_template_vrrp: None,
            config_template_vs: None,
            load_balancer: LoadBalancer::default(),
        }
    }
}

/// Who speaks VRRP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControlPlaneKind {
    /// A keepalived process, rendered from k0s' templates and supervised.
    Keepalived,
    /// This program itself.
    #[default]
    Builtin,
}
