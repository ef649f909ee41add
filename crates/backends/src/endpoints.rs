//! The `kubernetes` endpoints, as Kubernetes objects and as addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The service whose endpoints are the apiservers.
pub(crate) const SERVICE: &str = "kubernetes";
/// The namespace of that service.
pub(crate) const NAMESPACE: &str = "default";
/// The port name an apiserver gives its endpoint.
const PORT: &str = "https";

/// The ready addresses of all `slices` together.
pub(crate) fn of_slices<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten();
        let ports = ports.filter_map(|it| Some((it.name.as_deref(), it.port?)));
        let Some(port) = choose_port(ports) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            // "A nil value should be interpreted as true" (EndpointConditions.ready).
            let ready = endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
            if !ready {
                continue;
            }
            let ips = endpoint.addresses.iter().filter_map(|it| it.parse::<IpAddr>().ok());
            addresses.extend(ips.map(|ip| SocketAddr::new(ip.to_canonical(), port)));
        }
    }
    addresses
}

/// The ready addresses of `endpoints`.
pub(crate) fn of_endpoints(endpoints: &Endpoints) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().map(|it| (it.name.as_deref(), it.port));
        let Some(port) = choose_port(ports) else { continue };
        let ready = subset.addresses.iter().flatten();
        let ips = ready.filter_map(|it| it.ip.parse::<IpAddr>().ok());
        addresses.extend(ips.map(|ip| SocketAddr::new(ip.to_canonical(), port)));
    }
    addresses
}

/// The port named `https`, or else the only one.
fn choose_port<'a>(ports: impl Iterator<Item = (Option<&'a str>, i32)>) -> Option<u16> {
    let ports: Vec<_> = ports.collect();
    let (_, port) = match ports.iter().find(|(name, _)| *name == Some(PORT)) {
        Some(named) => named,
        None => match ports.as_slice() {
            [only] => only,
            _ => return None,
        },
    };
    u16::try_from(*port).ok().filter(|it| *it != 0)
}

#[cfg(test)]
mod tests;
