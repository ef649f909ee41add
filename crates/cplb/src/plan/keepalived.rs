use config::{ControlPlaneLoadBalancing, VrrpVersion};
use keepalived::{Instance, Settings, VirtualServer};
use kernel::address::VirtualAddress;

use super::routers;
use crate::cli::Controller;

/// What keepalived is to do here.
pub(super) fn settings(
    settings: &config::Settings,
    cplb: &ControlPlaneLoadBalancing,
    instances: &[routers::Instance<'_>],
    arguments: &Controller,
) -> Settings {
    Settings {
        program: arguments.keepalived_bin.clone(),
        // The same program, also after it was replaced on disk.
        watchdog: Some("/proc/self/exe".into()),
        run_dir: arguments.run_dir.clone(),
        instances: instances.iter().map(instance).collect(),
        virtual_servers: match cplb.disable_load_balancer {
            true => Vec::new(),
            false => cplb.virtual_servers.iter().map(virtual_server).collect(),
        },
        api_server_port: settings.api.port,
        vrrp_template: cplb.config_template_vrrp.clone(),
        virtual_servers_template: cplb.config_template_vs.clone(),
    }
}

fn instance(instance: &routers::Instance<'_>) -> Instance {
    let wanted = instance.wanted;
    Instance {
        name: instance.name.clone(),
        interface: instance.link.name.clone(),
        virtual_router_id: wanted.virtual_router_id,
        version: match wanted.version {
            VrrpVersion::V2 => vrrp::Version::V2,
            VrrpVersion::V3 => vrrp::Version::V3,
        },
        priority: wanted.priority,
        advert_interval: wanted.advert_interval,
        preempt: wanted.preempt,
        auth_pass: wanted.auth_pass.clone(),
        unicast_source: wanted.unicast_source_ip,
        unicast_peers: wanted.unicast_peers.clone(),
        address_label: wanted.address_label,
        addresses: wanted
            .virtual_ips
            .iter()
            .map(|cidr| VirtualAddress { address: cidr.address, prefix_length: cidr.prefix_length })
            .collect(),
    }
}

fn virtual_server(server: &config::VirtualServer) -> VirtualServer {
    VirtualServer {
        address: server.ip_address,
        lb_algo: server.lb_algo.name().to_owned(),
        lb_kind: server.lb_kind.name().to_owned(),
        delay_loop: server.delay_loop,
        persistence_timeout: server.persistence_timeout,
    }
}
