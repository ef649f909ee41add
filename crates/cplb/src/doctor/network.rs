//! Programs and settings of this host that take a virtual IP away or keep it silent.

use std::fs;
use std::path::Path;

use super::Finding;
use super::target::Router;

#[cfg(test)]
mod tests;

const MANAGER: &str = "network-manager";
const SYSCTL: &str = "sysctl";

/// Judges the state file of systemd-networkd for the interface, and the .network file it names.
pub(crate) fn check_networkd(
    interface: &str,
    state: &str,
    network_file: Option<&str>,
) -> Option<Finding> {
    let managed = state.lines().any(|line| line == "ADMIN_STATE=configured");
    if !managed {
        return None;
    }
    let keeps = |text: &str| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix("KeepConfiguration="));
        value.is_some_and(|value| matches!(value.trim(), "yes" | "static"))
    };
    if network_file.is_some_and(keeps) {
        return Some(Finding::ok(
            MANAGER,
            format!("systemd-networkd manages {interface} and keeps foreign addresses"),
        ));
    }
    let file = state
        .lines()
        .find_map(|line| line.strip_prefix("NETWORK_FILE="))
        .unwrap_or("its .network file");
    Some(
        Finding::warning(MANAGER, format!("systemd-networkd manages {interface} ({file})"))
            .because("when it is restarted or reconfigures the interface it removes addresses it does not know, the virtual IP too; cplb puts it back at once, connections may still break")
            .advise(format!(
                "set KeepConfiguration=static in section [Network] of {file}, and ManageForeignRoutingPolicyRules=no and ManageForeignRoutes=no in /etc/systemd/networkd.conf"
            )),
    )
}

/// Judges NetworkManager's state file for the interface.
pub(crate) fn check_network_manager(interface: &str, state: &str) -> Option<Finding> {
    let managed = state.lines().any(|line| line == "managed=full" || line == "managed=true");
    let connected = state.lines().any(|line| line.starts_with("connection-uuid="));
    (managed || connected).then(|| {
        Finding::warning(MANAGER, format!("NetworkManager manages {interface}"))
            .because("when the connection is activated again it removes addresses it does not know, the virtual IP too; cplb puts it back at once, connections may still break")
            .advise("activate the connection only while another node holds the virtual IP (`nmcli device reapply` keeps addresses)")
    })
}

/// Judges kernel settings around a router's interface. `read` gives the value of a setting below
/// net.
pub(crate) fn check_sysctls(router: &Router, read: impl Fn(&str) -> Option<u32>) -> Vec<Finding> {
    let interface = &router.link.name;
    // For these the kernel takes the larger value of both (ip-sysctl).
    let larger = |name: &str| {
        let of = |place: &str| read(&format!("ipv4/conf/{place}/{name}"));
        of("all").max(of(interface))
    };
    let mut findings = Vec::new();
    if router.is_ipv4() {
        let alone = router.addresses.iter().any(|address| address.prefix_length == 32);
        match larger("arp_ignore") {
            Some(8) => findings.push(silent(interface, 8, "no ARP request for a local address is answered")),
            Some(value @ 2) if alone => findings.push(silent(
                interface,
                value,
                "an address with prefix length 32 is in no subnet with anybody, so nobody who asks is answered",
            )),
            _ => {}
        }
        if larger("drop_gratuitous_arp").is_some_and(|value| value > 0) {
            findings.push(
                Finding::warning(SYSCTL, format!("net.ipv4.conf.{interface}.drop_gratuitous_arp is set"))
                    .because("this host does not notice that the virtual IP has moved until its neighbour entry grows old")
                    .advise("set it to 0, for `all` too"),
            );
        }
        return findings;
    }
    if read(&format!("ipv6/conf/{interface}/disable_ipv6")) == Some(1) {
        findings.push(
            Finding::error(SYSCTL, format!("IPv6 is switched off on {interface}"))
                .because("an IPv6 virtual IP cannot be put on it")
                .advise(format!("sysctl -w net.ipv6.conf.{interface}.disable_ipv6=0")),
        );
    }
    findings
}

fn silent(interface: &str, value: u32, why: &str) -> Finding {
    Finding::error(SYSCTL, format!("arp_ignore is {value} on {interface}"))
        .because(format!("{why}: the virtual IP cannot be reached"))
        .advise(format!(
            "set net.ipv4.conf.{interface}.arp_ignore and net.ipv4.conf.all.arp_ignore to 0 or 1"
        ))
}

/// Looks at the managers and settings of this host for every router.
pub(crate) fn look(routers: &[Router]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = Vec::new();
    let mut sysctls = Vec::new();
    for router in routers {
        sysctls.extend(check_sysctls(router, |name| {
            fs::read_to_string(Path::new("/proc/sys/net").join(name)).ok()?.trim().parse().ok()
        }));
        if seen.contains(&router.link.index) {
            continue;
        }
        seen.push(router.link.index);
        findings.extend(managers(&router.link.name, router.link.index));
    }
    if sysctls.is_empty() && !routers.is_empty() {
        sysctls.push(Finding::ok(SYSCTL, "no setting keeps a virtual IP silent"));
    }
    sysctls.dedup();
    findings.extend(sysctls);
    findings
}

fn managers(interface: &str, index: u32) -> Vec<Finding> {
    let networkd = fs::read_to_string(format!("/run/systemd/netif/links/{index}")).ok();
    let networkd = networkd.and_then(|state| {
        let file = state.lines().find_map(|line| line.strip_prefix("NETWORK_FILE="));
        let file = file.and_then(|file| fs::read_to_string(file).ok());
        check_networkd(interface, &state, file.as_deref())
    });
    let manager = fs::read_to_string(format!("/run/NetworkManager/devices/{index}")).ok();
    let manager = manager.and_then(|state| check_network_manager(interface, &state));
    networkd.into_iter().chain(manager).collect()
}
