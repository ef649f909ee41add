use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use ::backends::{HealthSettings, PortCheck};
use config::{ControlPlaneLoadBalancing, LbAlgo, LbKind};
use ipvs::{Forwarding, Scheduler};
use kernel::redirect::{Method, Origin, Rule};

use super::{engine, routers};
use crate::cli::{Controller, VrrpEngine};
use crate::run_dir::ipvs_state;

/// The load balancer behind the virtual addresses.
#[derive(Clone, Debug)]
pub(crate) struct BalancerPlan {
    pub(crate) backends: ::backends::Settings,
    pub(crate) forwarder: ForwarderPlan,
}

/// How connections come to the apiservers.
#[derive(Clone, Debug)]
pub(crate) enum ForwarderPlan {
    Proxy(ProxyPlan),
    Ipvs(IpvsPlan),
}

impl ForwarderPlan {
    pub(crate) fn is_ipvs(&self) -> bool {
        matches!(self, Self::Ipvs(_))
    }
}

/// By the proxy of this process.
#[derive(Clone, Debug)]
pub(crate) struct ProxyPlan {
    pub(crate) proxy: proxy::Settings,
    /// Empty where the document wants no redirect.
    pub(crate) redirects: Vec<Rule>,
    pub(crate) redirect_by: Method,
    pub(crate) drain: Duration,
    /// The redirects are among the others.
    pub(crate) extra_ports: Vec<ExtraPortPlan>,
}

/// A further port of the hosts of the apiservers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExtraPortPlan {
    pub(crate) port: u16,
    pub(crate) check: PortCheck,
    pub(crate) health: HealthSettings,
    pub(crate) proxy: proxy::Settings,
}

/// By the kernel.
#[derive(Clone, Debug)]
pub(crate) struct IpvsPlan {
    pub(crate) settings: ipvs::Settings,
    /// Where a node tells others that it carries the virtual addresses; `None` where it need not.
    pub(crate) presence_port: Option<u16>,
    /// Keep this machine's own connections out of IPVS.
    pub(crate) redirects: Vec<Rule>,
    pub(crate) redirect_by: Method,
}

/// The control plane stands and falls with these threads, which need little: they go before
/// whatever else keeps the machine busy.
const PROXY_NICE: i32 = -10;

/// Nodes that join and agents of workers need no more.
const EXTRA_PORT_THREADS: usize = 2;

