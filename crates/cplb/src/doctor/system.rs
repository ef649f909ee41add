//! What the kernel can do, and what the daemon is allowed to.

use std::fs;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

use super::{Daemon, Finding};

#[cfg(test)]
mod tests;

const KERNEL: &str = "kernel";
const LIMITS: &str = "limits";

/// Version of the kernel: major and minor.
pub(crate) type Version = (u32, u32);

/// IFA_PROTO: addresses carry the mark of who put them there.
const MARKED_ADDRESSES: Version = (5, 18);
/// NFT_TABLE_F_OWNER: a table ends with its process.
const OWNED_TABLES: Version = (5, 12);
/// Two descriptors a connection; fewer than this serve no cluster of some hundred nodes.
const FEW_DESCRIPTORS: u64 = 65_536;

/// Judges the kernel of this version. `has` says whether a module is there, `None` for unknown.
pub(crate) fn check_kernel(
    version: Option<Version>,
    ipvs: bool,
    has: impl Fn(&str) -> Option<bool>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((major, minor)) = version.filter(|version| *version < OWNED_TABLES) {
        findings.push(
            Finding::warning(
                KERNEL,
                format!("Linux {major}.{minor} cannot tie firewall rules to a process"),
            )
            .because("after a SIGKILL they stay until the next start or `cplb cleanup`")
            .advise("run `cplb cleanup` in ExecStopPost of the unit, or take Linux 5.12 or later"),
        );
    }
    if let Some((major, minor)) = version.filter(|version| *version < MARKED_ADDRESSES) {
        findings.push(
            Finding::warning(
                KERNEL,
                format!("Linux {major}.{minor} cannot mark addresses (IFA_PROTO)"),
            )
            .because("what an earlier run left is told from others' by its lifetime alone")
            .advise("Linux 5.18 or later does it"),
        );
    }
    for module in ["nf_tables", "nft_chain_nat", "nft_redir"] {
        if has(module) == Some(false) {
            findings.push(
                Finding::warning(KERNEL, format!("the module {module} is neither loaded nor installed"))
                    .because("connections are then redirected by iptables, whose rules outlive a killed process")
                    .advise("install the kernel's extra modules, or set loadBalancer.redirect: iptables knowingly"),
            );
        }
    }
    if ipvs && has("ip_vs") == Some(false) {
        findings.push(
            Finding::error(KERNEL, "the module ip_vs is neither loaded nor installed")
                .because("virtualServers are balanced by IPVS")
                .advise("install the kernel's extra modules, or take virtualServers out of the document"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(KERNEL, "it has all that is needed"));
    }
    findings
}

/// Judges what a daemon may use. `limits` is the text of its /proc/PID/limits.
pub(crate) fn check_limits(limits: &str, realtime: bool, whose: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(most) = descriptors(limits).filter(|most| *most < FEW_DESCRIPTORS) {
        findings.push(
            Finding::warning(LIMITS, format!("{whose} may open {most} descriptors"))
                .because(format!("each connection takes two, so it serves about {}", most / 2))
                .advise("set LimitNOFILE=1048576 in its unit"),
        );
    }
    if !realtime {
        findings.push(
            Finding::warning(LIMITS, format!("{whose} has no real-time priority"))
                .because("when every core is busy its advertisements come late, and another node takes over")
                .advise("run it as root or with CAP_SYS_NICE; in a control group with CONFIG_RT_GROUP_SCHED set cpu.rt_runtime_us"),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            LIMITS,
            format!("{whose} may run in real time and open enough descriptors"),
        ));
    }
    findings
}

/// Looks at the kernel of this host.
pub(crate) fn kernel(ipvs: bool) -> Vec<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let directory = Path::new("/lib/modules").join(&release);
    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
    let (builtin, installed) = (read("modules.builtin"), read("modules.dep"));
    check_kernel(parse_version(&release), ipvs, |module| {
        // Loaded, or compiled in and with a presence in sysfs.
        if Path::new("/sys/module").join(module).exists() {
            return Some(true);
        }
        let (builtin, installed) = (builtin.as_deref()?, installed.as_deref()?);
        Some(names_module(builtin, module) || names_module(installed, module))
    })
}

/// Looks at the daemon's limits, or at those of this process where none runs.
pub(crate) fn limits(daemon: Option<&Daemon>) -> Vec<Finding> {
    let Some(daemon) = daemon else {
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        return check_limits(
            &limits,
            may_be_realtime(&limits),
            "a daemon started like this command",
        );
    };
    let status = &daemon.status;
    let limits = fs::read_to_string(format!("/proc/{}/limits", status.pid)).unwrap_or_default();
    check_limits(&limits, status.realtime, "the daemon")
}

fn may_be_realtime(limits: &str) -> bool {
    let capable = capabilities(None).is_ok_and(|it| it.effective.contains(CapabilitySet::SYS_NICE));
    capable || limit(limits, "Max realtime priority", Column::Soft).is_some_and(|most| most > 0)
}

fn descriptors(limits: &str) -> Option<u64> {
    // The daemon raises its soft limit to the hard one.
    limit(limits, "Max open files", Column::Hard)
}

/// Where /proc/PID/limits has which limit, after the name.
#[derive(Clone, Copy)]
enum Column {
    Soft = 0,
    Hard = 1,
}

/// The limit of that name; `None` where it is unlimited or missing.
fn limit(limits: &str, name: &str, column: Column) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(column as usize)?.parse().ok()
}

/// Whether a list such as modules.dep names the module's file.
fn names_module(list: &str, module: &str) -> bool {
    list.lines().any(|line| {
        let file =
            line.split(':').next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        file.strip_prefix(module).is_some_and(|rest| rest.starts_with(".ko"))
    })
}

fn parse_version(release: &str) -> Option<Version> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
