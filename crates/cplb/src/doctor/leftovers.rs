//! What is in the kernel of cplb or k0s although nobody maintains it.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::process::{Command, Stdio};

use kernel::address::Found;
use kernel::netlink::{Message, Protocol, Socket};
use kernel::redirect::TABLE;

use super::Finding;
use crate::address_labels;
use crate::error::Error;

#[cfg(test)]
mod tests;

const CHECK: &str = "leftovers";

/// What was found in the kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) addresses: Vec<Found>,
    pub(crate) tables: Vec<Table>,
    /// The nat tables as `iptables-save` prints them.
    pub(crate) nat: String,
    /// Labels that the daemon of the run directory set, or an earlier one left.
    pub(crate) labels: Vec<Ipv6Addr>,
}

/// An nftables table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// A living process owns it (NFT_TABLE_F_OWNER).
    pub(crate) owned: bool,
}

/// Who maintains virtual IPs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maintainers {
    /// A daemon of cplb.
    pub(crate) cplb: bool,
    /// keepalived or kube-vip.
    pub(crate) others: bool,
}

/// Judges what was found.
pub(crate) fn check(
    kernel: &Kernel,
    virtual_addresses: &[IpAddr],
    api_port: u16,
    maintainers: Maintainers,
) -> Vec<Finding> {
    // A table that a living process owns belongs to a daemon with another run directory.
    let cplb = maintainers.cplb || kernel.tables.iter().any(|it| it.name == TABLE && it.owned);
    let mut findings = Vec::new();
    for found in &kernel.addresses {
        findings.extend(check_address(found, virtual_addresses, cplb, maintainers.others));
    }
    if !cplb && kernel.tables.iter().any(|table| table.name == TABLE) {
        findings.push(
            Finding::error(CHECK, format!("the nftables table {TABLE} is there, and no daemon"))
                .because("connections to the virtual IP are led to a port that nobody serves")
                .advise(CLEANUP),
        );
    }
    if !cplb && kernel.nat.lines().any(|line| line.starts_with(":CPLB-")) {
        findings.push(
            Finding::error(CHECK, "the iptables chains CPLB-* are there, and no daemon")
                .because("connections to the virtual IP are led to a port that nobody serves")
                .advise(CLEANUP),
        );
    }
    if !cplb && !kernel.labels.is_empty() {
        let addresses: Vec<String> = kernel.labels.iter().map(ToString::to_string).collect();
        findings.push(
            Finding::warning(
                CHECK,
                format!("the address label of {} is there, and no daemon", addresses.join(", ")),
            )
            .because(
                "an address with this label is chosen last as the source of connections (RFC 6724)",
            )
            .advise(CLEANUP),
        );
    }
    let redirects = kernel.nat.lines().filter_map(Redirect::parse);
    for redirect in redirects {
        if redirect.port == api_port && virtual_addresses.contains(&redirect.address) {
            findings.push(foreign_redirect(&redirect));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "nothing is left of an earlier run"));
    }
    findings
}

const CLEANUP: &str = "`cplb cleanup` removes it, and so does the next start of the daemon";

fn check_address(
    found: &Found,
    virtual_addresses: &[IpAddr],
    cplb: bool,
    others: bool,
) -> Option<Finding> {
    let address = found.virtual_address();
    if found.ours && !cplb {
        return Some(
            Finding::error(
                CHECK,
                format!("{address} carries the mark of cplb, and no daemon runs"),
            )
            .because("this node answers for the virtual IP beside the one that holds it")
            .advise(CLEANUP),
        );
    }
    let unmarked = virtual_addresses.contains(&found.address) && !found.ours;
    // Kernels before 5.18 keep no mark; the lifetime tells there.
    if !unmarked || others || (cplb && found.valid_for.is_some()) {
        return None;
    }
    Some(
        Finding::error(CHECK, format!("the virtual IP {address} is on this host and nobody maintains it"))
            .because("the node answers for it for ever, and cplb refuses to take over what is not its own")
            .advise(format!(
                "`ip address del {address} dev INTERFACE`, and take it out of the network configuration (netplan, ifcfg, .network)"
            )),
    )
}

