//! Labels that keep virtual IPv6 addresses from being chosen as the source of a connection.
//!
//! A source address whose label differs from the destination's is chosen last (RFC 6724 section 5,
//! rule 6). See ip-addrlabel(8).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::addrlabel::{AddrLabelAttribute, AddrLabelMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::Error;
use crate::netlink::{Message, Protocol, Received, Socket};

/// Labels in one network namespace, taken away again when this is dropped.
///
/// The kernel neither marks labels nor removes them with a process: one that is killed leaves them
/// behind, where they do no harm, since they concern nothing but the virtual addresses.
#[derive(Debug)]
pub struct AddressLabels {
    socket: Socket,
    set: BTreeMap<Ipv6Addr, u32>,
}

const HOST_PREFIX: u8 = 128;

impl AddressLabels {
    /// Opens a netlink socket in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        Ok(Self { socket: Socket::open(Protocol::Route)?, set: BTreeMap::new() })
    }

    /// Brings about just the `wanted` labels; those set earlier and not wanted any more go.
    pub fn apply(&mut self, wanted: &BTreeMap<Ipv6Addr, u32>) -> Result<(), Error> {
        let gone: Vec<Ipv6Addr> =
            self.set.keys().filter(|address| !wanted.contains_key(address)).copied().collect();
        for address in gone {
            self.remove(address)?;
        }
        for (address, label) in wanted {
            if self.set.get(address) != Some(label) {
                let message = message(*address, *label);
                self.socket.request(
                    &Message::typed(
                        &RouteNetlinkMessage::NewAddrLabel(message),
                        NLM_F_CREATE | NLM_F_REPLACE,
                    ),
                    format_args!("give {address} the address label {label}"),
                )?;
                self.set.insert(*address, *label);
            }
        }
        Ok(())
    }

    /// Lets go of the labels without taking them away: another process goes on with them.
    pub fn leave(mut self) {
        self.set.clear();
    }

    /// The labels of single addresses in the socket's network namespace, whoever set them.
    pub fn list(&mut self) -> Result<BTreeMap<Ipv6Addr, u32>, Error> {
        let question = RouteNetlinkMessage::GetAddrLabel(any());
        let listed = self.socket.dump(
            &Message::typed(&question, 0),
            "list the address labels",
            |received| Ok(parse(received)),
        )?;
        Ok(listed.into_iter().collect())
    }

    /// Takes the label of one address away, whoever set it; `false` when there was none.
    pub fn remove(&mut self, address: Ipv6Addr) -> Result<bool, Error> {
        self.set.remove(&address);
        // The kernel wants a label here too, but looks at the address alone.
        let message = RouteNetlinkMessage::DelAddrLabel(message(address, 0));
        let outcome = self.socket.request(
            &Message::typed(&message, 0),
            format_args!("remove the address label of {address}"),
        );
        match outcome {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::SRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for AddressLabels {
    fn drop(&mut self) {
        for address in std::mem::take(&mut self.set).into_keys() {
            if let Err(error) = self.remove(address) {
                tracing::warn!(%error, "could not remove an address label");
            }
        }
    }
}

/// Address and label of RTM_NEWADDRLABEL; `None` for those of whole networks.
fn parse(received: &Received<'_>) -> Option<(Ipv6Addr, u32)> {
    let message = AddrLabelMessage::parse(received.body).ok()?;
    if message.header.prefix_len != HOST_PREFIX {
        return None;
    }
    let (mut address, mut label) = (None, None);
    for attribute in message.attributes {
        match attribute {
            AddrLabelAttribute::Address(IpAddr::V6(given)) => address = Some(given),
            AddrLabelAttribute::Label(given) => label = Some(given),
            _ => {}
        }
    }
    address.zip(label)
}

fn any() -> AddrLabelMessage {
    let mut message = AddrLabelMessage::default();
    message.header.family = AddressFamily::Inet6;
    message
}

fn message(address: Ipv6Addr, label: u32) -> AddrLabelMessage {
    let mut message = any();
    message.header.prefix_len = HOST_PREFIX;
    message.attributes.push(AddrLabelAttribute::Address(IpAddr::V6(address)));
    message.attributes.push(AddrLabelAttribute::Label(label));
    message
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::netns::Namespace;

    const VIP: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x100);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0, 0, 0, 0, 0, 0x101);

    /// The labels of our two addresses, by the word of `ip addrlabel`.
    fn listed() -> Vec<String> {
        let output = Command::new("ip").args(["addrlabel", "list"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let ours = text.lines().filter(|line| line.contains("fd00:10::"));
        ours.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn add(prefix: &str, label: u32) {
        let label = label.to_string();
        let arguments = ["addrlabel", "add", "prefix", prefix, "label", &label];
        assert!(Command::new("ip").args(arguments).status().unwrap().success());
    }

    #[test]
    fn labels_are_set_changed_and_taken_away() {
        let namespace = Namespace::new().expect("needs root");
        namespace
            .run(|| {
                let mut labels = AddressLabels::open().unwrap();
                labels.apply(&BTreeMap::from([(VIP, 10000), (OTHER, 7)])).unwrap();
                assert_eq!(
                    listed(),
                    ["prefix fd00:10::101/128 label 7", "prefix fd00:10::100/128 label 10000"]
                );
                labels.apply(&BTreeMap::from([(VIP, 10001)])).unwrap();
                assert_eq!(listed(), ["prefix fd00:10::100/128 label 10001"]);
                add("fd00:10::102/128", 9);
                add("fd00:20::/64", 9);
                // RFC 6724, 2.1 has one of its own for ::1/128.
                let all = BTreeMap::from([
                    (Ipv6Addr::LOCALHOST, 0),
                    (VIP, 10001),
                    ("fd00:10::102".parse().unwrap(), 9),
                ]);
                assert_eq!(labels.list().unwrap(), all);
                assert!(!labels.remove(OTHER).unwrap());
                drop(labels);
                assert_eq!(listed(), ["prefix fd00:10::102/128 label 9"]);
            })
            .unwrap();
    }
}
