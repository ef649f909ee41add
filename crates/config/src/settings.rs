//! What a checked document says, as plain data: the types every other part of the program reads.

mod control_plane;
mod load_balancer;
mod node_local;
mod virtual_server;
mod vrrp_instance;

pub use control_plane::{ControlPlaneKind, ControlPlaneLoadBalancing};
pub use load_balancer::{Balance, ExtraPort, HealthCheck, LoadBalancer, PortCheck, Redirect};
pub use node_local::{
    BindPorts, Image, ImagePullPolicy, NodeLocalKind, NodeLocalLoadBalancing, ProxyPod,
};
pub use virtual_server::{LbAlgo, LbKind, VirtualServer};
pub use vrrp_instance::{Checksum, Cidr, Interface, VrrpInstance, VrrpVersion};

use std::net::IpAddr;

/// Everything a k0s or k0sctl document says about control plane and node-local load balancing,
/// checked and with every default filled in. Nothing in it was resolved on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `spec.api`: where the kube-apiserver is.
    pub api: Api,
    /// `spec.konnectivity`: ports of the konnectivity server.
    pub konnectivity: Konnectivity,
    /// `spec.network.controlPlaneLoadBalancing`, where the block is there, enabled or not.
    pub control_plane_load_balancing: Option<ControlPlaneLoadBalancing>,
    /// `spec.network.nodeLocalLoadBalancing`, where the block is there, enabled or not.
    pub node_local_load_balancing: Option<NodeLocalLoadBalancing>,
}

/// The fields of `spec.api` that concern load balancing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// TCP port of every kube-apiserver, 1..=65535; 6443 unless given.
    pub port: u16,
    /// TCP port of the k0s join API, 1..=65535; 9443 unless given.
    pub k0s_api_port: u16,
    /// The node's own address; found on the machine where absent.
    pub address: Option<IpAddr>,
    /// Address or DNS name by which clients reach the cluster.
    pub external_address: Option<String>,
    /// Additional names and addresses in the apiserver's certificate.
    pub sans: Vec<String>,
    /// The apiserver listens on `address` alone instead of on every address.
    pub only_bind_to_address: bool,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            port: 6443,
            k0s_api_port: 9443,
            address: None,
            external_address: None,
            sans: Vec::new(),
            only_bind_to_address: false,
        }
    }
}

/// The fields of `spec.konnectivity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Konnectivity {
    /// TCP port the konnectivity agents connect to, 1..=65535; 8132 unless given.
    pub agent_port: u16,
    /// TCP port of the konnectivity server's admin endpoint, 1..=65535; 8133 unless given.
    pub admin_port: u16,
}

impl Default for Konnectivity {
    fn default() -> Self {
        Self { agent_port: 8132, admin_port: 8133 }
    }
}
