//! When somebody may have changed the rules of iptables: looking takes a program, hearing of it does
//! not.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use socket2::{Domain, Type};

use super::ENTRANCES;
use super::family::{FAMILIES, HEADER_BYTES, NAT};
use crate::netlink::{Protocol, Received, Socket};
use crate::sys;

/// How often the rules are looked at without any sign of a change.
const RARELY: Duration = Duration::from_secs(30);

/// How soon again where others change a table that nftables does not hold: the signs do not tell which
/// chain it was.
const AGAIN: Duration = Duration::from_secs(5);

/// Room for what a restart of another program that writes many rules causes. More is no loss, but
/// counts as a change.
const RECEIVE_BUFFER_BYTES: usize = 1024 * 1024;

/// IPT_SO_GET_INFO and IP6T_SO_GET_INFO of linux/netfilter_ipv4/ip_tables.h.
const GET_INFO: libc::c_int = 64;

/// `struct ipt_getinfo`: the table's name, its hooks, and how many entries of how many bytes it has.
const INFO_BYTES: usize = 84;

/// Signs of changes in one network namespace.
#[derive(Debug)]
pub(super) struct Changes {
    prefix: String,
    /// Hears of changes where the iptables program is the one for nftables.
    nftables: Option<Socket>,
    /// A socket of each family, which knows its tables that need no nftables.
    legacy: [Option<socket2::Socket>; 2],
    /// How those tables were when the rules were last looked at.
    seen: [Option<[u8; INFO_BYTES]>; 2],
    looked: Instant,
}

impl Changes {
    /// Signs of changes to the chains of ours, those whose names begin with `prefix`, from now on.
    pub(super) fn open(prefix: &str) -> Self {
        Self {
            prefix: format!("{prefix}-"),
            nftables: subscribe().ok(),
            legacy: [Domain::IPV4, Domain::IPV6]
                .map(|domain| socket2::Socket::new(domain, Type::DGRAM, None).ok()),
            seen: [None; 2],
            looked: Instant::now(),
        }
    }

    /// Whether the rules should be looked at now, which the caller then does. Changes of our own are
    /// heard like those of others.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.looked);
        let tables = self.legacy_tables();
        let due = self.heard() || since >= RARELY || (since >= AGAIN && tables != self.seen);
        if due {
            self.looked = now;
            self.seen = tables;
        }
        due
    }

    /// Whether nftables has told of a change that concerns us.
    fn heard(&mut self) -> bool {
        let Some(socket) = &mut self.nftables else { return false };
        let mut heard = false;
        loop {
            let told = socket.notification("hear of changes to nftables", |received| {
                heard |= concerns(received, &self.prefix);
            });
            match told {
                Ok(true) => {}
                Ok(false) => return heard,
                // Some were lost (netlink(7): ENOBUFS), and the next call gets what is left.
                Err(_) => return true,
            }
        }
    }

    fn legacy_tables(&self) -> [Option<[u8; INFO_BYTES]>; 2] {
        let levels = [libc::IPPROTO_IP, libc::IPPROTO_IPV6];
        std::array::from_fn(|index| {
            // Asking for one that is not there would make it.
            let socket = self.legacy[index].as_ref().filter(|_| FAMILIES[index].has_legacy())?;
            let mut info = [0; INFO_BYTES];
            info[..NAT.len()].copy_from_slice(NAT.as_bytes());
            sys::ask_option(socket.as_fd(), levels[index], GET_INFO, &mut info).ok()?;
            Some(info)
        })
    }
}

fn subscribe() -> Result<Socket, crate::Error> {
    let groups = 1 << (libc::NFNLGRP_NFTABLES - 1);
    let socket = Socket::subscribe(Protocol::Netfilter, groups)?;
    // The first needs CAP_NET_ADMIN, the second is cut to net.core.rmem_max.
    sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES))
        .ok();
    Ok(socket)
}

/// Whether a notification is of a chain that leads to our rules, or holds them. Others change theirs
/// all the time.
fn concerns(received: &Received<'_>, prefix: &str) -> bool {
    let is_of_iptables =
        received.body.first().is_some_and(|it| FAMILIES.iter().any(|family| family.number == *it));
    let name = |wanted: u16| {
        let value = received.attributes(HEADER_BYTES).find(|(kind, _)| *kind == wanted)?.1;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    };
    // NFTA_TABLE_NAME, NFTA_CHAIN_TABLE and NFTA_RULE_TABLE are the same number.
    if !is_of_iptables || name(1) != Some(NAT) {
        return false;
    }
    let chain = match i32::from(received.kind & 0xff) {
        libc::NFT_MSG_NEWTABLE | libc::NFT_MSG_DELTABLE => return true,
        // NFTA_CHAIN_NAME
        libc::NFT_MSG_NEWCHAIN | libc::NFT_MSG_DELCHAIN => name(3),
        // NFTA_RULE_CHAIN
        libc::NFT_MSG_NEWRULE | libc::NFT_MSG_DELRULE => name(2),
        _ => None,
    };
    chain.is_some_and(|chain| ENTRANCES.contains(&chain) || chain.starts_with(prefix))
}

#[cfg(test)]
mod tests;
