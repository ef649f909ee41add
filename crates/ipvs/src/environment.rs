//! What has to hold on every node, whoever holds the virtual addresses: the link that carries
//! them, and the kernel's parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use kernel::dummy::Dummy;
use kernel::ipvs::{Forwarding, TunnelEnd};
use kernel::sysctl;

use crate::Error;
use crate::settings::{Settings, VirtualServer};
use crate::state::{Parameter, State};

/// The link that carries the virtual addresses on every node, named as k0s does. Calico and others
/// know from the name that its addresses are not the node's own.
pub const LINK: &str = "dummyvip0";

const TUNNEL_ENDS: [TunnelEnd; 2] = [TunnelEnd::V4, TunnelEnd::V6];

/// What a parameter has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// This value or a larger one, which is stricter.
    AtLeast(u8),
    /// This value.
    Exactly(u8),
}

/// The parameters that `settings` need.
///
/// ARP: the link with the virtual addresses must not be noticed on the wire. By itself Linux
/// answers for an address on any interface, and asks for others in the name of any. Only the
/// interfaces of the virtual addresses are changed, since only hosts on their wire ask for them,
/// and not `all`: that would change the answers on every bridge and pod interface of the node.
/// IPv6 needs none: neighbours are answered for addresses of the same interface only.
fn parameters(settings: &Settings) -> BTreeMap<String, Need> {
    let mut parameters = BTreeMap::new();
    let servers = &settings.virtual_servers;
    if servers.is_empty() {
        return parameters;
    }
    let mut set = |name: String, need| parameters.insert(name, need);
    if servers.iter().any(|server| server.address.is_ipv4()) {
        for interface in &settings.interfaces {
            set(format!("net/ipv4/conf/{interface}/arp_ignore"), Need::AtLeast(1));
            set(format!("net/ipv4/conf/{interface}/arp_announce"), Need::AtLeast(2));
        }
    }
    // A client whose server is gone begins anew at once, instead of talking to nobody.
    set("net/ipv4/vs/expire_nodest_conn".to_owned(), Need::AtLeast(1));
    // Persistence does not hold a client to a server that gets no new connections.
    set("net/ipv4/vs/expire_quiescent_template".to_owned(), Need::AtLeast(1));
    if servers.iter().any(|server| server.scheduler.hashes()) {
        // A connection that another director began goes on here.
        set("net/ipv4/vs/sloppy_tcp".to_owned(), Need::AtLeast(1));
    }
    if servers.iter().any(is_nat_v4) {
        // The director must not tell the real servers of a shorter way to the client, around it.
        // Either of both values allows that.
        for scope in settings.interfaces.iter().map(String::as_str).chain(["all"]) {
            set(format!("net/ipv4/conf/{scope}/send_redirects"), Need::Exactly(0));
        }
    }
    parameters
}

fn is_nat_v4(server: &VirtualServer) -> bool {
    server.forwarding == Forwarding::Masquerading && server.address.is_ipv4()
}

