//! Everything that asks the Linux kernel for something: addresses, firewall redirect, VRRP sockets, announcements, namespaces.

pub mod address;
pub mod address_label;
pub mod announce;
pub mod dummy;
pub mod error;
mod frame;
pub mod ipvs;
pub mod link;
pub mod monitor;
pub mod netlink;
pub mod netns;
pub mod probe;
pub mod process;
pub mod redirect;
mod sys;
pub mod sysctl;
#[cfg(test)]
mod test_cable;
pub mod vrrp_socket;
pub mod witness;

pub use error::Error;
