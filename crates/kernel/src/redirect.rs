//! The firewall rules that lead connections to a virtual address into the load balancer.
//!
//! Normally one nftables table of our own, which the kernel itself removes when the process ends
//! however it ends; iptables where the kernel has no nftables. Both hooks are served: prerouting
//! for other hosts, output for this host itself.

mod error;
mod iptables;
mod nftables;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

pub use self::error::Error;
use self::iptables::Iptables;
use self::nftables::Nftables;

/// The table of the control plane load balancer.
pub const TABLE: &str = "cplb";

/// Connections to `vip`:`port` go to port `to` of this host instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The virtual address.
    pub vip: IpAddr,
    /// The port clients connect to.
    pub port: u16,
    /// The port that is listened on, for all addresses: connections made on this host
    /// arrive at 127.0.0.1 or ::1.
    pub to: u16,
    /// Whose connections.
    pub of: Origin,
}

/// Whose connections a rule leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Those of other hosts and those made on this host.
    #[default]
    Anyone,
    /// Only those made on this host.
    ThisHost,
}

/// How many connections a rule has redirected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The rule.
    pub rule: Rule,
    /// New connections, from other hosts and from this one, since the rule was installed or
    /// replaced.
    pub connections: u64,
}

/// Which firewall of the kernel holds the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// nftables, or iptables where the kernel has no nftables.
    #[default]
    Auto,
    /// nftables alone.
    Nftables,
    /// iptables alone; its rules outlive a killed process until the next start.
    Iptables,
}

/// Installed rules, removed when this is dropped.
#[derive(Debug)]
pub struct Redirect {
    firewall: Firewall,
    rules: Vec<Rule>,
    /// A successor has them.
    left: bool,
}

/// What holds the rules, for the process that goes on in place of this one. Dropping it removes
/// nothing.
#[derive(Debug)]
pub enum Bequest {
    /// The socket that owns the nftables table: as long as either process has it, the table stays.
    Nftables {
        /// The socket. Only one of the two processes may use it at a time.
        socket: OwnedFd,
        /// Whether the kernel removes the table with the socket (since Linux 5.12).
        owned: bool,
    },
    /// Chains of iptables, which belong to nobody.
    Iptables,
}

/// What holds the rules.
#[derive(Debug)]
enum Firewall {
    Nftables(Nftables),
    Iptables(Box<Iptables>),
}

impl Redirect {
    /// Installs the rules in the network namespace of the calling thread, all of them or none.
    ///
    /// `table` names the nftables table, [`TABLE`] for the controller; what an earlier run left
    /// under this name is replaced.
    ///
    /// # Errors
    /// [`Error::OtherInstance`] when a living process owns the table, [`Error::NoFirewall`] when
    /// neither nftables nor iptables work, else what the kernel or iptables refused.
    pub fn install(table: &str, rules: &[Rule]) -> Result<Self, Error> {
        Self::install_by(Method::Auto, table, rules)
    }

    /// As [`Redirect::install`], by a method of the caller's choice.
    ///
    /// # Errors
    /// As [`Redirect::install`]; [`Error::NftablesUnsupported`] when that method alone was asked for.
    pub fn install_by(method: Method, table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let firewall = match method {
            Method::Iptables => Firewall::Iptables(Box::new(Iptables::install(table, rules)?)),
            Method::Nftables => Firewall::Nftables(Nftables::install(table, rules)?),
            Method::Auto => match Nftables::install(table, rules) {
                Ok(nftables) => Firewall::Nftables(nftables),
                Err(Error::NftablesUnsupported { source }) => {
                    let iptables = Iptables::install(table, rules)
                        .map_err(|iptables| Error::no_firewall(source, iptables))?;
                    Firewall::Iptables(Box::new(iptables))
                }
                Err(error) => return Err(error),
            },
        };
        Ok(Self { firewall, rules: rules.to_vec(), left: false })
    }

    /// What a successor in another process needs for [`Redirect::inherit`].
    ///
    /// # Errors
    /// A want of descriptors.
    pub fn bequeath(&self) -> Result<Bequest, Error> {
        Ok(match &self.firewall {
            Firewall::Nftables(nftables) => {
                let (socket, owned) = nftables.bequeath()?;
                Bequest::Nftables { socket, owned }
            }
            Firewall::Iptables(_) => Bequest::Iptables,
        })
    }

