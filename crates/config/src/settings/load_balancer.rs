//! The user space proxy and its backends.

use std::time::Duration;

use super::Cidr;

/// `controlPlaneLoadBalancing.loadBalancer`: the user space proxy and its backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBalancer {
    /// How an apiserver is found to be usable.
    pub health_check: HealthCheck,
    /// Which apiserver a new connection goes to.
    pub balance: Balance,
    /// Connections accepted at a time, at least 1; as many as the descriptors allow where absent.
    pub max_connections: Option<u32>,
    /// The same from one IP address, at least 1; no limit where absent.
    pub max_connections_per_source: Option<u32>,
    /// Networks that clients may come from; everybody may where there are none.
    pub allowed_sources: Vec<Cidr>,
    /// How long open connections may last after the proxy was told to stop; 30 s unless given.
    pub drain_timeout: Duration,
    /// How traffic to the apiserver's port of a virtual IP reaches the proxy.
    pub redirect: Redirect,
    /// Connections per second, 1..=1000, that are ended for the sake of a backend that is back, so
    /// that their clients connect anew; none where absent.
    pub rebalance: Option<u32>,
    /// Other ports of the control plane nodes, balanced like the apiservers'.
    pub extra_ports: Vec<ExtraPort>,
}

impl Default for LoadBalancer {
    fn default() -> Self {
        Self {
            health_check: HealthCheck::default(),
            balance: Balance::RoundRobin,
            max_connections: None,
            max_connections_per_source: None,
            allowed_sources: Vec::new(),
            drain_timeout: Duration::from_secs(30),
            redirect: Redirect::Auto,
            rebalance: None,
            extra_ports: Vec::new(),
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

/// Which backend a new connection goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// All in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest connections.
    LeastConnections,
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

/// One of `loadBalancer.extraPorts`: a port of every control plane node beside the apiserver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraPort {
    /// The port of the servers, and of the virtual IPs: 1..=65535.
    pub port: u16,
    /// Where the proxy listens for it: 1..=65535; 10000 more than `port` unless given.
    pub listen_port: u16,
    /// What a server has to do to be usable.
    pub check: PortCheck,
    /// How often it is checked; as the apiservers unless given.
    pub health_check: HealthCheck,
}

/// What a server at an extra port has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortCheck {
    /// Take a connection.
    Tcp,
    /// Take part in a TLS handshake, with whatever certificate.
    Tls,
    /// Answer a GET over TLS.
    Https {
        /// What is asked for: begins with a slash, and is visible ASCII.
        path: String,
        /// The status of a good answer: 100..=599.
        status: u16,
    },
}
