//! Who answers for the virtual IPs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use kernel::Error;
use kernel::link::{Link, Mac};
use kernel::probe::Probe;

use super::Finding;

#[cfg(test)]
mod tests;

const CHECK: &str = "virtual-ip";
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_millis(250);

/// What is known of one virtual IP.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) address: IpAddr,
    pub(crate) interface: String,
    pub(crate) router_id: u8,
    /// An interface of this host has it.
    pub(crate) here: bool,
    /// The hardware addresses that answered for it, this host's not among them.
    pub(crate) answered: BTreeSet<Mac>,
    /// The other nodes that advertise it, each with the hardware addresses that answered for it.
    pub(crate) advertised_by: BTreeMap<IpAddr, BTreeSet<Mac>>,
}

/// Judges one virtual IP.
pub(crate) fn check(evidence: &Evidence) -> Finding {
    let Evidence { address, interface, here, answered, advertised_by, .. } = evidence;
    let place = format!("{address} on {interface}");
    let macs: Vec<String> = answered.iter().map(ToString::to_string).collect();
    let macs = macs.join(" and ");
    if *here && !answered.is_empty() {
        return Finding::error(
            CHECK,
            format!("{place} is on this node and answered by {macs} too"),
        )
        .because(TWO)
        .advise(FIND);
    }
    if answered.len() > 1 {
        return Finding::error(CHECK, format!("{place} is answered by {macs}"))
            .because(TWO)
            .advise(FIND);
    }
    if *here {
        return Finding::ok(CHECK, format!("{place} is on this node, nobody else answers for it"));
    }
    let holders: Vec<String> = advertised_by.keys().map(ToString::to_string).collect();
    match (answered.first(), holders.as_slice()) {
        (None, []) => Finding::ok(CHECK, format!("{place} is on no node and answered by nobody")),
        (None, holders) => {
            let holders = holders.join(", ");
            Finding::warning(CHECK, format!("{place} is advertised by {holders} and answered by nobody"))
                .because("hosts cannot reach the virtual IP")
                .advise("look on that node: is the address on its interface (`ip address`), and does arp_ignore let it answer?")
        }
        (Some(mac), []) => Finding::error(
            CHECK,
            format!("{place} is answered by {mac}, which speaks no VRRP that is heard here"),
        )
        .because(
            "another machine has the address: connections end there, and cplb refuses to start",
        )
        .advise(FIND),
        (Some(mac), holders) if evidence.is_holders(*mac) => {
            Finding::ok(CHECK, format!("{place} is at {}", holders.join(", ")))
        }
        (Some(mac), holders) => Finding::error(
            CHECK,
            format!("{place} is advertised by {} but answered by {mac}", holders.join(", ")),
        )
        .because(TWO)
        .advise(FIND),
    }
}

const TWO: &str = "two machines have the address: which one a host reaches is chance";
const FIND: &str = "find that machine by its hardware address (switch, `ip neighbour`), and take the address off it; proxy ARP answers like this too";

impl Evidence {
    /// The holder's own hardware address, or the virtual one of RFC 9568 section 7.3. A holder
    /// that does not answer for its own address proves nothing.
    fn is_holders(&self, mac: Mac) -> bool {
        let family = if self.address.is_ipv4() { 1 } else { 2 };
        mac == Mac([0x00, 0x00, 0x5e, 0x00, family, self.router_id])
            || self.advertised_by.values().any(|macs| macs.is_empty() || macs.contains(&mac))
    }
}

/// Asks the link who has these addresses; takes a second. Nobody's cache changes by it.
///
/// # Errors
/// Without CAP_NET_RAW, or when the link is gone.
pub(crate) fn ask(
    link: &Link,
    addresses: &BTreeSet<IpAddr>,
) -> Result<BTreeMap<IpAddr, BTreeSet<Mac>>, Error> {
    let mut answers: BTreeMap<IpAddr, BTreeSet<Mac>> = BTreeMap::new();
    let Some(mac) = link.mac else { return Ok(answers) };
    let mut probe = Probe::open(link.index, mac)?;
    for _ in 0..ROUNDS {
        for address in addresses {
            // A link that is down answers nothing, which is what the result then says.
            let _ = probe.ask(*address);
        }
        std::thread::sleep(ROUND);
        for answer in probe.answers().unwrap_or_default() {
            answers.entry(answer.address).or_default().insert(answer.mac);
        }
    }
    Ok(answers)
}
