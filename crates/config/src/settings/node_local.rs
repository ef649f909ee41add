//! Node-local load balancing.

use std::fmt;

/// `spec.network.nodeLocalLoadBalancing`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLocalLoadBalancing {
    /// Whether worker nodes balance for themselves.
    pub enabled: bool,
    /// `type`: who balances.
    pub kind: NodeLocalKind,
    /// `envoyProxy`: holds for [`NodeLocalKind::EnvoyProxy`].
    pub envoy_proxy: ProxyPod,
    /// `traefik`: holds for [`NodeLocalKind::Traefik`].
    pub traefik: ProxyPod,
    /// `builtin`: holds for [`NodeLocalKind::Builtin`].
    pub builtin: BindPorts,
}

impl NodeLocalLoadBalancing {
    /// The loopback ports of the chosen type.
    #[must_use]
    pub fn bind_ports(&self) -> BindPorts {
        match self.kind {
            NodeLocalKind::EnvoyProxy => self.envoy_proxy.ports,
            NodeLocalKind::Traefik => self.traefik.ports,
            NodeLocalKind::Builtin => self.builtin,
        }
    }
}

/// Who balances on a worker node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeLocalKind {
    /// Envoy in a static pod.
    #[default]
    EnvoyProxy,
    /// Traefik in a static pod.
    Traefik,
    /// The worker daemon of this program.
    Builtin,
}

/// `nodeLocalLoadBalancing.envoyProxy` and `.traefik`: a load balancer in a static pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyPod {
    /// What the pod runs.
    pub image: Image,
    /// When the image is pulled; the cluster's default unless given.
    pub image_pull_policy: ImagePullPolicy,
    /// The loopback ports the pod listens on.
    pub ports: BindPorts,
}

/// A container image, `spec.images.repository` already applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Registry and repository: `quay.io/k0sproject/envoy-distroless`.
    pub image: String,
    /// Tag and optional digest.
    pub version: String,
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.image, self.version)
    }
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// Never: it has to be there.
    Never,
    /// Where it is missing.
    IfNotPresent,
}

/// Loopback ports of the node-local load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindPorts {
    /// TCP port in front of the apiservers, 1..=65535; 7443 unless given.
    pub api_server: u16,
    /// TCP port in front of the konnectivity servers, 1..=65535; 7132 unless given.
    pub konnectivity_server: u16,
}

impl Default for BindPorts {
    fn default() -> Self {
        Self { api_server: 7443, konnectivity_server: 7132 }
    }
}
