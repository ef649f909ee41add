//! Whether the kernel takes what clients send to a virtual IP by a way it would not answer by.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::Finding;
use super::target::Router;

#[cfg(test)]
mod tests;

const CHECK: &str = "rp_filter";

/// rp_filter of ip-sysctl: a packet is dropped unless the best way back is the interface it came
/// in by (RFC 3704, section 2.2).
const STRICT: u32 = 1;

/// Judges the filter of a router's interface. `read` gives the value of a setting below net.
pub(crate) fn check(
    router: &Router,
    routes: &Routes,
    read: impl Fn(&str) -> Option<u32>,
) -> Option<Finding> {
    let interface = &router.link.name;
    // For this one the kernel takes the larger value of both (ip-sysctl).
    let of = |place: &str| read(&format!("ipv4/conf/{place}/rp_filter"));
    if of("all").max(of(interface)) != Some(STRICT) {
        return None;
    }
    let neighbours = router.addresses.iter().filter_map(|vip| match vip.address {
        IpAddr::V4(address) => Some(("neighbours of the virtual IP", routes.way_to(address)?)),
        IpAddr::V6(_) => None,
    });
    let beyond = routes.default_way().map(|way| ("clients beyond its subnet", way));
    let beyond = beyond.filter(|_| router.is_ipv4());
    let (who, other) = neighbours.chain(beyond).find(|(_, way)| way != interface)?;
    Some(
        Finding::warning(
            CHECK,
            format!("rp_filter is strict on {interface}, and the way back to {who} is {other}"),
        )
        .because(format!(
            "what they send to the virtual IP arrives on {interface} and is dropped without a word"
        ))
        .advise(format!(
            "set net.ipv4.conf.{interface}.rp_filter=2 (loose), or give {interface} the route to them"
        )),
    )
}

/// Looks at the filter of every router's interface.
pub(crate) fn look(routers: &[Router]) -> Vec<Finding> {
    let routes = Routes::parse(&fs::read_to_string("/proc/self/net/route").unwrap_or_default());
    let read = |name: &str| {
        fs::read_to_string(Path::new("/proc/sys/net").join(name)).ok()?.trim().parse().ok()
    };
    let mut findings: Vec<Finding> =
        routers.iter().filter_map(|router| check(router, &routes, read)).collect();
    findings.dedup();
    if findings.is_empty() && routers.iter().any(Router::is_ipv4) {
        findings.push(Finding::ok(CHECK, "no client is filtered for the way back to it"));
    }
    findings
}

/// The IPv4 routes of the main table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routes(Vec<Route>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    interface: String,
    destination: u32,
    mask: u32,
    metric: u32,
}

impl Routes {
    /// Reads /proc/net/route (proc(5)).
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().skip(1).filter_map(Route::parse).collect())
    }

    /// The interface that a packet to this address leaves by; never the default route's.
    fn way_to(&self, address: Ipv4Addr) -> Option<String> {
        let address = address.to_bits();
        let fitting = self.0.iter().filter(|it| it.mask != 0);
        let fitting = fitting.filter(|it| address & it.mask == it.destination);
        // The most special, then the lowest metric, then the first.
        let best = fitting.min_by_key(|it| (it.mask.count_zeros(), it.metric))?;
        Some(best.interface.clone())
    }

    fn default_way(&self) -> Option<String> {
        let default = self.0.iter().filter(|it| it.mask == 0).min_by_key(|it| it.metric)?;
        Some(default.interface.clone())
    }
}

impl Route {
    fn parse(line: &str) -> Option<Self> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        // Addresses are printed as numbers of the machine's own byte order.
        let address = |at: usize| {
            let number = u32::from_str_radix(columns.get(at)?, 16).ok()?;
            Some(u32::from_be_bytes(number.to_ne_bytes()))
        };
        Some(Self {
            interface: (*columns.first()?).to_owned(),
            destination: address(1)?,
            mask: address(7)?,
            metric: columns.get(6)?.parse().ok()?,
        })
    }
}