/// NAT takes forwarding. That is not switched on here: it opens the machine for more than this, and
/// for IPv6 ends the acceptance of router advertisements. Every Kubernetes node has it on anyway.
pub(crate) fn check_forwarding(settings: &Settings) -> Result<(), Error> {
    for server in &settings.virtual_servers {
        if server.forwarding != Forwarding::Masquerading {
            continue;
        }
        let (name, parameter) = match server.address.ip() {
            IpAddr::V4(_) => ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
            IpAddr::V6(_) => ("net/ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
        };
        if sysctl::read(name)?.as_deref() == Some("0") {
            return Err(Error::NotForwarding { service: server.address, parameter });
        }
    }
    Ok(())
}

/// Brings it about, and undoes what earlier settings needed and these do not. Says whether anything
/// had to be changed.
pub(crate) fn reconcile(
    settings: &Settings,
    dummy: &mut Dummy,
    state: &mut State,
) -> Result<bool, Error> {
    // The parameters first: from the first moment on, nobody on the wire hears of the addresses.
    let mut changed = reconcile_parameters(settings, state)?;
    if reconcile_tunnel_ends(settings, state)? {
        // A new interface has parameters of its own.
        reconcile_parameters(settings, state)?;
        changed = true;
    }
    let addresses: BTreeSet<IpAddr> = settings.addresses().collect();
    changed |= match addresses.is_empty() {
        true => dummy.remove()?,
        false => dummy.reconcile(&addresses)?,
    };
    Ok(changed)
}

/// Undoes all of it; what was undone, in words.
pub(crate) fn remove(dummy: &mut Dummy, state: &mut State) -> Result<Vec<String>, Error> {
    let mut removed = Vec::new();
    if dummy.remove()? {
        removed.push(format!("the link {LINK}"));
    }
    for end in TUNNEL_ENDS {
        if restore_tunnel_end(end, state)? {
            removed.push(format!("the tunnel by {}", end.name()));
        }
    }
    for (name, parameter) in state.content.parameters.clone() {
        if restore(&name, &parameter)? {
            removed.push(format!("the value {} of {}", parameter.ours, name.replace('/', ".")));
        }
    }
    Ok(removed)
}

fn reconcile_parameters(settings: &Settings, state: &mut State) -> Result<bool, Error> {
    let mut needs = parameters(settings);
    if has_tunnel_v4(settings) {
        let name = reverse_path_filter(TunnelEnd::V4.name());
        if state.content.parameters.contains_key(&name) || filters_strictly()? {
            needs.insert(name, Need::AtLeast(LOOSE));
        }
    }
    let mut changes = Vec::new();
    for (name, need) in &needs {
        // Older kernels lack some of them.
        let Some(value) = sysctl::read(name)? else { continue };
        if !need.is_met_by(&value) {
            changes.push((name, Parameter { before: value, ours: need.value() }));
        }
    }
    state.change(|content| {
        for (name, parameter) in &changes {
            // Once it is ours, the value that we find is not the one to go back to.
            content.parameters.entry((*name).clone()).or_insert_with(|| parameter.clone());
        }
    })?;
    for (name, parameter) in &changes {
        sysctl::write(name, &parameter.ours)?;
    }

    let needless: Vec<(String, Parameter)> = state
        .content
        .parameters
        .iter()
        .filter(|(name, _)| !needs.contains_key(*name))
        .map(|(name, parameter)| (name.clone(), parameter.clone()))
        .collect();
    for (name, parameter) in &needless {
        restore(name, parameter)?;
    }
    state.change(|content| content.parameters.retain(|name, _| needs.contains_key(name)))?;
    Ok(!changes.is_empty() || !needless.is_empty())
}

impl Need {
    fn is_met_by(self, value: &str) -> bool {
        let Ok(value) = value.parse::<u8>() else { return false };
        match self {
            Self::AtLeast(least) => value >= least,
            Self::Exactly(wanted) => value == wanted,
        }
    }

    fn value(self) -> String {
        let (Self::AtLeast(value) | Self::Exactly(value)) = self;
        value.to_string()
    }
}

/// A source is only checked for being reachable at all (ip-sysctl, rp_filter).
const LOOSE: u8 = 2;

fn reverse_path_filter(interface: &str) -> String {
    format!("net/ipv4/conf/{interface}/rp_filter")
}

/// Whether what comes out of the IPv4 tunnel is dropped, since no route by the tunnel leads to its
/// source. The larger one of two values counts, and strict is 1.
fn filters_strictly() -> Result<bool, Error> {
    let mut largest = None;
    for scope in ["all", TunnelEnd::V4.name()] {
        largest = largest.max(sysctl::read(&reverse_path_filter(scope))?);
    }
    Ok(largest.as_deref() == Some("1"))
}

/// Gives a parameter its earlier value back, unless somebody has changed it since.
fn restore(name: &str, parameter: &Parameter) -> Result<bool, Error> {
    match sysctl::read(name)? {
        Some(value) if value == parameter.ours => Ok(sysctl::write(name, &parameter.before)?),
        _ => Ok(false),
    }
}

fn reconcile_tunnel_ends(settings: &Settings, state: &mut State) -> Result<bool, Error> {
    let tunnels = settings.virtual_servers.iter().filter(|it| it.forwarding == Forwarding::Tunnel);
    let addresses: Vec<IpAddr> = tunnels.map(|it| it.address.ip()).collect();
    let mut changed = false;
    for end in TUNNEL_ENDS {
        let wanted = addresses.iter().find(|address| TunnelEnd::of(**address) == end);
        if let Some(address) = wanted {
            if !end.is_on()? {
                state.change(|content| {
                    content.switched_on.insert(end.name().to_owned());
                })?;
            }
            changed |= end.switch_on(*address)?;
        } else {
            changed |= restore_tunnel_end(end, state)?;
        }
    }
    Ok(changed)
}

fn restore_tunnel_end(end: TunnelEnd, state: &mut State) -> Result<bool, Error> {
    end.take_address_off()?;
    if !state.content.switched_on.contains(end.name()) {
        return Ok(false);
    }
    end.switch_off()?;
    state.change(|content| {
        content.switched_on.remove(end.name());
    })?;
    Ok(true)
}

fn has_tunnel_v4(settings: &Settings) -> bool {
    let tunnel = |it: &VirtualServer| it.forwarding == Forwarding::Tunnel && it.address.is_ipv4();
    settings.virtual_servers.iter().any(tunnel)
}
