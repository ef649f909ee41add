//! Which real servers there are: those that may be used, and those that go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kernel::ipvs::Forwarding;

use crate::settings::VirtualServer;

/// The real servers over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct RealServers {
    usable: BTreeSet<SocketAddr>,
    /// Those that are usable no more, until their connections have had their time.
    draining: BTreeMap<SocketAddr, Instant>,
}

/// A real server that a virtual server cannot use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The virtual server.
    pub service: SocketAddr,
    /// The real server.
    pub real_server: SocketAddr,
    /// Why it cannot.
    pub reason: Unusable,
}

/// Why a virtual server cannot use a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// One is IPv4, the other IPv6.
    OtherFamily,
    /// Only NAT can change the port.
    OtherPort,
}

impl RealServers {
    /// Takes in which may be used from now on. One that may no more keeps its connections for the
    /// time of `drain`.
    pub(crate) fn set_usable(
        &mut self,
        now: Instant,
        usable: impl IntoIterator<Item = SocketAddr>,
        drain: Duration,
    ) {
        let usable: BTreeSet<SocketAddr> = usable.into_iter().collect();
        for gone in self.usable.difference(&usable) {
            self.draining.insert(*gone, now + drain);
        }
        self.draining.retain(|address, _| !usable.contains(address));
        self.usable = usable;
    }

    /// Forgets those whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.draining.retain(|_, until| *until > now);
    }

    /// When [`RealServers::handle_timeout`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.draining.values().min().copied()
    }

    /// All real servers in ascending order, with their weights: 1, or 0 for those that go.
    pub(crate) fn weights(&self) -> BTreeMap<SocketAddr, u32> {
        let usable = self.usable.iter().map(|address| (*address, 1));
        usable.chain(self.draining.keys().map(|address| (*address, 0))).collect()
    }

    /// Those that `server` cannot use.
    pub(crate) fn left_out(&self, server: &VirtualServer) -> Vec<LeftOut> {
        let left_out = |real_server: &SocketAddr| {
            let reason = unusable(server, *real_server)?;
            Some(LeftOut { service: server.address, real_server: *real_server, reason })
        };
        self.usable.iter().filter_map(left_out).collect()
    }
}

/// Why `server` cannot use `real_server`; `None` when it can.
pub(crate) fn unusable(server: &VirtualServer, real_server: SocketAddr) -> Option<Unusable> {
    if server.address.is_ipv4() != real_server.is_ipv4() {
        return Some(Unusable::OtherFamily);
    }
    let keeps_port = server.forwarding != Forwarding::Masquerading;
    (keeps_port && server.address.port() != real_server.port()).then_some(Unusable::OtherPort)
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, real_server, reason } = self;
        match reason {
            Unusable::OtherFamily => write!(
                formatter,
                "{service} cannot balance to {real_server}: IPVS keeps to one address family"
            ),
            Unusable::OtherPort => write!(
                formatter,
                "{service} cannot balance to {real_server}: only lbKind NAT can change the port"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Scheduler;

    const DRAIN: Duration = Duration::from_secs(30);

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn weights(servers: &RealServers) -> Vec<(String, u32)> {
        servers
            .weights()
            .into_iter()
            .map(|(address, weight)| (address.to_string(), weight))
            .collect()
    }

    #[test]
    fn a_failed_server_gets_weight_0_and_goes_after_its_time() {
        let start = Instant::now();
        let (one, two) = (at("10.0.0.11:6443"), at("10.0.0.12:6443"));
        let mut servers = RealServers::default();
        servers.set_usable(start, [two, one], DRAIN);
        assert_eq!(servers.next_deadline(), None);
        servers.set_usable(start, [one], DRAIN);
        assert_eq!(weights(&servers), [("10.0.0.11:6443".into(), 1), ("10.0.0.12:6443".into(), 0)]);
        assert_eq!(servers.next_deadline(), Some(start + DRAIN));
        // That others change does not give it more time.
        servers.set_usable(start + DRAIN / 2, [one, at("10.0.0.13:6443")], DRAIN);
        servers.handle_timeout(start + DRAIN - Duration::from_millis(1));
        assert_eq!(servers.weights().get(&two), Some(&0));
        servers.handle_timeout(start + DRAIN);
        assert_eq!(servers.weights().get(&two), None);
    }

    #[test]
    fn a_server_that_is_well_again_gets_its_weight_back() {
        let start = Instant::now();
        let one = at("10.0.0.11:6443");
        let mut servers = RealServers::default();
        servers.set_usable(start, [one], DRAIN);
        servers.set_usable(start, [], DRAIN);
        servers.set_usable(start, [one], DRAIN);
        servers.handle_timeout(start + DRAIN * 2);
        assert_eq!(weights(&servers), [("10.0.0.11:6443".into(), 1)]);
    }

    #[test]
    fn servers_that_a_service_cannot_use_are_told_with_the_reason() {
        let mut server = VirtualServer {
            address: at("10.0.0.100:6443"),
            scheduler: Scheduler::RoundRobin,
            forwarding: Forwarding::DirectRouting,
            persistence: None,
        };
        let mut servers = RealServers::default();
        let all = [at("10.0.0.11:6443"), at("10.0.0.12:7443"), at("[fd00::13]:6443")];
        servers.set_usable(Instant::now(), all, DRAIN);
        let texts = |server: &VirtualServer| -> Vec<String> {
            servers.left_out(server).iter().map(ToString::to_string).collect()
        };
        assert_eq!(
            texts(&server),
            [
                "10.0.0.100:6443 cannot balance to 10.0.0.12:7443: only lbKind NAT can change the port",
                "10.0.0.100:6443 cannot balance to [fd00::13]:6443: IPVS keeps to one address family",
            ]
        );
        server.forwarding = Forwarding::Masquerading;
        assert_eq!(texts(&server).len(), 1);
    }
}
