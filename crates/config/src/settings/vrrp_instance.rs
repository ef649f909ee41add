//! Virtual routers.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// One entry of `vrrpInstances`: a virtual router.
#[derive(Clone, PartialEq, Eq)]
pub struct VrrpInstance {
    /// The addresses that move together, at least one, at most 255 of a family.
    pub virtual_ips: Vec<Cidr>,
    /// Where the virtual router lives, not yet resolved.
    pub interface: Interface,
    /// 1..=255, unique in the document; 51 plus the index of the instance unless given.
    pub virtual_router_id: u8,
    /// Time between advertisements. Version 2: whole seconds, 1 s to 255 s; version 3: multiples
    /// of 10 ms from 10 ms to 40.95 s. 1 s unless given.
    pub advert_interval: Duration,
    /// Shared secret of VRRPv2, 1 to 8 bytes.
    pub auth_pass: String,
    /// Routers to send to instead of the multicast group; empty for multicast. Every peer is of
    /// the family of `unicast_source_ip`, which is then given.
    pub unicast_peers: Vec<IpAddr>,
    /// The address adverts are sent from; only given together with `unicast_peers`.
    pub unicast_source_ip: Option<IpAddr>,
    /// Label that keeps IPv6 virtual IPs from being source addresses (RFC 6724); 10000 unless given.
    pub address_label: u32,
    /// VRRP version on the wire.
    pub version: VrrpVersion,
    /// 1..=254; 200 unless given.
    pub priority: u8,
    /// Whether a router of higher priority takes over from a lower one; true unless given.
    pub preempt: bool,
    /// How much longer than without it a router of lower priority may go on before it is taken
    /// over from, 0 s to 1000 s; zero unless given, and always without `preempt`.
    pub preempt_delay: Duration,
    /// How long after the start the virtual router takes no part, 0 s to 1000 s; zero unless given.
    pub startup_delay: Duration,
    /// Which VRRPv3 checksum over IPv4 is sent.
    pub checksum: Checksum,
}

impl fmt::Debug for VrrpInstance {
    /// Like the derived one, without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VrrpInstance")
            .field("virtual_ips", &self.virtual_ips)
            .field("interface", &self.interface)
            .field("virtual_router_id", &self.virtual_router_id)
            .field("advert_interval", &self.advert_interval)
            .field("auth_pass", &format_args!("***"))
            .field("unicast_peers", &self.unicast_peers)
            .field("unicast_source_ip", &self.unicast_source_ip)
            .field("address_label", &self.address_label)
            .field("version", &self.version)
            .field("priority", &self.priority)
            .field("preempt", &self.preempt)
            .field("preempt_delay", &self.preempt_delay)
            .field("startup_delay", &self.startup_delay)
            .field("checksum", &self.checksum)
            .finish()
    }
}

/// An address with the length of its network's prefix, host bits included: `10.0.0.100/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The address itself, never that of the network.
    pub address: IpAddr,
    /// 1..=32 for IPv4, 1..=128 for IPv6.
    pub prefix_length: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

/// The network interface of a virtual router, as the document names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interface {
    /// The one that owns the default route.
    #[default]
    DefaultRoute,
    /// By name, 1 to 15 bytes.
    Name(String),
    /// By hardware address.
    Mac([u8; 6]),
}

/// VRRP on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VrrpVersion {
    /// RFC 3768, what k0s' keepalived speaks; IPv4 alone.
    #[default]
    V2,
    /// RFC 9568; IPv4 and IPv6, intervals below a second.
    V3,
}

/// Two readings of RFC 5798 live side by side for VRRPv3 over IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Whichever the peers are heard to use.
    #[default]
    Auto,
    /// With a pseudo header, as keepalived does.
    Keepalived,
    /// Over the VRRP message alone (RFC 9568 5.2.8).
    Rfc9568,
}
