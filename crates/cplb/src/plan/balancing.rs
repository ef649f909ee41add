use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::ControlPlaneLoadBalancing;
use kernel::redirect::{Method, Rule};

use crate::cli::Controller;

/// The load balancer behind the virtual addresses.
#[derive(Clone, Debug)]
pub(crate) struct BalancerPlan {
    pub(crate) proxy: proxy::Settings,
    pub(crate) backends: backends::Settings,
    /// Empty where the document wants no redirect.
    pub(crate) redirects: Vec<Rule>,
    pub(crate) redirect_by: Method,
    pub(crate) drain: Duration,
}

pub(super) fn plan(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    arguments: &Controller,
    virtual_addresses: Vec<IpAddr>,
) -> BalancerPlan {
    let port = cplb.user_space_proxy_bind_port;
    let health = cplb.load_balancer.health_check;
    let local = match settings.api.address.filter(|_| settings.api.only_bind_to_address) {
        Some(address) => address,
        None => Ipv4Addr::LOCALHOST.into(),
    };
    let redirects = match cplb.load_balancer.redirect {
        config::Redirect::None => Vec::new(),
        _ => virtual_addresses
            .iter()
            .map(|vip| Rule { vip: *vip, port: settings.api.port, to: port })
            .collect(),
    };
    let defaults = proxy::Settings::default();
    BalancerPlan {
        proxy: proxy::Settings {
            listen: vec![SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)],
            max_connections: cplb
                .load_balancer
                .max_connections
                .map_or(defaults.max_connections, |most| most as usize),
            ..defaults
        },
        backends: backends::Settings {
            kubeconfig: arguments.kubeconfig.clone(),
            kubeconfig_may_appear: arguments.wait_for_kubeconfig,
            static_servers: arguments.apiservers.clone(),
            local: Some(SocketAddr::new(local, settings.api.port)),
            cache: Some(arguments.state_dir.join("apiservers.json")),
            virtual_addresses,
            proxy_port: port,
            health: backends::HealthSettings {
                interval: health.interval,
                timeout: health.timeout,
                fall: health.fall,
                rise: health.rise,
            },
        },
        redirects,
        redirect_by: match cplb.load_balancer.redirect {
            config::Redirect::Auto | config::Redirect::None => Method::Auto,
            config::Redirect::Nftables => Method::Nftables,
            config::Redirect::Iptables => Method::Iptables,
        },
        drain: cplb.load_balancer.drain_timeout,
    }
}
