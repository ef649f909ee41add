//! Which host gets which address. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kernel::address::VirtualAddress;

use crate::Error;
use crate::apiserver::Slices;

#[cfg(test)]
mod tests;

/// The last parts of addresses, where they are free: gateway, first controller, client.
const GATEWAY: u128 = 1;
const FIRST_NODE: u128 = 11;
const CLIENT: u128 = 50;

/// What a world is built from.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The controllers.
    pub nodes: Vec<HostPlan>,
    /// The client.
    pub client: HostPlan,
    /// The switch's own addresses, one per subnet; the first of each family is everybody's default gateway.
    pub gateways: Vec<VirtualAddress>,
    /// The virtual IPs; the client asks the first.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// The name of every host's interface.
    pub interface: String,
    /// The port of the apiservers.
    pub api_port: u16,
    /// The `cplb` program.
    pub binary: PathBuf,
    /// The cluster's document, given to every controller.
    pub document: String,
    /// Who speaks VRRP on the controllers, whatever the document says.
    pub vrrp: VrrpEngine,
    /// More arguments for the controllers.
    pub controller_arguments: Vec<String>,
    /// Which APIs the apiservers offer.
    pub slices: Slices,
    /// How long an apiserver goes on serving after SIGTERM.
    pub shutdown_delay: Duration,
}

/// Who speaks VRRP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VrrpEngine {
    /// cplb itself.
    #[default]
    Builtin,
    /// A keepalived, which has to be installed.
    Keepalived,
}

/// The addresses of a host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostPlan {
    /// With their prefix lengths.
    pub addresses: Vec<VirtualAddress>,
}

impl VrrpEngine {
    /// As `cplb controller --vrrp` takes it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Keepalived => "keepalived",
        }
    }
}

impl Plan {
    /// `nodes` controllers in the subnets of the virtual IPs, with interface `eth0` and port 6443.
    ///
    /// # Errors
    /// When there is no virtual IP or a subnet is too small.
    pub fn new(
        binary: &Path,
        document: &str,
        virtual_addresses: &[VirtualAddress],
        nodes: usize,
    ) -> Result<Self, Error> {
        if virtual_addresses.is_empty() {
            return Err(Error::NoVirtualAddress);
        }
        let mut plan = Self {
            nodes: vec![HostPlan::default(); nodes],
            client: HostPlan::default(),
            gateways: Vec::new(),
            virtual_addresses: virtual_addresses.to_vec(),
            interface: "eth0".to_owned(),
            api_port: 6443,
            binary: binary.to_owned(),
            document: document.to_owned(),
            vrrp: VrrpEngine::default(),
            controller_arguments: Vec::new(),
            slices: Slices::V1,
            shutdown_delay: Duration::ZERO,
        };
        let mut networks = Vec::new();
        for address in virtual_addresses {
            let subnet = Subnet::of(address);
            if !networks.contains(&subnet.network()) {
                networks.push(subnet.network());
                plan.populate(subnet)?;
            }
        }
        Ok(plan)
    }

    /// The virtual IP that the client asks.
    #[must_use]
    pub fn virtual_address(&self) -> IpAddr {
        self.virtual_addresses.first().map_or(IpAddr::from([0, 0, 0, 0]), |first| first.address)
    }

    /// The first gateway of each family.
    pub fn default_gateways(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let first = |ipv6: bool| {
            self.gateways.iter().map(|gateway| gateway.address).find(|one| one.is_ipv6() == ipv6)
        };
        [first(false), first(true)].into_iter().flatten()
    }

    fn populate(&mut self, mut subnet: Subnet) -> Result<(), Error> {
        subnet.taken.extend(self.virtual_addresses.iter().map(|vip| number(vip.address)));
        let too_small = Error::SubnetTooSmall {
            subnet: format!("{}/{}", subnet.network(), subnet.prefix_length),
            nodes: self.nodes.len(),
        };
        let mut places = vec![(GATEWAY, &mut self.gateways), (CLIENT, &mut self.client.addresses)];
        let nodes = (FIRST_NODE..).zip(self.nodes.iter_mut().map(|node| &mut node.addresses));
        places.extend(nodes);
        for (preferred, addresses) in places {
            let Some(address) = subnet.take(preferred) else { return Err(too_small) };
            addresses.push(address);
        }
        Ok(())
    }
}

/// A subnet and the addresses in it that are taken, as numbers.
struct Subnet {
    base: u128,
    ipv6: bool,
    prefix_length: u8,
    taken: Vec<u128>,
}

impl Subnet {
    /// The virtual IP's subnet. One that stands alone (`/32`, `/128`) is put into a common one.
    fn of(address: &VirtualAddress) -> Self {
        let ipv6 = address.address.is_ipv6();
        let (bits, alone, common) = if ipv6 { (128, 127, 64) } else { (32, 31, 24) };
        let prefix_length =
            if address.prefix_length >= alone { common } else { address.prefix_length };
        let host_bits = u32::from(bits - prefix_length);
        let base = number(address.address)
            .checked_shr(host_bits)
            .and_then(|network| network.checked_shl(host_bits))
            .unwrap_or(0);
        Self { base, ipv6, prefix_length, taken: Vec::new() }
    }

    fn network(&self) -> IpAddr {
        self.address(self.base)
    }

    /// The address at `preferred`, or the first free one.
    fn take(&mut self, preferred: u128) -> Option<VirtualAddress> {
        let bits: u8 = if self.ipv6 { 128 } else { 32 };
        // The last is IPv4's broadcast address; more than a few hundred are never looked at.
        let last =
            1_u128.checked_shl(u32::from(bits - self.prefix_length)).unwrap_or(u128::MAX) - 1;
        let free = |host: &u128| *host < last && !self.taken.contains(&(self.base + host));
        let host = Some(preferred).filter(free).or_else(|| (1..last.min(1024)).find(free))?;
        let chosen = self.base + host;
        self.taken.push(chosen);
        let address = self.address(chosen);
        Some(VirtualAddress { address, prefix_length: self.prefix_length })
    }

    fn address(&self, number: u128) -> IpAddr {
        if self.ipv6 {
            return Ipv6Addr::from_bits(number).into();
        }
        u32::try_from(number).map_or(Ipv4Addr::BROADCAST, Ipv4Addr::from_bits).into()
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
