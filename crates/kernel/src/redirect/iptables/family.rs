//! IPv4 or IPv6, and which nat tables the kernel has for it. Without any there is nothing to look
//! for, and no program need be started.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;

use crate::netlink::{Message, Protocol, Socket};

/// `struct nfgenmsg`, before the attributes of every message.
pub(super) const HEADER_BYTES: usize = 4;

/// The table that iptables keeps its destination NAT in, by whatever means.
pub(super) const NAT: &str = "nat";

pub(super) const FAMILIES: [Family; 2] = [
    Family {
        number: libc::NFPROTO_IPV4 as u8,
        programs: ["iptables", "iptables-legacy"],
        names: "/proc/thread-self/net/ip_tables_names",
    },
    Family {
        number: libc::NFPROTO_IPV6 as u8,
        programs: ["ip6tables", "ip6tables-legacy"],
        names: "/proc/thread-self/net/ip6_tables_names",
    },
];

/// IPv4 or IPv6.
#[derive(Debug)]
pub(super) struct Family {
    /// NFPROTO_*.
    pub(super) number: u8,
    /// The program the administrator chose, then the one that needs no nftables in the kernel.
    pub(super) programs: [&'static str; 2],
    /// Where the kernel lists the tables that need no nftables.
    names: &'static str,
}

/// The nat tables in the network namespace of the calling thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    pub(super) nftables: bool,
    pub(super) legacy: bool,
}

impl Family {
    pub(super) fn has(&self, address: IpAddr) -> bool {
        address.is_ipv4() == (i32::from(self.number) == libc::NFPROTO_IPV4)
    }

    /// What cannot be found out may be there.
    pub(super) fn tables(&self) -> Tables {
        Tables { nftables: self.has_nftables().unwrap_or(true), legacy: self.has_legacy() }
    }

    fn has_nftables(&self) -> Result<bool, crate::Error> {
        let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
        let list = Message {
            kind: subsystem << 8 | libc::NFT_MSG_GETTABLE as u16,
            flags: 0,
            body: vec![self.number, 0, 0, 0],
        };
        let is_nat = |(kind, value): (u16, &[u8])| kind == 1 && value == b"nat\0";
        let found = Socket::open(Protocol::Netfilter)?.dump(
            &list,
            "list the nftables tables",
            |received| Ok(received.attributes(HEADER_BYTES).find(|it| is_nat(*it)).map(drop)),
        )?;
        Ok(!found.is_empty())
    }

    pub(super) fn has_legacy(&self) -> bool {
        match fs::read_to_string(self.names) {
            Ok(names) => names.lines().any(|name| name == NAT),
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }
}
