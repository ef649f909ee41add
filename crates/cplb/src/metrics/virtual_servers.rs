//! What the kernel balances (IPVS).

use std::fmt;

use super::load_balancer::label;
use super::{Families, Labels};
use crate::status::{InKernel, RealServer, VirtualServer};

pub(super) fn encode(families: &mut Families<'_>, servers: &[VirtualServer]) -> fmt::Result {
    families.info("cplb_virtual_server", "IPVS services", servers.iter().map(info))?;
    families.gauge(
        "cplb_virtual_server_here",
        "1 while this node has the service, as the holder of its address",
        servers.iter().map(|it| (labels(it), u64::from(it.here))),
    )?;
    for (name, help, number) in [
        (
            "cplb_real_server_weight",
            "Weight of the apiserver in the kernel; 0 gives it no new connections",
            (|it| it.weight) as fn(InKernel) -> u32,
        ),
        (
            "cplb_real_server_connections_active",
            "Established connections by the IPVS service to the apiserver",
            |it| it.active,
        ),
        (
            "cplb_real_server_connections_inactive",
            "Connections by the IPVS service to the apiserver that are not established yet or any more",
            |it| it.inactive,
        ),
    ] {
        let sample = |(labels, server): (Labels, &RealServer)| {
            Some((labels, u64::from(number(server.in_kernel?))))
        };
        families.gauge(name, help, real_servers(servers).filter_map(sample))?;
    }
    families.gauge(
        "cplb_real_server_left_out",
        "1 while the apiserver gets no new connections by the IPVS service, for this reason",
        real_servers(servers).filter_map(|(mut labels, server)| {
            labels.extend(label("reason", server.left_out?.label()));
            Some((labels, 1_u64))
        }),
    )
}

fn info(server: &VirtualServer) -> Labels {
    let mut info = labels(server);
    info.extend(label("scheduler", &server.scheduler));
    info.extend(label("forwarding", server.forwarding));
    if let Some(seconds) = server.persistence_seconds {
        info.extend(label("persistence_seconds", &seconds.to_string()));
    }
    info
}

fn labels(server: &VirtualServer) -> Labels {
    label("address", &server.address.to_string())
}

/// Each with the labels that name it.
fn real_servers(servers: &[VirtualServer]) -> impl Iterator<Item = (Labels, &RealServer)> {
    servers.iter().flat_map(|server| {
        server.real_servers.iter().map(|real_server| {
            let mut labels = labels(server);
            labels.extend(label("backend", &real_server.address.to_string()));
            (labels, real_server)
        })
    })
}
