use std::fmt;

use super::{Families, Labels, unix_time, virtual_servers};
use crate::status::{Apiserver, LoadBalancer};

/// `proxied`: the connections go through this process, which can count them.
pub(super) fn encode(
    families: &mut Families<'_>,
    balancer: &LoadBalancer,
    proxied: bool,
) -> fmt::Result {
    health(families, &balancer.apiservers)?;
    if proxied {
        connections(families, balancer)?;
        backends(families, &balancer.apiservers)?;
    }
    virtual_servers::encode(families, &balancer.virtual_servers)?;
    families.gauge(
        "cplb_discovery_fail_open",
        "1 while no apiserver is healthy and all known ones stay in use",
        [(vec![], u64::from(balancer.discovery.fail_open))],
    )?;
    families.seconds(
        "cplb_discovery_last_read_timestamp",
        "When the list of apiservers was last read in full from the cluster, in Unix time",
        balancer.discovery.discovery.read.map(|read| (vec![], unix_time(read))),
    )
}

fn connections(families: &mut Families<'_>, balancer: &LoadBalancer) -> fmt::Result {
    families.counter(
        "cplb_connections_accepted",
        "Client connections taken, rejected ones included",
        balancer
            .listeners
            .iter()
            .map(|it| (vec![("listener", it.address.to_string())], it.accepted)),
    )?;
    families.gauge(
        "cplb_connections_open",
        "Client connections open now",
        [(vec![], balancer.open as u64)],
    )?;
    families.gauge(
        "cplb_connections_limit",
        "Most client connections open at once",
        [(vec![], balancer.limit as u64)],
    )?;
    families.counter(
        "cplb_connections_rejected",
        "Client connections reset right after they were accepted",
        rejected(balancer),
    )?;
    for (name, help, count) in [
        (
            "cplb_connections_unserved",
            "Client connections reset because every backend failed them",
            balancer.unserved,
        ),
        (
            "cplb_connections_gone",
            "Client connections that ended before a backend served them",
            balancer.gone,
        ),
        (
            "cplb_connections_reset",
            "Established connections that ended by a reset of either side",
            balancer.resets,
        ),
        (
            "cplb_connections_rebalanced",
            "Connections ended for the sake of an apiserver that had come back",
            balancer.rebalanced,
        ),
        (
            "cplb_accept_errors",
            "Times the kernel refused to accept for want of descriptors or memory",
            balancer.accept_errors,
        ),
        (
            "cplb_backend_races",
            "Further backends tried beside one that had not accepted yet",
            balancer.raced,
        ),
        (
            "cplb_backend_hedges",
            "Further backends tried beside one that stayed silent",
            balancer.hedges,
        ),
        (
            "cplb_backend_replays",
            "Times a client's first bytes were sent to a further backend",
            balancer.replays,
        ),
    ] {
        families.counter(name, help, [(vec![], count)])?;
    }
    Ok(())
}

fn health(families: &mut Families<'_>, backends: &[Apiserver]) -> fmt::Result {
    families.gauge(
        "cplb_backend_healthy",
        "1 while the checks find the apiserver healthy",
        backends.iter().map(|it| (labels(it), u64::from(it.health == "healthy"))),
    )?;
    families.gauge(
        "cplb_backend_usable",
        "1 while new connections may go to the apiserver",
        backends.iter().map(|it| (labels(it), u64::from(it.usable))),
    )?;
    families.seconds(
        "cplb_backend_check_latency",
        "How long the last good health check took, from connect to answer",
        backends.iter().filter_map(|it| Some((labels(it), it.latency_ms? / 1_000.0))),
    )
}

fn backends(families: &mut Families<'_>, backends: &[Apiserver]) -> fmt::Result {
    families.gauge(
        "cplb_backend_connections_open",
        "Client connections that the apiserver serves now",
        backends.iter().map(|it| (labels(it), it.open as u64)),
    )?;
    families.counter(
        "cplb_backend_connects",
        "Connects begun",
        backends.iter().map(|it| (labels(it), it.connects)),
    )?;
    families.counter(
        "cplb_backend_retries",
        "Connects begun because another apiserver had failed before its first byte",
        backends.iter().map(|it| (labels(it), it.retries)),
    )?;
    families.counter(
        "cplb_backend_failures",
        "Connects that failed before the first byte",
        backends.iter().flat_map(|it| {
            it.failures_by_reason.iter().map(|(reason, count)| {
                let mut labels = labels(it);
                labels.push(("reason", (*reason).to_owned()));
                (labels, *count)
            })
        }),
    )?;
    families.histogram(
        "cplb_backend_connect_latency",
        "How long clients' connects to the apiserver took",
        backends.iter().map(|it| (labels(it), &it.connect_latency)),
    )?;
    families.bytes(
        "cplb_backend_sent",
        "Bytes sent to the apiserver",
        backends.iter().map(|it| (labels(it), it.bytes_up)),
    )?;
    families.bytes(
        "cplb_backend_received",
        "Bytes received from the apiserver",
        backends.iter().map(|it| (labels(it), it.bytes_down)),
    )
}

/// By listener and reason, and without a listener what the listeners have no part in.
pub(super) fn rejected(balancer: &LoadBalancer) -> Vec<(Labels, u64)> {
    let mut rejected = Vec::new();
    for (reason, count) in &balancer.rejected_by_reason {
        let mut elsewhere = *count;
        for listener in &balancer.listeners {
            let here = listener.rejected_by_reason.get(reason).copied().unwrap_or_default();
            elsewhere = elsewhere.saturating_sub(here);
            let mut labels = label("listener", &listener.address.to_string());
            labels.extend(label("reason", reason));
            rejected.push((labels, here));
        }
        if elsewhere > 0 {
            rejected.push((label("reason", reason), elsewhere));
        }
    }
    rejected
}

pub(super) fn labels(backend: &Apiserver) -> Labels {
    label("backend", &backend.address.to_string())
}

pub(super) fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}
