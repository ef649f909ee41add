//! Other programs here that would hold the same virtual IP, or use it as this node's own address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use super::Finding;
use super::processes::Process;
use super::target::Target;

#[cfg(test)]
mod tests;

const CHECK: &str = "rivals";
const NODE_ADDRESS: &str = "node-address";

/// What a keepalived configuration claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) router_ids: BTreeSet<u8>,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// Other holders of virtual IPs that run here. `read` gives the text of a file.
pub(crate) fn check(
    processes: &[Process],
    target: &Target,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<Finding> {
    let ids: BTreeSet<u8> = target.routers.iter().map(|router| router.id).collect();
    let addresses: BTreeSet<IpAddr> = target.addresses().into_iter().collect();
    let mut findings = Vec::new();
    // keepalived's children carry the arguments of their parent.
    let mut seen = BTreeSet::new();
    for process in processes {
        if !seen.insert((&process.name, &process.arguments)) || is_of_cplb(process, processes) {
            continue;
        }
        match process.name.as_str() {
            "keepalived" => {
                let file = keepalived_file(process);
                let claims = read(Path::new(file)).map(|text| claims(&text));
                findings.push(keepalived(process, file, claims, &ids, &addresses));
            }
            "kube-vip" => findings.push(kube_vip(process, &addresses)),
            _ => {}
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no other program here holds virtual IPs"));
    }
    findings
}

/// Whether a component of Kubernetes takes a virtual IP for this node's own address.
pub(crate) fn check_node_address(
    processes: &[Process],
    virtual_addresses: &[IpAddr],
) -> Vec<Finding> {
    const OPTIONS: [&str; 4] =
        ["--node-ip", "--advertise-address", "--initial-advertise-peer-urls", "--listen-peer-urls"];
    let mut findings = Vec::new();
    for process in processes.iter().filter(|it| it.name != "cplb") {
        for option in OPTIONS {
            let Some(value) = process.option(option) else { continue };
            if !virtual_addresses.iter().any(|address| mentions(value, *address)) {
                continue;
            }
            findings.push(
                Finding::error(
                    NODE_ADDRESS,
                    format!("{} (pid {}) runs with {option} {value}", process.name, process.pid),
                )
                .because("that is the virtual IP: this node is lost to the cluster as soon as the address moves")
                .advise(format!("give {option} the node's own address and restart {}", process.name)),
            );
        }
    }
    findings
}

/// Whether a daemon of cplb has started it, or started the keepalived whose child it is.
fn is_of_cplb(process: &Process, all: &[Process]) -> bool {
    all.iter().filter(|one| one.pid == process.parent).any(|parent| match parent.name.as_str() {
        "cplb" => true,
        "keepalived" => is_of_cplb(parent, all),
        _ => false,
    })
}

/// The address as a whole, alone, in a list or in a URL.
fn mentions(value: &str, address: IpAddr) -> bool {
    let bracketed = format!("[{address}]");
    value.split(',').any(|one| {
        let host = one.rsplit_once("//").map_or(one, |(_, host)| host);
        host.parse::<IpAddr>().is_ok_and(|it| it == address)
            || host.starts_with(&bracketed)
            || host.rsplit_once(':').is_some_and(|(host, _)| host == address.to_string())
    })
}

fn keepalived_file(process: &Process) -> &str {
    let short = process.arguments.iter().position(|argument| argument == "-f");
    let short = short.and_then(|at| process.arguments.get(at + 1)).map(String::as_str);
    process.option("--use-file").or(short).unwrap_or("/etc/keepalived/keepalived.conf")
}

fn keepalived(
    process: &Process,
    file: &str,
    claims: Option<Claims>,
    ids: &BTreeSet<u8>,
    addresses: &BTreeSet<IpAddr>,
) -> Finding {
    let whose = match process.variable("_K0S_MANAGED") {
        Some(_) => "the keepalived of k0s",
        None => "keepalived",
    };
    let seen = format!("{whose} runs on this host (pid {}, {file})", process.pid);
    let Some(claims) = claims else {
        return Finding::warning(CHECK, seen)
            .because("its configuration cannot be read: it may hold the same virtual IP")
            .advise("compare its virtual_router_id and virtual_ipaddress with the document");
    };
    let shared_address = claims.addresses.intersection(addresses).next();
    let shared_id = claims.router_ids.intersection(ids).next();
    let advice = match process.variable("_K0S_MANAGED") {
        Some(_) => {
            "let one of both do it: set controlPlaneLoadBalancing.enabled: false in the document that k0s reads and restart k0scontroller, or do not run `cplb controller`"
        }
        None => {
            "stop one of both: `systemctl disable --now keepalived`, or take the instance out of its configuration"
        }
    };
    match (shared_address, shared_id) {
        (Some(address), _) => Finding::error(CHECK, format!("{seen} for {address} as well"))
            .because("both put the address on and take it off, each against the other")
            .advise(advice),
        (None, Some(id)) => Finding::error(CHECK, format!("{seen} as virtual router {id} too"))
            .because(
                "two routers of one host with one identifier: their packets cannot be told apart",
            )
            .advise("choose another virtualRouterID or virtual_router_id"),
        (None, None) => Finding::ok(CHECK, format!("{seen}, for other addresses")),
    }
}

fn kube_vip(process: &Process, addresses: &BTreeSet<IpAddr>) -> Finding {
    let seen = format!("kube-vip runs on this host (pid {})", process.pid);
    let claimed = ["address", "vip_address"].iter().find_map(|name| process.variable(name));
    let claimed =
        claimed.or_else(|| process.option("--address")).or_else(|| process.option("--vip"));
    let shared = claimed
        .and_then(|it| it.split('/').next()?.parse::<IpAddr>().ok())
        .filter(|address| addresses.contains(address));
    match shared {
        Some(address) => Finding::error(CHECK, format!("{seen} for {address} as well"))
            .because("both put the address on and take it off, each against the other")
            .advise(
                "remove its static pod (/etc/kubernetes/manifests/kube-vip.yaml) or its DaemonSet",
            ),
        None => Finding::ok(CHECK, format!("{seen}, for other addresses")),
    }
}

/// Reads the claims of a keepalived.conf, whatever the blocks around them.
pub(crate) fn claims(text: &str) -> Claims {
    let mut claims = Claims::default();
    let mut in_addresses = false;
    for line in text.lines() {
        // keepalived.conf(5): # and ! begin comments.
        let line = line.split(['#', '!']).next().unwrap_or_default();
        let mut words =
            line.split([' ', '\t', '{', '}']).filter(|word| !word.is_empty()).peekable();
        if let Some(&"virtual_router_id") = words.peek() {
            words.next();
            claims.router_ids.extend(words.next().and_then(|word| word.parse::<u8>().ok()));
            continue;
        }
        if let Some(&("virtual_ipaddress" | "virtual_ipaddress_excluded")) = words.peek() {
            words.next();
            in_addresses = true;
        }
        if in_addresses {
            // The address comes first, "dev eth0" and the like after it.
            let address = words.next().and_then(|word| word.split('/').next());
            claims.addresses.extend(address.and_then(|word| word.parse::<IpAddr>().ok()));
        }
        in_addresses &= !line.contains('}');
    }
    claims
}
