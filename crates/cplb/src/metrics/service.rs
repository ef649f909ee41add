//! Services beside the apiservers, by names of their own, since a family stands in one piece.

use std::fmt;

use super::load_balancer::{label, labels, rejected};
use super::{Families, Labels};
use crate::status::{Apiserver, ExtraPort, LoadBalancer};

/// Each port with a label of its own.
pub(super) fn extra_ports(families: &mut Families<'_>, ports: &[ExtraPort]) -> fmt::Result {
    let services: Vec<_> =
        ports.iter().map(|it| (label("port", &it.port.to_string()), &it.balancer)).collect();
    encode(families, "cplb_extra_port", &services)?;
    let servers = || servers(&services);
    families.seconds(
        "cplb_extra_port_backend_check_latency",
        "How long the last good health check took",
        servers().filter_map(|(labels, it)| Some((labels, it.latency_ms? / 1_000.0))),
    )?;
    families.histogram(
        "cplb_extra_port_backend_connect_latency",
        "How long clients' connects to the server took",
        servers().map(|(labels, it)| (labels, &it.connect_latency)),
    )?;
    families.bytes(
        "cplb_extra_port_backend_sent",
        "Bytes sent to the server",
        servers().map(|(labels, it)| (labels, it.bytes_up)),
    )?;
    families.bytes(
        "cplb_extra_port_backend_received",
        "Bytes received from the server",
        servers().map(|(labels, it)| (labels, it.bytes_down)),
    )?;
    families.counter(
        "cplb_extra_port_connections_rejected",
        "Client connections reset right after they were accepted",
        services.iter().flat_map(|(service, it)| {
            rejected(it).into_iter().map(|(labels, count)| (joined(service, labels), count))
        }),
    )
}

/// What every service has; its families begin with `prefix`.
pub(super) fn encode(
    families: &mut Families<'_>,
    prefix: &str,
    services: &[(Labels, &LoadBalancer)],
) -> fmt::Result {
    let servers = || servers(services);
    let name = |name: &str| format!("{prefix}_{name}");
    families.gauge(
        &name("backend_healthy"),
        "1 while the checks find the server healthy",
        servers().map(|(labels, it)| (labels, u64::from(it.health == "healthy"))),
    )?;
    families.gauge(
        &name("backend_usable"),
        "1 while new connections may go to the server",
        servers().map(|(labels, it)| (labels, u64::from(it.usable))),
    )?;
    families.gauge(
        &name("backend_connections_open"),
        "Client connections that the server serves now",
        servers().map(|(labels, it)| (labels, it.open as u64)),
    )?;
    families.counter(
        &name("backend_connects"),
        "Connects begun",
        servers().map(|(labels, it)| (labels, it.connects)),
    )?;
    families.counter(
        &name("backend_failures"),
        "Connects that failed before the first byte",
        servers().flat_map(|(labels, it)| {
            it.failures_by_reason
                .iter()
                .map(move |(reason, count)| (joined(&labels, label("reason", reason)), *count))
        }),
    )?;
    families.counter(
        &name("connections_accepted"),
        "Client connections taken, rejected ones included",
        services.iter().flat_map(|(service, it)| {
            it.listeners.iter().map(move |listener| {
                let labels = label("listener", &listener.address.to_string());
                (joined(service, labels), listener.accepted)
            })
        }),
    )?;
    families.gauge(
        &name("connections_open"),
        "Client connections open now",
        services.iter().map(|(service, it)| (service.clone(), it.open as u64)),
    )?;
    families.counter(
        &name("connections_unserved"),
        "Client connections reset because every server failed them",
        services.iter().map(|(service, it)| (service.clone(), it.unserved)),
    )
}

fn servers<'s>(
    services: &'s [(Labels, &'s LoadBalancer)],
) -> impl Iterator<Item = (Labels, &'s Apiserver)> {
    services.iter().flat_map(|(service, balancer)| {
        balancer.apiservers.iter().map(move |it| (joined(service, labels(it)), it))
    })
}

fn joined(first: &Labels, second: Labels) -> Labels {
    first.iter().cloned().chain(second).collect()
}
