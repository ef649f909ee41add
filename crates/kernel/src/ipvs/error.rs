use rustix::io::Errno;

use super::Change;
use crate::Error as KernelError;

/// Why IPVS did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no IPVS.
    #[error(
        "this kernel has no IPVS: run `modprobe ip_vs`; where that fails, the kernel was built without CONFIG_IP_VS"
    )]
    NoIpvs,

    /// The kernel lacks the scheduler.
    #[error(
        "this kernel lacks the IPVS scheduler {scheduler}: run `modprobe ip_vs_{scheduler}`; where that fails, choose another one or a kernel with CONFIG_IP_VS_{}",
        scheduler.to_uppercase()
    )]
    NoScheduler {
        /// Its name.
        scheduler: String,
    },

    /// The process is not root of the whole machine.
    #[error(
        "not permitted to use IPVS: run as root; the kernel wants CAP_NET_ADMIN in the initial user namespace, so a rootless container cannot"
    )]
    NotPermitted,

    /// The kernel has no IPv6 in its IPVS.
    #[error("this kernel's IPVS knows no IPv6: it was built without CONFIG_IP_VS_IPV6")]
    NoIpv6,

    /// The kernel cannot unpack what comes by tunnel.
    #[error(
        "this kernel has no tunnel interface {end}: run `modprobe {}`; where that fails, choose lbKind DR",
        if *end == "tunl0" { "ipip" } else { "ip6_tunnel" }
    )]
    NoTunnel {
        /// The interface.
        end: &'static str,
    },

    /// The kernel refused or could not be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl Error {
    /// The error number of a refusal, for callers that expect a certain one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Kernel(source) => source.errno(),
            Self::NotPermitted => Some(Errno::PERM),
            Self::NoIpvs | Self::NoScheduler { .. } => Some(Errno::NOENT),
            Self::NoTunnel { .. } => Some(Errno::OPNOTSUPP),
            Self::NoIpv6 => Some(Errno::AFNOSUPPORT),
        }
    }

    /// Whether the service that was asked about is not there (ESRCH).
    pub fn is_no_such_service(&self) -> bool {
        self.errno() == Some(Errno::SRCH)
    }

    pub(super) fn of_command(source: KernelError) -> Self {
        match source.errno() {
            Some(Errno::PERM) => Self::NotPermitted,
            Some(Errno::AFNOSUPPORT) => Self::NoIpv6,
            _ => Self::Kernel(source),
        }
    }

    /// ENOENT is about the scheduler where a service alone is added or changed; together with real
    /// servers it could be one of these.
    pub(super) fn of_change(changes: &[Change], source: KernelError) -> Self {
        match (changes, source.errno()) {
            ([Change::AddService(service) | Change::SetService(service)], Some(Errno::NOENT)) => {
                Self::NoScheduler { scheduler: service.scheduler.clone() }
            }
            _ => Self::of_command(source),
        }
    }
}
