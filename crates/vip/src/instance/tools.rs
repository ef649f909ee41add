use std::net::IpAddr;

use kernel::announce::Announcer;
use kernel::link::{Link, Mac};
use kernel::vrrp_socket::{Family, Mode, OpenOptions, VrrpSocket};
use kernel::witness::Witness;

use crate::{Error, Instance};

/// What belongs to the interface and is lost with it.
pub(super) struct Tools {
    pub(super) socket: VrrpSocket,
    pub(super) announcer: Announcer,
    pub(super) witness: Witness,
    /// Where the announcements say that the addresses are.
    pub(super) mac: Mac,
}

impl Tools {
    pub(super) fn open(instance: &Instance, mac: Mac) -> Result<Self, kernel::Error> {
        let source = instance.router.source;
        let socket = VrrpSocket::open(&OpenOptions {
            link_index: instance.link.index,
            link_name: instance.link.name.clone(),
            family: if source.is_ipv4() { Family::V4 } else { Family::V6 },
            mode: match instance.router.unicast_peers.is_empty() {
                true => Mode::Multicast,
                false => Mode::Unicast { source },
            },
        })?;
        let announcer = Announcer::open(instance.link.index, mac)?;
        let witness = witness(instance, mac)?;
        Ok(Self { socket, announcer, witness, mac })
    }
}

pub(super) fn witness(instance: &Instance, mac: Mac) -> Result<Witness, kernel::Error> {
    let addresses: Vec<IpAddr> = instance.addresses.iter().map(|it| it.address).collect();
    Witness::open(instance.link.index, mac, &addresses)
}

pub(super) fn mac(link: &Link) -> Result<Mac, Error> {
    link.mac.ok_or_else(|| Error::NoMac(link.name.clone()))
}
