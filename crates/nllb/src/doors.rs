//! Where a balancer listens.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Where a balancer listens, and on which port the servers behind it do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// The addresses to listen on, as [`loopbacks`](crate::loopbacks) finds them.
    pub loopbacks: Vec<IpAddr>,
    /// The port in front of the apiservers.
    pub apiserver: u16,
    /// The port in front of the konnectivity servers; `None` where the cluster has none.
    pub konnectivity: Option<Konnectivity>,
}

/// The ports of konnectivity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Konnectivity {
    /// Where the balancer listens.
    pub port: u16,
    /// Where the konnectivity servers listen for agents, on the hosts of the apiservers.
    pub server_port: u16,
}

/// One service of a balancer, as Envoy and Traefik call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// `None`: that of each apiserver.
    server_port: Option<u16>,
}

impl Doors {
    /// Every address in front of the apiservers.
    pub fn apiserver_addresses(&self) -> Vec<SocketAddr> {
        self.loopbacks.iter().map(|ip| SocketAddr::new(*ip, self.apiserver)).collect()
    }

    /// Every address in front of the konnectivity servers.
    pub fn konnectivity_addresses(&self) -> Vec<SocketAddr> {
        let port = self.konnectivity.map(|it| it.port);
        let address = |ip: &IpAddr| Some(SocketAddr::new(*ip, port?));
        self.loopbacks.iter().filter_map(address).collect()
    }

    /// Every address.
    pub fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.apiserver_addresses().into_iter().chain(self.konnectivity_addresses()).collect()
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = Service> {
        let apiserver = Service { name: "apiserver", port: self.apiserver, server_port: None };
        let konnectivity = self.konnectivity.map(|it| Service {
            name: "konnectivity",
            port: it.port,
            server_port: Some(it.server_port),
        });
        std::iter::once(apiserver).chain(konnectivity)
    }
}

impl Service {
    /// Its names at each address of `doors`: `apiserver`, and `apiserver-ipv6` for the second.
    pub(crate) fn listeners(&self, doors: &Doors) -> Vec<(String, SocketAddr)> {
        let name = |index, ip: &IpAddr| match (index, ip) {
            (0, _) => self.name.to_owned(),
            (_, IpAddr::V4(_)) => format!("{}-ipv4", self.name),
            (_, IpAddr::V6(_)) => format!("{}-ipv6", self.name),
        };
        let listener = |(index, ip)| (name(index, ip), SocketAddr::new(*ip, self.port));
        doors.loopbacks.iter().enumerate().map(listener).collect()
    }

    /// Where it is served at the host of this apiserver.
    pub(crate) fn server(&self, apiserver: SocketAddr) -> SocketAddr {
        SocketAddr::new(apiserver.ip(), self.server_port.unwrap_or(apiserver.port()))
    }
}

/// Doors for tests: both loopbacks, the ports of k0s.
#[cfg(test)]
pub(crate) fn both() -> Doors {
    Doors {
        loopbacks: vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()],
        apiserver: 7443,
        konnectivity: Some(Konnectivity { port: 7132, server_port: 8132 }),
    }
}
