//! What the cluster says of itself: its endpoints and its nodes, read through the kubeconfig.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Node};
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client, Config};
use rustls::crypto::ring;
use tokio::time::timeout;

use super::Finding;

#[cfg(test)]
mod tests;

const ENDPOINTS: &str = "endpoints";
const NODES: &str = "node-address";
const PATIENCE: Duration = Duration::from_secs(4);
const MOST_NODES: u32 = 500;

/// Reads both and judges them.
pub(crate) async fn check(kubeconfig: &Path, virtual_addresses: &[IpAddr]) -> Vec<Finding> {
    let skipped = |reason: String| {
        let file = kubeconfig.display();
        vec![Finding::skipped(ENDPOINTS, format!("the cluster cannot be read by {file}: {reason}"))]
    };
    let client = match client(kubeconfig) {
        Ok(client) => client,
        Err(reason) => return skipped(reason),
    };
    let endpoints = Api::<Endpoints>::namespaced(client.clone(), "default");
    let endpoints = match timeout(PATIENCE, endpoints.get("kubernetes")).await {
        Ok(Ok(endpoints)) => endpoints,
        Ok(Err(error)) => return skipped(explain(&error)),
        Err(_) => return skipped(format!("no answer within {PATIENCE:?}")),
    };
    let mut findings = vec![check_endpoints(&addresses(&endpoints), virtual_addresses)];
    let nodes = Api::<Node>::all(client);
    findings.extend(
        match timeout(PATIENCE, nodes.list(&ListParams::default().limit(MOST_NODES))).await {
            Ok(Ok(list)) => check_nodes(&list.items, virtual_addresses),
            Ok(Err(error)) => {
                vec![Finding::skipped(
                    NODES,
                    format!("nodes cannot be listed: {}", explain(&error)),
                )]
            }
            Err(_) => vec![Finding::skipped(NODES, "nodes cannot be listed: no answer")],
        },
    );
    findings
}

fn check_endpoints(endpoints: &[IpAddr], virtual_addresses: &[IpAddr]) -> Finding {
    let names: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let names = names.join(", ");
    match endpoints.iter().find(|address| virtual_addresses.contains(address)) {
        Some(loops) => Finding::error(
            ENDPOINTS,
            format!("the virtual IP {loops} is among the endpoints of default/kubernetes ({names})"),
        )
        .because("the load balancer would balance to itself, and does not learn the apiservers' own addresses")
        .advise(
            "run every kube-apiserver with --endpoint-reconciler-type=lease and its own address in --advertise-address; \
             k0s: take externalAddress out, or enable controlPlaneLoadBalancing in the document that k0s reads",
        ),
        None if endpoints.is_empty() => {
            Finding::error(ENDPOINTS, "default/kubernetes has no endpoint")
                .because("no apiserver is found by discovery")
                .advise("look at --endpoint-reconciler-type of the kube-apiservers")
        }
        None => Finding::ok(ENDPOINTS, format!("the apiservers are {names}")),
    }
}

fn check_nodes(nodes: &[Node], virtual_addresses: &[IpAddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in nodes {
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let internal = addresses.filter(|address| address.type_ == "InternalIP");
        let taken = internal.filter_map(|address| address.address.parse().ok());
        for address in taken.filter(|address| virtual_addresses.contains(address)) {
            let name = node.metadata.name.as_deref().unwrap_or("?");
            findings.push(
                Finding::error(NODES, format!("node {name} has the virtual IP {address} as its InternalIP"))
                    .because("the node is lost to the cluster as soon as the address moves")
                    .advise(
                        "set the node's own address: kubelet --node-ip (k0s: --kubelet-extra-args, k3s and RKE2: node-ip), then restart the kubelet",
                    ),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            NODES,
            format!("none of {} nodes uses a virtual IP as its own address", nodes.len()),
        ));
    }
    findings
}

fn addresses(endpoints: &Endpoints) -> Vec<IpAddr> {
    let subsets = endpoints.subsets.iter().flatten();
    let ready = subsets.flat_map(|subset| subset.addresses.iter().flatten());
    ready.filter_map(|address| address.ip.parse().ok()).collect()
}

fn client(kubeconfig: &Path) -> Result<Client, String> {
    // kube takes the process' provider; the error says that there is one already.
    let _ = ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(one_line)?;
    let mut config = Config::try_from(kubeconfig).map_err(one_line)?;
    // A proxy of the environment does not lead to a control plane node's own apiserver.
    config.proxy_url = None;
    config.connect_timeout = Some(PATIENCE);
    Client::try_from(config).map_err(one_line)
}

fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}", status.code, status.message),
        other => one_line(other),
    }
}

/// Parse errors come with a picture of the lines around them, which could show a key.
fn one_line(error: impl ToString) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
