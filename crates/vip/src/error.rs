use std::io;
use std::net::IpAddr;

use kernel::link::Mac;
use thiserror::Error;

/// Why the virtual IPs cannot be served.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel does not let us.
    #[error("virtual router {instance} on {interface}: {source}")]
    Kernel {
        /// The instance's name.
        instance: String,
        /// The interface's name.
        interface: String,
        /// What the kernel said.
        source: kernel::Error,
    },
    /// The kernel does not tell about changes of links and addresses.
    #[error("cannot watch the network interfaces: {0}")]
    Monitor(#[source] kernel::Error),
    /// The interface has no hardware address to announce.
    #[error(
        "{0} has no Ethernet address, so neighbours cannot be told where the virtual IP is: choose another interface"
    )]
    NoMac(String),
    /// Settings that the protocol does not allow.
    #[error("virtual router {instance}: {source}")]
    Settings {
        /// The instance's name.
        instance: String,
        /// What is wrong.
        source: vrrp::SettingsError,
    },
    /// The thread or its descriptors could not be made.
    #[error("cannot start the VRRP thread: {0}")]
    Thread(#[source] io::Error),
    /// The process that this one was to succeed is gone, or gave up.
    #[error("the previous process ended before it had passed the virtual routers on")]
    NoPredecessor,
    /// What the previous process passed on cannot be read.
    #[error("cannot understand what the previous process passed on: {0}")]
    Estate(#[source] io::Error),
    /// Somebody who does not speak VRRP with us has the address.
    #[error(
        "{address} is already answered by {mac} on {interface}, which does not take part in virtual router {router_id}: \
         free the address or choose another one in virtualIPs; if that is a controller of this cluster, \
         its virtualRouterID and authPass must be the same as here"
    )]
    Stranger {
        /// The virtual address.
        address: IpAddr,
        /// Who answers.
        mac: Mac,
        /// Where.
        interface: String,
        /// Our virtual router identifier.
        router_id: u8,
    },
}
