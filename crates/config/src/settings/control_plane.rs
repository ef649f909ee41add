//! Control plane load balancing.

use std::path::PathBuf;
use std::time::Duration;

use super::{VirtualServer, VrrpInstance};

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

/// `controlPlaneLoadBalancing.loadBalancer`: the user space proxy and its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// How an apiserver is found to be usable.
    pub health_check: HealthCheck,
    /// Connections accepted at a time, at least 1; as many as the descriptors allow where absent.
    pub max_connections: Option<u32>,
    /// How long open connections may last after the proxy was told to stop; 30 s unless given.
    pub drain_timeout: Duration,
    /// How traffic to the apiserver's port of a virtual IP reaches the proxy.
    pub redirect: Redirect,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            health_check: HealthCheck::default(),
            max_connections: None,
            drain_timeout: Duration::from_secs(30),
            redirect: Redirect::Auto,
        }
    }
}

/// `loadBalancer.healthCheck`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Time between two checks of a backend, 100 ms to 1 h; 1 s unless given.
    pub interval: Duration,
    /// Deadline of one check, above zero, at most `interval`; 900 ms unless given.
    pub timeout: Duration,
    /// Failures in a row that take a backend out, 1..=100; 2 unless given.
    pub fall: u32,
    /// Successes in a row that bring it back, 1..=100; 2 unless given.
    pub rise: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(900),
            fall: 2,
            rise: 2,
        }
    }
}

/// How traffic to a virtual IP reaches the user space proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// The best the kernel offers.
    #[default]
    Auto,
    /// A table of nftables.
    Nftables,
    /// Rules of iptables.
    Iptables,
    /// Not at all: clients use the proxy's port.
    None,
}