    /// Goes on with the rules of another process, which must not touch them any more, and has them
    /// be `rules`. With nftables no connection meets a moment without rules.
    ///
    /// # Errors
    /// As [`Redirect::install`]; the rules are then as they were.
    pub fn inherit(bequest: Bequest, table: &str, rules: &[Rule]) -> Result<Self, Error> {
        let firewall = match bequest {
            Bequest::Nftables { socket, owned } => {
                Firewall::Nftables(Nftables::inherit(table, socket, owned, rules)?)
            }
            Bequest::Iptables => Firewall::Iptables(Box::new(Iptables::inherit(table, rules)?)),
        };
        Ok(Self { firewall, rules: rules.to_vec(), left: false })
    }

    /// Lets go of the rules without removing them: a successor has inherited them.
    pub fn leave(mut self) {
        self.left = true;
    }

    /// Exchanges the rules for others: with nftables no connection meets a moment without rules.
    /// Counters start again.
    ///
    /// # Errors
    /// As [`Redirect::install`]; with nftables the old rules then stay, with iptables none do until
    /// [`Redirect::reinstall`].
    pub fn replace(&mut self, rules: &[Rule]) -> Result<(), Error> {
        match &mut self.firewall {
            Firewall::Nftables(nftables) => nftables.replace(&self.rules, rules)?,
            Firewall::Iptables(iptables) => iptables.replace(rules)?,
        }
        self.rules = rules.to_vec();
        Ok(())
    }

    /// Whether it is time to ask [`Redirect::intact`]: with nftables always, since that costs next to
    /// nothing. With iptables it starts a program for each family: when the kernel shows signs of a
    /// change, else every 30 seconds.
    pub fn is_due(&mut self, now: Instant) -> bool {
        match &mut self.firewall {
            Firewall::Nftables(_) => true,
            Firewall::Iptables(iptables) => iptables.is_due(now),
        }
    }

    /// Whether the rules are all still there.
    ///
    /// # Errors
    /// When the firewall cannot be read.
    pub fn intact(&mut self) -> Result<bool, Error> {
        match &mut self.firewall {
            Firewall::Nftables(nftables) => nftables.intact(&self.rules),
            Firewall::Iptables(iptables) => iptables.intact(&self.rules),
        }
    }

    /// Puts the rules back after somebody took them away.
    ///
    /// # Errors
    /// As [`Redirect::install`].
    pub fn reinstall(&mut self) -> Result<(), Error> {
        match &mut self.firewall {
            Firewall::Nftables(nftables) => nftables.reinstall(&self.rules),
            Firewall::Iptables(iptables) => iptables.replace(&self.rules),
        }
    }

    /// How many connections each rule has redirected, in the order of the rules; empty with
    /// iptables.
    ///
    /// # Errors
    /// When the firewall cannot be read.
    pub fn counts(&mut self) -> Result<Vec<Count>, Error> {
        match &mut self.firewall {
            Firewall::Nftables(nftables) => nftables.counts(&self.rules),
            Firewall::Iptables(_) => Ok(Vec::new()),
        }
    }

    /// Removes the rules now and says whether that went well, which dropping cannot.
    ///
    /// # Errors
    /// When the firewall refuses.
    pub fn remove(mut self) -> Result<(), Error> {
        self.remove_in_place()
    }

    fn remove_in_place(&mut self) -> Result<(), Error> {
        match &mut self.firewall {
            Firewall::Nftables(nftables) => nftables.remove(),
            Firewall::Iptables(iptables) => iptables.remove(),
        }
    }
}

impl Drop for Redirect {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        if let Err(error) = self.remove_in_place() {
            tracing::warn!(%error, "could not remove the firewall redirect");
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", SocketAddr::new(self.vip, self.port), self.to)?;
        match self.of {
            Origin::Anyone => Ok(()),
            Origin::ThisHost => write!(formatter, " for this host"),
        }
    }
}

impl Rule {
    /// Marks a rule as ours in the listings of `nft` and `iptables`.
    fn comment(&self) -> String {
        format!("cplb: {self}")
    }

    /// Whether it is for connections that arrive from other hosts as well.
    fn is_for_arriving(&self) -> bool {
        self.of == Origin::Anyone
    }
}

/// Removes what a process that is gone left behind in the network namespace of the calling thread;
/// says whether there was anything.
///
/// # Errors
/// [`Error::OtherInstance`] when a living process owns the table, else what the kernel or iptables
/// refused.
pub fn remove_leftovers(table: &str) -> Result<bool, Error> {
    match nftables::remove_leftovers(table) {
        Err(Error::NftablesUnsupported { .. }) => iptables::remove_leftovers(table),
        outcome => outcome,
    }
}

/// As [`remove_leftovers`], for rules of iptables on a kernel that has nftables: [`Method::Iptables`]
/// makes such.
///
/// # Errors
/// What iptables refused.
pub fn remove_iptables_leftovers(table: &str) -> Result<bool, Error> {
    iptables::remove_leftovers(table)
}

#[cfg(test)]
mod tests;