pub(super) fn plan(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    instances: &[routers::Instance<'_>],
    arguments: &Controller,
    virtual_addresses: Vec<IpAddr>,
) -> BalancerPlan {
    let forwarder = match cplb.virtual_servers.as_slice() {
        [] => ForwarderPlan::Proxy(proxy(settings, cplb, &virtual_addresses)),
        _ => ForwarderPlan::Ipvs(ipvs(settings, cplb, instances, arguments)),
    };
    BalancerPlan { backends: backends(settings, cplb, arguments, virtual_addresses), forwarder }
}

fn proxy(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    virtual_addresses: &[IpAddr],
) -> ProxyPlan {
    let wanted = &cplb.load_balancer;
    let apiservers = (settings.api.port, cplb.user_space_proxy_bind_port);
    let extra = wanted.extra_ports.iter().map(|extra| (extra.port, extra.listen_port));
    let rules = std::iter::once(apiservers).chain(extra).flat_map(|(port, to)| {
        virtual_addresses.iter().map(move |vip| Rule { vip: *vip, port, to, of: Origin::Anyone })
    });
    let redirects = match wanted.redirect {
        config::Redirect::None => Vec::new(),
        _ => rules.collect(),
    };
    ProxyPlan {
        proxy: proxy::Settings {
            rebalance: wanted.rebalance.and_then(NonZeroU32::new),
            ..listening_on(cplb.user_space_proxy_bind_port, wanted)
        },
        redirects,
        redirect_by: redirect_by(cplb),
        drain: wanted.drain_timeout,
        extra_ports: wanted.extra_ports.iter().map(|extra| extra_port(extra, wanted)).collect(),
    }
}

/// What holds for every port that is balanced here.
fn listening_on(port: u16, wanted: &config::LoadBalancer) -> proxy::Settings {
    let defaults = proxy::Settings::default();
    proxy::Settings {
        listen: vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
        nice: Some(PROXY_NICE),
        choice: match wanted.balance {
            config::Balance::RoundRobin => proxy::Choice::RoundRobin,
            config::Balance::LeastConnections => proxy::Choice::LeastConnections,
        },
        max_connections: wanted.max_connections.map_or(defaults.max_connections, |it| it as usize),
        max_connections_per_source: wanted.max_connections_per_source.map(|it| it as usize),
        allowed_sources: wanted.allowed_sources.iter().map(network).collect(),
        ..defaults
    }
}

fn extra_port(extra: &config::ExtraPort, wanted: &config::LoadBalancer) -> ExtraPortPlan {
    let proxy = listening_on(extra.listen_port, wanted);
    let threads = proxy.threads.min(EXTRA_PORT_THREADS);
    ExtraPortPlan {
        port: extra.port,
        check: match &extra.check {
            config::PortCheck::Tcp => PortCheck::Connect,
            config::PortCheck::Tls => PortCheck::Tls,
            config::PortCheck::Https { path, status } => {
                PortCheck::Https { path: path.clone(), status: *status }
            }
        },
        health: health(&extra.health_check),
        // What goes there has few connections, which agents make to each server on purpose: none
        // is ended to even them out.
        proxy: proxy::Settings { threads, ..proxy },
    }
}

fn network(cidr: &config::Cidr) -> proxy::Network {
    proxy::Network::new(cidr.address, cidr.prefix_length)
}

fn health(of: &config::HealthCheck) -> HealthSettings {
    let config::HealthCheck { interval, timeout, fall, rise } = *of;
    HealthSettings { interval, timeout, fall, rise }
}

fn ipvs(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    instances: &[routers::Instance<'_>],
    arguments: &Controller,
) -> IpvsPlan {
    let port = settings.api.port;
    // The apiserver of this node listens on the same port.
    let rule = |server: &config::VirtualServer| Rule {
        vip: server.ip_address,
        port,
        to: port,
        of: Origin::ThisHost,
    };
    let redirects = match cplb.load_balancer.redirect {
        config::Redirect::None => Vec::new(),
        _ => cplb.virtual_servers.iter().map(rule).collect(),
    };
    let mut interfaces: Vec<String> =
        instances.iter().map(|instance| instance.link.name.clone()).collect();
    interfaces.dedup();
    let carried = cplb.virtual_servers.iter().any(|server| server.lb_kind != LbKind::Nat);
    IpvsPlan {
        presence_port: carried.then_some(cplb.user_space_proxy_bind_port),
        settings: ipvs::Settings {
            virtual_servers: cplb
                .virtual_servers
                .iter()
                .map(|server| virtual_server(server, port))
                .collect(),
            // A keepalived makes the services itself.
            services: engine(cplb, arguments) == VrrpEngine::Builtin,
            interfaces,
            drain: cplb.load_balancer.drain_timeout,
            state_file: ipvs_state(&arguments.run_dir),
        },
        redirects,
        redirect_by: redirect_by(cplb),
    }
}

fn virtual_server(server: &config::VirtualServer, port: u16) -> ipvs::VirtualServer {
    ipvs::VirtualServer {
        address: SocketAddr::new(server.ip_address, port),
        scheduler: match server.lb_algo {
            LbAlgo::Rr => Scheduler::RoundRobin,
            LbAlgo::Wrr => Scheduler::WeightedRoundRobin,
            LbAlgo::Lc => Scheduler::LeastConnection,
            LbAlgo::Wlc => Scheduler::WeightedLeastConnection,
            LbAlgo::Lblc => Scheduler::LocalityBased,
            LbAlgo::Dh => Scheduler::DestinationHashing,
            LbAlgo::Sh => Scheduler::SourceHashing,
            LbAlgo::Sed => Scheduler::ShortestExpectedDelay,
            LbAlgo::Nq => Scheduler::NeverQueue,
            LbAlgo::Mh => Scheduler::MaglevHashing,
        },
        forwarding: match server.lb_kind {
            LbKind::Nat => Forwarding::Masquerading,
            LbKind::Dr => Forwarding::DirectRouting,
            LbKind::Tun => Forwarding::Tunnel,
        },
        persistence: Some(server.persistence_timeout),
    }
}

fn backends(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    arguments: &Controller,
    virtual_addresses: Vec<IpAddr>,
) -> ::backends::Settings {
    let wanted = cplb.load_balancer.health_check;
    // A virtual server may ask for checks more often, not for a minute of a dead apiserver.
    let loops = cplb.virtual_servers.iter().map(|server| server.delay_loop);
    let interval = loops.fold(wanted.interval, Duration::min);
    let local = match settings.api.address.filter(|_| settings.api.only_bind_to_address) {
        Some(address) => address,
        None => Ipv4Addr::LOCALHOST.into(),
    };
    ::backends::Settings {
        kubeconfig: arguments.kubeconfig.clone(),
        kubeconfig_may_appear: arguments.wait_for_kubeconfig,
        static_servers: arguments.apiservers.clone(),
        bootstrap_kubeconfig: None,
        kubeconfig_may_fail: false,
        local: Some(SocketAddr::new(local, settings.api.port)),
        cache: Some(arguments.state_dir.join("apiservers.json")),
        virtual_addresses,
        proxy_port: cplb.user_space_proxy_bind_port,
        health: HealthSettings {
            interval,
            timeout: wanted.timeout.min(interval),
            ..health(&wanted)
        },
    }
}

fn redirect_by(cplb: &ControlPlaneLoadBalancing) -> Method {
    match cplb.load_balancer.redirect {
        config::Redirect::Auto | config::Redirect::None => Method::Auto,
        config::Redirect::Nftables => Method::Nftables,
        config::Redirect::Iptables => Method::Iptables,
    }
}

#[cfg(test)]
mod tests;
