//! `spec.network.controlPlaneLoadBalancing`.

use std::path::PathBuf;

use crate::reader::{Field, Mapping};
use crate::report::{Place, Report};
use crate::settings::{ControlPlaneKind, ControlPlaneLoadBalancing, VirtualServer, VrrpInstance};
use crate::{load_balancer, virtual_server, vrrp_instance};

const FIELDS: &[&str] = &["enabled", "type", "keepalived", "loadBalancer"];
const KEEPALIVED_FIELDS: &[&str] = &[
    "vrrpInstances",
    "virtualServers",
    "userSpaceProxyBindPort",
    "disableLoadBalancer",
    "configTemplateVRRP",
    "configTemplateVS",
];
const KINDS: &[(&str, ControlPlaneKind)] =
    &[("Keepalived", ControlPlaneKind::Keepalived), ("Builtin", ControlPlaneKind::Builtin)];
/// One for each VRID; k0s' limit, too.
const MOST_INSTANCES: usize = 255;

/// Where the fields stand that other parts of the document have to agree with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// One for each of the settings' instances.
    pub(crate) vrrp_instances: Vec<vrrp_instance::Places>,
    /// The address of each of the settings' virtual servers.
    pub(crate) virtual_servers: Vec<Place>,
    /// Absent where the port is left to its default.
    pub(crate) user_space_proxy_bind_port: Option<Place>,
    pub(crate) load_balancer: load_balancer::Places,
}

/// Reads the block, by the same rules whether it is enabled or not, as k0s does.
pub(crate) fn read(
    block: &Mapping<'_>,
    report: &mut Report,
) -> (ControlPlaneLoadBalancing, Places) {
    block.refuse_unknown(FIELDS, report);
    let mut settings = ControlPlaneLoadBalancing {
        enabled: block.read("enabled", report, Field::boolean).unwrap_or_default(),
        kind: block
            .read("type", report, |field, report| field.choice_or_empty(KINDS, report))
            .unwrap_or_default(),
        ..ControlPlaneLoadBalancing::default()
    };
    let mut places = Places::default();
    (settings.load_balancer, places.load_balancer) = block
        .read("loadBalancer", report, |field, report| {
            Some(load_balancer::read(&field.mapping(report)?, report))
        })
        .unwrap_or_default();
    match block.field("keepalived") {
        Some(field) => {
            if let Some(keepalived) = field.mapping(report) {
                read_keepalived(&keepalived, &mut settings, &mut places, report);
            }
        }
        None if settings.enabled => {
            report.error(
                &block.place_of("enabled"),
                "enabled without a keepalived block",
                "add keepalived.vrrpInstances, which type: Builtin reads as well",
            );
        }
        None => {}
    }
    (settings, places)
}

fn read_keepalived(
    block: &Mapping<'_>,
    settings: &mut ControlPlaneLoadBalancing,
    places: &mut Places,
    report: &mut Report,
) {
    block.refuse_unknown(KEEPALIVED_FIELDS, report);
    (settings.vrrp_instances, places.vrrp_instances) = vrrp_instances(block, settings, report);
    (settings.virtual_servers, places.virtual_servers) = virtual_servers(block, report);
    settings.disable_load_balancer =
        block.read("disableLoadBalancer", report, Field::boolean).unwrap_or_default();
    settings.user_space_proxy_bind_port = block
        .read("userSpaceProxyBindPort", report, Field::port)
        .unwrap_or(settings.user_space_proxy_bind_port);
    places.user_space_proxy_bind_port = block.place_if_given("userSpaceProxyBindPort");
    settings.config_template_vrrp = template(block, "configTemplateVRRP", settings.kind, report);
    settings.config_template_vs = template(block, "configTemplateVS", settings.kind, report);

    if settings.disable_load_balancer && !settings.virtual_servers.is_empty() {
        report.warning(
            &block.place_of("virtualServers"),
            "virtualServers have no effect beside disableLoadBalancer: true",
            "remove one of the two",
        );
    }
}

fn vrrp_instances(
    block: &Mapping<'_>,
    settings: &ControlPlaneLoadBalancing,
    report: &mut Report,
) -> (Vec<VrrpInstance>, Vec<vrrp_instance::Places>) {
    let list = block.field("vrrpInstances");
    let items = match &list {
        Some(list) => list.items(report),
        None => Some(Vec::new()),
    };
    // A list that is none was reported already.
    let Some(items) = items else { return (Vec::new(), Vec::new()) };
    let place = block.place_of("vrrpInstances");
    if items.is_empty() && settings.enabled {
        report.error(
            &place,
            "enabled without vrrpInstances: there is no virtual IP",
            "add an instance with virtualIPs and authPass, or set enabled: false",
        );
    }
    if items.len() > MOST_INSTANCES {
        report.error(
            &place,
            format!("{} vrrpInstances, {MOST_INSTANCES} at most", items.len()),
            "an ID has eight bits: put several virtualIPs in one instance",
        );
    }
    items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| vrrp_instance::read(item, index, settings.kind, report))
        .unzip()
}

fn virtual_servers(block: &Mapping<'_>, report: &mut Report) -> (Vec<VirtualServer>, Vec<Place>) {
    let items = block.read("virtualServers", report, Field::items).unwrap_or_default();
    items.iter().filter_map(|item| virtual_server::read(item, report)).unzip()
}

fn template(
    block: &Mapping<'_>,
    name: &str,
    kind: ControlPlaneKind,
    report: &mut Report,
) -> Option<PathBuf> {
    let path = block.read(name, report, Field::string).filter(|path| !path.is_empty())?;
    if kind == ControlPlaneKind::Builtin {
        report.warning(
            &block.place_of(name),
            format!("{name} has no effect with type: Builtin"),
            "set type: Keepalived to use it, or remove it",
        );
    }
    Some(PathBuf::from(path))
}
