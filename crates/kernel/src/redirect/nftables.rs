//! The redirect as one nftables table in family `inet`, by way of nfnetlink.

mod message;

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;

use self::message::{FoundRule, FoundTable};
use super::{Count, Error, Rule};
use crate::Error as KernelError;
use crate::netlink::{Message, Protocol, Socket};

/// A table and the netlink socket that owns it.
#[derive(Debug)]
pub(super) struct Nftables {
    socket: Socket,
    table: String,
    /// Whether the kernel removes the table when our socket closes (NFT_TABLE_F_OWNER); Linux
    /// before 5.12 does not know how.
    owned: bool,
}

impl Nftables {
    pub(super) fn install(table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let mut this = Self { socket: open()?, table: table.to_owned(), owned: true };
        this.reinstall(rules)?;
        Ok(this)
    }

    /// Goes on with the table that this socket of another process owns.
    pub(super) fn inherit(
        table: &str,
        socket: OwnedFd,
        owned: bool,
        rules: &[Rule],
    ) -> Result<Self, Error> {
        let mut this = Self { socket: Socket::inherit(socket)?, table: table.to_owned(), owned };
        if this.intact(rules)? {
            return Ok(this);
        }
        match removable_table(&mut this.socket, table)? {
            Some(_) => this.exchange(rules)?,
            None => this.reinstall(rules)?,
        }
        Ok(this)
    }

    /// The socket that owns the table, and whether the kernel knows that it does.
    pub(super) fn bequeath(&self) -> Result<(OwnedFd, bool), Error> {
        Ok((self.socket.duplicate()?, self.owned))
    }

    /// Makes the table anew, in one batch with the deletion of what is there of ours.
    pub(super) fn reinstall(&mut self, rules: &[Rule]) -> Result<(), Error> {
        let leftover = removable_table(&mut self.socket, &self.table)?;
        let messages = |owned| {
            let leftover = leftover.iter().map(|found| message::delete_table(&found.name));
            let table = message::create_table(&self.table, owned);
            leftover.chain(table).chain(message::create_rules(&self.table, rules)).collect()
        };
        let purpose = format!("create the nftables table {}", self.table);
        let outcome = match commit(&mut self.socket, messages(self.owned), &purpose) {
            // Also what a kernel without nat in family inet says, to both attempts.
            Err(error) if self.owned && is_unknown_flag(&error) => {
                self.owned = false;
                commit(&mut self.socket, messages(false), &purpose)
            }
            outcome => outcome,
        };
        outcome.map_err(unsupported)
    }

    /// Exchanges the rules `old`, which should be there now, for `new`.
    pub(super) fn replace(&mut self, old: &[Rule], new: &[Rule]) -> Result<(), Error> {
        if !self.intact(old)? {
            return self.reinstall(new);
        }
        self.exchange(new)
    }

    /// The chains stay: between two chains of the same priority a packet could slip through.
    fn exchange(&mut self, new: &[Rule]) -> Result<(), Error> {
        let mut messages = vec![message::flush_rules(&self.table)];
        messages.extend(message::create_rules(&self.table, new));
        let purpose = format!("replace the rules of the nftables table {}", self.table);
        Ok(commit(&mut self.socket, messages, &purpose)?)
    }

    pub(super) fn intact(&mut self, rules: &[Rule]) -> Result<bool, Error> {
        let expected = message::CHAINS.iter().flat_map(|chain| {
            chain.rules(rules).map(|rule| (chain.name.to_owned(), Some(rule.comment())))
        });
        Ok(self.list()?.into_iter().map(|found| (found.chain, found.comment)).eq(expected))
    }

    pub(super) fn counts(&mut self, rules: &[Rule]) -> Result<Vec<Count>, Error> {
        let found = self.list()?;
        let connections = |rule: &Rule| {
            let comment = Some(rule.comment());
            found.iter().filter(|found| found.comment == comment).map(|found| found.packets).sum()
        };
        Ok(rules.iter().map(|rule| Count { rule: *rule, connections: connections(rule) }).collect())
    }

    pub(super) fn remove(&mut self) -> Result<(), Error> {
        remove(&mut self.socket, &self.table)?;
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<FoundRule>, Error> {
        let purpose = format!("list the rules of the nftables table {}", self.table);
        let rules = self.socket.dump(&message::list_rules(&self.table), purpose, |received| {
            let rule = message::read_rule(received);
            Ok((rule.table == self.table).then_some(rule))
        });
        match rules {
            Ok(rules) => Ok(rules),
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Deletes a table that no living process owns; says whether there was one.
///
/// [`Error::NftablesUnsupported`] where there can be none.
pub(super) fn remove_leftovers(table: &str) -> Result<bool, Error> {
    let mut socket = open()?;
    if remove(&mut socket, table)? {
        return Ok(true);
    }
    // A kernel may know nftables but no nat in family inet. Listing does not tell; a table made and
    // deleted in one batch does.
    let mut messages = message::create_table(table, false);
    messages.push(message::delete_table(table));
    commit(&mut socket, messages, "try out nftables").map_err(unsupported)?;
    Ok(false)
}

fn remove(socket: &mut Socket, table: &str) -> Result<bool, Error> {
    let Some(found) = removable_table(socket, table)? else { return Ok(false) };
    let purpose = format!("delete the nftables table {table}");
    commit(socket, vec![message::delete_table(&found.name)], &purpose)?;
    Ok(true)
}

/// The table of this name, if there is one and it is not another process's.
fn removable_table(socket: &mut Socket, table: &str) -> Result<Option<FoundTable>, Error> {
    let own_port = rustix::net::getsockname(&*socket)
        .and_then(SocketAddrNetlink::try_from)
        .map_err(|error| KernelError::system("read the address of a netlink socket", error))?
        .pid();
    let found = socket
        .dump(&message::list_tables(), "list the nftables tables", |received| {
            Ok(message::read_table(received).filter(|found| found.name == table))
        })
        .map_err(unsupported)?
        .into_iter()
        .next();
    match &found {
        Some(FoundTable { owner: Some(port), .. }) if *port != own_port => {
            Err(Error::OtherInstance { table: table.to_owned(), port: *port })
        }
        _ => Ok(found),
    }
}

fn commit(socket: &mut Socket, messages: Vec<Message>, purpose: &str) -> Result<(), KernelError> {
    socket.batch(&message::transaction(messages), purpose)
}

fn open() -> Result<Socket, Error> {
    Socket::open(Protocol::Netfilter).map_err(unsupported)
}

/// Linux before 5.12 refuses the owner flag with EINVAL, later ones refuse what they do not know
/// with EOPNOTSUPP.
fn is_unknown_flag(error: &KernelError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::OPNOTSUPP))
}

/// Tells a kernel without nftables, or without its nat chains (ENOENT), from one that fails.
fn unsupported(source: KernelError) -> Error {
    match source.errno() {
        Some(
            Errno::OPNOTSUPP
            | Errno::PROTONOSUPPORT
            | Errno::AFNOSUPPORT
            | Errno::NOENT
            | Errno::INVAL,
        ) => Error::NftablesUnsupported { source },
        _ => Error::Kernel(source),
    }
}

#[cfg(test)]
mod tests;
