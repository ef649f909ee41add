//! Rules over several fields: what each allows by itself and what does not go together.

use std::net::IpAddr;

use crate::document::{Document, Host};
use crate::report::{Place, Report};
use crate::settings::{ControlPlaneLoadBalancing, Interface, LbKind, Settings, VrrpInstance};
use crate::{cplb, nllb, ports, vrrp_instance};

/// The settings as read so far, some fields perhaps refused and at their defaults, with places.
pub(crate) struct Draft<'a> {
    pub(crate) document: &'a Document<'a>,
    pub(crate) settings: &'a Settings,
    pub(crate) cplb: Option<&'a cplb::Places>,
    pub(crate) nllb: Option<&'a nllb::Places>,
}

impl Draft<'_> {
    /// The place of a field of `spec.api`.
    fn api_place(&self, name: &str) -> Option<Place> {
        self.document.api.as_ref()?.place_if_given(name)
    }
}

pub(crate) fn check(draft: &Draft<'_>, report: &mut Report) {
    if let (Some(cplb), Some(places)) = (&draft.settings.control_plane_load_balancing, draft.cplb) {
        check_router_ids(cplb, places, report);
        check_virtual_ips(draft, cplb, places, report);
        check_virtual_servers(cplb, places, report);
        check_bind_address(draft, cplb, places, report);
        check_settings_of_the_proxy(cplb, places, report);
        check_extra_ports(draft, cplb, places, report);
        if cplb.enabled {
            check_external_address(draft, cplb, report);
            check_control_plane_roles(cplb, &draft.document.hosts, report);
        }
    }
    if let (Some(nllb), Some(places)) = (&draft.settings.node_local_load_balancing, draft.nllb)
        && nllb.enabled
    {
        check_node_local(draft, places, report);
    }
    ports::check(draft, report);
}

/// A virtual router is its ID on a link and in a family (RFC 9568 3); two with one ID would
/// answer each other.
fn check_router_ids(cplb: &ControlPlaneLoadBalancing, places: &cplb::Places, report: &mut Report) {
    let mut seen: Vec<(&VrrpInstance, &vrrp_instance::Places)> = Vec::new();
    for (instance, at) in cplb.vrrp_instances.iter().zip(&places.vrrp_instances) {
        let Some(place) = &at.virtual_router_id else { continue };
        if let Some((_, other)) = seen.iter().find(|(other, _)| could_clash(instance, other)) {
            let message = format!(
                "{} has virtualRouterID {} of {}",
                at.instance.name(),
                instance.virtual_router_id,
                other.instance.name()
            );
            report.error(
                place,
                message,
                "give each instance an ID of its own; left out, it is 51 and the instance's index",
            );
        }
        seen.push((instance, at));
    }
}

fn could_clash(one: &VrrpInstance, other: &VrrpInstance) -> bool {
    let share_family = one.virtual_ips.iter().any(|vip| {
        other.virtual_ips.iter().any(|other| other.address.is_ipv4() == vip.address.is_ipv4())
    });
    let share_link = match (&one.interface, &other.interface) {
        (Interface::Name(one), Interface::Name(other)) => one == other,
        (Interface::Mac(one), Interface::Mac(other)) => one == other,
        // Any of these may turn out to be the same on some machine.
        _ => true,
    };
    one.virtual_router_id == other.virtual_router_id && share_family && share_link
}

fn check_virtual_ips(
    draft: &Draft<'_>,
    cplb: &ControlPlaneLoadBalancing,
    places: &cplb::Places,
    report: &mut Report,
) {
    let mut seen: Vec<(IpAddr, &Place)> = Vec::new();
    for (address, place) in virtual_ips(cplb, places) {
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == address) {
            let message =
                format!("virtual IP {address} stands in line {}, too", first.position.line);
            report.error(place, message, "one instance carries an address, once");
        }
        if let Some(role) = own_role(draft, cplb, address) {
            report.error(
                place,
                format!("virtual IP {address} is {role} as well"),
                "a virtual IP moves between controllers: choose an address no host has",
            );
        }
        seen.push((address, place));
    }
}

/// What an address is to a single host, if anything.
fn own_role(
    draft: &Draft<'_>,
    cplb: &ControlPlaneLoadBalancing,
    address: IpAddr,
) -> Option<&'static str> {
    if draft.settings.api.address == Some(address) {
        return Some("api.address");
    }
    let instances = || cplb.vrrp_instances.iter();
    if instances().any(|instance| instance.unicast_source_ip == Some(address)) {
        return Some("unicastSourceIP");
    }
    instances()
        .any(|instance| instance.unicast_peers.contains(&address))
        .then_some("one of unicastPeers")
}

fn check_virtual_servers(
    cplb: &ControlPlaneLoadBalancing,
    places: &cplb::Places,
    report: &mut Report,
) {
    let mut seen: Vec<IpAddr> = Vec::new();
    for (server, place) in cplb.virtual_servers.iter().zip(&places.virtual_servers) {
        let address = server.ip_address;
        if seen.contains(&address) {
            report.error(
                place,
                format!("a second virtual server on {address}"),
                "remove one of them",
            );
        } else if !virtual_ips(cplb, places).any(|(vip, _)| vip == address) {
            report.error(
                place,
                format!("virtual server {address} is none of the virtualIPs"),
                "add the address to virtualIPs of an instance, or use one that is there",
            );
        }
        seen.push(address);
    }
}

