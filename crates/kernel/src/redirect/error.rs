use std::io;

use crate::Error as KernelError;

/// Why connections to the virtual address cannot be redirected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A living process owns the table of this name.
    #[error(
        "another cplb runs in this network namespace: it owns the nftables table {table} (netlink port {port}); stop it first, `pgrep -a cplb` finds it"
    )]
    OtherInstance {
        /// The table.
        table: String,
        /// The netlink port of the owner, usually its process id.
        port: u32,
    },

    /// The kernel lacks nftables, or the part of it that redirects.
    #[error("this kernel cannot redirect with nftables: {source}")]
    NftablesUnsupported {
        /// The kernel's answer.
        source: KernelError,
    },

    /// Neither firewall can be used.
    #[error(
        "cannot redirect connections to the virtual address: neither nftables ({nftables}) nor iptables ({iptables}) works; load the kernel modules nf_tables, nft_chain_nat and nft_redir, or install iptables"
    )]
    NoFirewall {
        /// What nftables failed with.
        nftables: KernelError,
        /// What iptables failed with.
        iptables: Box<Self>,
    },

    /// The kernel refused or could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),

    /// An iptables program could not be started.
    #[error("cannot run {program}: {source}")]
    IptablesMissing {
        /// Such as `iptables` or `ip6tables-restore`.
        program: String,
        /// The operating system's error.
        source: io::Error,
    },

    /// An iptables program refused a command.
    #[error("`{command}` failed: {message}")]
    IptablesRefused {
        /// The whole command line.
        command: String,
        /// What it wrote to standard error.
        message: String,
    },
}

impl Error {
    pub(super) fn no_firewall(nftables: KernelError, iptables: Self) -> Self {
        Self::NoFirewall { nftables, iptables: Box::new(iptables) }
    }
}