fn foreign_redirect(redirect: &Redirect) -> Finding {
    let Redirect { address, port, to, .. } = redirect;
    Finding::error(CHECK, format!("an iptables rule redirects {address}:{port} to port {to}"))
        .because("k0s makes such rules and leaves them when it is killed: they send connections past cplb, to a port that perhaps nobody serves")
        .advise(format!("stop k0s' own load balancer, then remove it: iptables -t nat {}", redirect.deletion))
}

/// A rule that redirects a port of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Redirect {
    address: IpAddr,
    port: u16,
    to: u16,
    /// The arguments that delete it.
    deletion: String,
}

impl Redirect {
    /// Reads a line of `iptables-save`; `None` for any other rule, and for our own.
    fn parse(line: &str) -> Option<Self> {
        let rule = line.strip_prefix("-A ").filter(|rule| !rule.starts_with("CPLB-"))?;
        let words: Vec<&str> = rule.split_whitespace().collect();
        let value = |option: &str| {
            words.iter().position(|word| *word == option).and_then(|at| words.get(at + 1)).copied()
        };
        (value("-j") == Some("REDIRECT")).then_some(())?;
        Some(Self {
            address: value("-d")?.split('/').next()?.parse().ok()?,
            port: value("--dport")?.parse().ok()?,
            to: value("--to-ports")?.parse().ok()?,
            deletion: format!("-D {rule}"),
        })
    }
}

impl Kernel {
    /// Looks, without loading any module of the kernel.
    ///
    /// # Errors
    /// When the kernel does not list its addresses, or the run directory cannot be read.
    pub(crate) fn look(run_dir: &Path) -> Result<Self, Error> {
        let addresses = kernel::address::Addresses::open()?.list()?;
        // Without nftables, or without the permission to look, there are none to see.
        let tables = tables().unwrap_or_default();
        let nft = tables.iter().any(|table| table.name == "nat");
        let nat = nat_programs(nft).into_iter().filter_map(save).collect();
        let labels = address_labels::leftovers(run_dir)?;
        Ok(Self { addresses, tables, nat, labels })
    }
}

/// iptables of either make would create what it lists, so each is asked only where its table is.
fn nat_programs(nft: bool) -> Vec<&'static str> {
    let legacy = |file: &str| {
        std::fs::read_to_string(file).is_ok_and(|names| names.lines().any(|name| name == "nat"))
    };
    let mut programs = Vec::new();
    if nft {
        programs.extend(["iptables-nft-save", "ip6tables-nft-save"]);
    }
    if legacy("/proc/net/ip_tables_names") {
        programs.push("iptables-legacy-save");
    }
    if legacy("/proc/net/ip6_tables_names") {
        programs.push("ip6tables-legacy-save");
    }
    programs
}

fn save(program: &str) -> Option<String> {
    let output = Command::new(program).args(["-t", "nat"]).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// linux/netfilter/nf_tables.h
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_OWNER: u16 = 7;
const NFT_MSG_GETTABLE: u16 = 1;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// `struct nfgenmsg`: any family, version 0.
const HEADER: [u8; 4] = [0; 4];

fn tables() -> Result<Vec<Table>, kernel::Error> {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    let question = Message { kind, flags: 0, body: HEADER.to_vec() };
    Socket::open(Protocol::Netfilter)?.dump(&question, "list the nftables tables", |received| {
        let mut table = Table { name: String::new(), owned: false };
        for (attribute, value) in received.attributes(HEADER.len()) {
            match attribute {
                NFTA_TABLE_NAME => {
                    table.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned();
                }
                NFTA_TABLE_OWNER => table.owned = true,
                _ => {}
            }
        }
        Ok(Some(table))
    })
}