/// By DR and TUN a real server gets packets to the virtual IP itself; NAT gives them its own address.
fn check_bind_address(
    draft: &Draft<'_>,
    cplb: &ControlPlaneLoadBalancing,
    places: &cplb::Places,
    report: &mut Report,
) {
    if !draft.settings.api.only_bind_to_address || cplb.disable_load_balancer {
        return;
    }
    for (server, place) in cplb.virtual_servers.iter().zip(&places.virtual_servers) {
        if server.lb_kind == LbKind::Nat {
            continue;
        }
        let kind = server.lb_kind.name();
        report.error(
            place,
            format!("lbKind {kind} on {} beside api.onlyBindToAddress", server.ip_address),
            "the apiserver has to take connections to the virtual IP itself: remove onlyBindToAddress, or use lbKind: NAT",
        );
    }
}

/// What only a proxy can do is refused where somebody might rely on it and there is none.
fn check_settings_of_the_proxy(
    cplb: &ControlPlaneLoadBalancing,
    places: &cplb::Places,
    report: &mut Report,
) {
    let (without, hint) = match (cplb.disable_load_balancer, cplb.virtual_servers.as_slice()) {
        (true, _) => ("disableLoadBalancer: true", "remove one of the two"),
        (false, []) => return,
        (false, _) => (
            "virtualServers",
            "with IPVS the kernel balances the apiservers' port, and nothing else: remove one of the two",
        ),
    };
    for (name, place) in &places.load_balancer.of_the_proxy {
        report.error(place, format!("{name} beside {without}, without a proxy"), hint);
    }
}

/// A port is balanced once, and is none that the proxy itself listens on.
fn check_extra_ports(
    draft: &Draft<'_>,
    cplb: &ControlPlaneLoadBalancing,
    places: &cplb::Places,
    report: &mut Report,
) {
    let extra_ports = &cplb.load_balancer.extra_ports;
    for (index, (extra, at)) in
        extra_ports.iter().zip(&places.load_balancer.extra_ports).enumerate()
    {
        let port = extra.port;
        let listens = |port| {
            port == cplb.user_space_proxy_bind_port
                || extra_ports.iter().any(|it| it.listen_port == port)
        };
        let (message, hint) = if port == draft.settings.api.port {
            (format!("port {port} is api.port"), "it is balanced already: remove this entry")
        } else if extra_ports[..index].iter().any(|it| it.port == port) {
            (format!("port {port} a second time"), "remove one of them")
        } else if listens(port) {
            (
                format!("port {port} is where the load balancer itself listens"),
                "connections would go round in circles: give the port of the servers",
            )
        } else {
            continue;
        };
        report.error(&at.port, message, hint);
    }
}

fn check_external_address(
    draft: &Draft<'_>,
    cplb: &ControlPlaneLoadBalancing,
    report: &mut Report,
) {
    let external = draft.settings.api.external_address.as_deref();
    let Some(address) = external.and_then(|text| text.parse::<IpAddr>().ok()) else { return };
    let mut all = cplb.vrrp_instances.iter().flat_map(|instance| &instance.virtual_ips);
    if all.any(|vip| vip.address == address) {
        return;
    }
    if let Some(place) = draft.api_place("externalAddress") {
        report.warning(
            &place,
            format!("externalAddress {address} is none of the virtualIPs"),
            "clients that use it do not reach the load balancer, unless something else leads there",
        );
    }
}

fn check_control_plane_roles(
    cplb: &ControlPlaneLoadBalancing,
    hosts: &[Host<'_>],
    report: &mut Report,
) {
    for host in hosts {
        match host.role {
            "single" => report
                .error(&host.place, "role single beside an enabled controlPlaneLoadBalancing", "k0s refuses to start so: use role controller, or set enabled: false"),
            "controller+worker" if !cplb.virtual_servers.is_empty() => report
                .error(&host.place, "role controller+worker beside virtualServers", "IPVS and kube-proxy get in each other's way: use role controller, or remove virtualServers"),
            _ => {}
        }
    }
}

fn check_node_local(draft: &Draft<'_>, places: &nllb::Places, report: &mut Report) {
    if let Some(external) = &draft.settings.api.external_address {
        let message = format!("nodeLocalLoadBalancing beside externalAddress {external:?}");
        report
            .error(&places.enabled, message, "k0s refuses both: workers go either to the external address or to their own balancer; remove one");
    }
    for host in draft.document.hosts.iter().filter(|host| host.role == "single") {
        report.error(
            &host.place,
            "role single beside an enabled nodeLocalLoadBalancing",
            "k0s refuses to start so: set enabled: false",
        );
    }
}

fn virtual_ips<'a>(
    cplb: &'a ControlPlaneLoadBalancing,
    places: &'a cplb::Places,
) -> impl Iterator<Item = (IpAddr, &'a Place)> {
    let instances = cplb.vrrp_instances.iter().zip(&places.vrrp_instances);
    instances.flat_map(|(instance, places)| {
        let addresses = instance.virtual_ips.iter().map(|vip| vip.address);
        addresses.zip(&places.virtual_ips)
    })
}
