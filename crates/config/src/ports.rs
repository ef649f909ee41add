//! TCP ports that two listeners of one node would want.

use crate::cross::Draft;
use crate::report::{Place, Report};

/// Something that listens on a port of a node.
struct Listener {
    port: u16,
    name: &'static str,
    nodes: Nodes,
    /// Absent where the port is a default or fixed.
    place: Option<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nodes {
    Controllers,
    Workers,
}

/// Ports of k0s and Kubernetes that no document changes.
const FIXED: &[(u16, &str, Nodes)] = &[
    (2379, "etcd", Nodes::Controllers),
    (2380, "etcd", Nodes::Controllers),
    (10257, "kube-controller-manager", Nodes::Controllers),
    (10259, "kube-scheduler", Nodes::Controllers),
    (10248, "kubelet", Nodes::Workers),
    (10250, "kubelet", Nodes::Workers),
    (10249, "kube-proxy", Nodes::Workers),
    (10256, "kube-proxy", Nodes::Workers),
];

pub(crate) fn check(draft: &Draft<'_>, report: &mut Report) {
    let both_roles = draft.document.hosts.iter().any(|host| host.role == "controller+worker");
    let listeners = listeners(draft);
    for (index, one) in listeners.iter().enumerate() {
        let clashing = listeners[index + 1..].iter().filter(|other| other.port == one.port);
        for other in clashing {
            report_clash(one, other, both_roles, report);
        }
    }
}

/// Reports at the later of the two in the file, as that is the one that was wrong to take it.
fn report_clash(one: &Listener, other: &Listener, both_roles: bool, report: &mut Report) {
    let (subject, taken_by) = match (&one.place, &other.place) {
        (Some(place), Some(later)) if place.position > later.position => (one, other),
        (Some(_), None) => (one, other),
        _ => (other, one),
    };
    let Some(place) = &subject.place else { return };
    let message = format!("port {} is that of {}, too", subject.port, taken_by.name);
    if one.nodes == other.nodes || both_roles {
        report.error(place, message, format!("choose another port for {}", subject.name));
    } else {
        let hint = format!(
            "choose another port for {}, unless no node is controller and worker at once",
            subject.name
        );
        report.warning(place, message, hint);
    }
}

fn listeners(draft: &Draft<'_>) -> Vec<Listener> {
    let mut listeners = of_k0s(draft);
    let settings = draft.settings;
    if let (Some(cplb), Some(places)) = (&settings.control_plane_load_balancing, draft.cplb)
        && cplb.enabled
        && !cplb.disable_load_balancer
        && cplb.virtual_servers.is_empty()
    {
        listeners.push(Listener {
            port: cplb.user_space_proxy_bind_port,
            name: "the user space proxy (userSpaceProxyBindPort)",
            nodes: Nodes::Controllers,
            place: places.user_space_proxy_bind_port.clone(),
        });
        let extra = cplb.load_balancer.extra_ports.iter().zip(&places.load_balancer.extra_ports);
        listeners.extend(extra.map(|(extra, at)| Listener {
            port: extra.listen_port,
            name: "the load balancer of an extra port (listenPort)",
            nodes: Nodes::Controllers,
            place: Some(at.listen_port.clone()),
        }));
    }
    if let (Some(nllb), Some(places)) = (&settings.node_local_load_balancing, draft.nllb)
        && nllb.enabled
    {
        let ports = nllb.bind_ports();
        listeners.push(Listener {
            port: ports.api_server,
            name: "the node-local load balancer (apiServerBindPort)",
            nodes: Nodes::Workers,
            place: places.api_server_bind_port.clone(),
        });
        listeners.push(Listener {
            port: ports.konnectivity_server,
            name: "the node-local load balancer (konnectivityServerBindPort)",
            nodes: Nodes::Workers,
            place: places.konnectivity_server_bind_port.clone(),
        });
    }
    listeners
}

fn of_k0s(draft: &Draft<'_>) -> Vec<Listener> {
    let (api, konnectivity) = (draft.document.api.as_ref(), draft.document.konnectivity.as_ref());
    let settings = draft.settings;
    let configurable = [
        (settings.api.port, "the apiserver (api.port)", api, "port"),
        (settings.api.k0s_api_port, "the k0s API (api.k0sApiPort)", api, "k0sApiPort"),
        (
            settings.konnectivity.agent_port,
            "the konnectivity server (konnectivity.agentPort)",
            konnectivity,
            "agentPort",
        ),
        (
            settings.konnectivity.admin_port,
            "the konnectivity server (konnectivity.adminPort)",
            konnectivity,
            "adminPort",
        ),
    ];
    let configurable = configurable.into_iter().map(|(port, name, block, field)| Listener {
        port,
        name,
        nodes: Nodes::Controllers,
        place: block.and_then(|block| block.place_if_given(field)),
    });
    let fixed =
        FIXED.iter().map(|&(port, name, nodes)| Listener { port, name, nodes, place: None });
    configurable.chain(fixed).collect()
}
