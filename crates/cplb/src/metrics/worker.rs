use std::fmt;

use super::Families;
use super::load_balancer::{label, labels};
use crate::status::{LoadBalancer, Worker};

pub(super) fn encode(families: &mut Families<'_>, worker: &Worker) -> fmt::Result {
    let mut description = vec![("balancer", worker.balancer.clone())];
    description.extend(worker.image.clone().map(|image| ("image", image)));
    families.info("cplb_worker", "What balances on this worker node", [description])?;
    families.gauge(
        "cplb_worker_connections_draining",
        "Client connections still open through ports that a reload closed",
        [(vec![], worker.draining as u64)],
    )?;
    worker.konnectivity.as_ref().map_or(Ok(()), |balancer| konnectivity(families, balancer))
}

/// The second service: what the apiservers have, by names of its own, since a family stands in one
/// piece.
fn konnectivity(families: &mut Families<'_>, balancer: &LoadBalancer) -> fmt::Result {
    let servers = &balancer.apiservers;
    families.gauge(
        "cplb_konnectivity_backend_healthy",
        "1 while the konnectivity server takes connections",
        servers.iter().map(|it| (labels(it), u64::from(it.health == "healthy"))),
    )?;
    families.gauge(
        "cplb_konnectivity_backend_usable",
        "1 while new connections may go to the konnectivity server",
        servers.iter().map(|it| (labels(it), u64::from(it.usable))),
    )?;
    families.gauge(
        "cplb_konnectivity_backend_connections_open",
        "Connections of agents that the konnectivity server serves now",
        servers.iter().map(|it| (labels(it), it.open as u64)),
    )?;
    families.counter(
        "cplb_konnectivity_backend_connects",
        "Connects begun",
        servers.iter().map(|it| (labels(it), it.connects)),
    )?;
    families.counter(
        "cplb_konnectivity_backend_failures",
        "Connects that failed before the first byte",
        servers.iter().flat_map(|it| {
            it.failures_by_reason.iter().map(|(reason, count)| {
                let mut labels = labels(it);
                labels.extend(label("reason", reason));
                (labels, *count)
            })
        }),
    )?;
    families.counter(
        "cplb_konnectivity_connections_accepted",
        "Connections of agents taken, rejected ones included",
        balancer
            .listeners
            .iter()
            .map(|it| (label("listener", &it.address.to_string()), it.accepted)),
    )?;
    families.gauge(
        "cplb_konnectivity_connections_open",
        "Connections of agents open now",
        [(vec![], balancer.open as u64)],
    )?;
    families.counter(
        "cplb_konnectivity_connections_unserved",
        "Connections of agents reset because every server failed them",
        [(vec![], balancer.unserved)],
    )
}
