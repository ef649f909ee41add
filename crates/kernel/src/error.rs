//! Why the kernel did not do what was asked of it.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::link::Mac;

/// Why the kernel did not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process lacks the capability.
    #[error("not permitted to {purpose}: run as root, or grant {capability}")]
    NotPermitted {
        /// What was asked, in the infinitive: "add the address 10.0.0.100/24".
        purpose: String,
        /// What it takes, as systemd.exec(5) names it: "CAP_NET_ADMIN".
        capability: &'static str,
    },

    /// The kernel answered a netlink request with an error.
    #[error("the kernel refused to {purpose}: {errno}{explanation}")]
    Refused {
        /// What was asked, in the infinitive.
        purpose: String,
        /// The error number it gave.
        errno: Errno,
        /// Its own words, where it gave any.
        explanation: Explanation,
    },

    /// The kernel did not answer a netlink request in time.
    #[error("the kernel gave no answer when asked to {purpose}: see `dmesg` for a stuck driver")]
    NoAnswer {
        /// What was asked, in the infinitive.
        purpose: String,
    },

    /// The kernel's answer does not follow the netlink format.
    #[error(
        "cannot read the kernel's answer when asked to {purpose}: {detail}; please report this with `uname -r`"
    )]
    Malformed {
        /// What was asked, in the infinitive.
        purpose: String,
        /// What is wrong with it.
        detail: String,
    },

    /// The listed objects changed during every attempt to list them.
    #[error(
        "could not {purpose}: the network configuration changed meanwhile, each time; try again"
    )]
    KeptChanging {
        /// What was asked, in the infinitive.
        purpose: String,
    },

    /// A system call failed.
    #[error("cannot {purpose}: {source}")]
    System {
        /// What was tried, in the infinitive.
        purpose: String,
        /// The operating system's error.
        source: io::Error,
    },

    /// No interface fits the selector.
    #[error("there is no interface {wanted}{suggestion}; this host has {available}")]
    NoSuchLink {
        /// The interface asked for, by name or MAC address.
        wanted: String,
        /// The interface that may be meant.
        suggestion: Suggestion,
        /// Every interface there is.
        available: Listing,
    },

    /// The interface was left to the default route, and there is none.
    #[error(
        "there is no default route to tell which interface to use: name the interface; this host has {available}"
    )]
    NoDefaultRoute {
        /// Every interface there is.
        available: Listing,
    },

    /// Several interfaces share the MAC address and none stands out.
    #[error("the MAC address {mac} is that of several interfaces: name one of {candidates}")]
    AmbiguousMac {
        /// The address asked for.
        mac: Mac,
        /// The interfaces that have it.
        candidates: Listing,
    },

    /// The address belongs to the host or to another program.
    #[error(
        "{address} is already on interface {link_index} and was not put there by cplb: choose a free address, or remove it with `ip address del`"
    )]
    AddressNotOurs {
        /// The address with its prefix length.
        address: String,
        /// The index of the interface, as `ip link` shows it.
        link_index: u32,
    },

    /// The system does not let this process make its own namespaces.
    #[error(
        "this system does not let an ordinary user make network namespaces ({source}): run as root, or check the sysctls kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0 and kernel.apparmor_restrict_unprivileged_userns=0"
    )]
    NamespacesForbidden {
        /// The operating system's error.
        source: io::Error,
    },
}

/// The words of the kernel about a refused request (NLMSGERR_ATTR_MSG), empty where it gave none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation(pub Option<String>);

/// The name of an interface much like the one asked for, if there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion(pub Option<String>);

/// Names of interfaces, in the order of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(pub Vec<String>);

impl Error {
    /// Wraps the error of a system call about the network.
    pub(crate) fn system(purpose: impl fmt::Display, source: impl Into<io::Error>) -> Self {
        Self::privileged("CAP_NET_ADMIN and CAP_NET_RAW", purpose, source)
    }

    /// Wraps the error of a system call that takes `capability`, to be named where it is missing.
    pub(crate) fn privileged(
        capability: &'static str,
        purpose: impl fmt::Display,
        source: impl Into<io::Error>,
    ) -> Self {
        let (purpose, source) = (purpose.to_string(), source.into());
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::NotPermitted { purpose, capability };
        }
        Self::System { purpose, source }
    }

    /// The error number of a refusal, for callers that expect a certain one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::NotPermitted { .. } => Some(Errno::PERM),
            Self::Refused { errno, .. } => Some(*errno),
            Self::System { source, .. } => Errno::from_io_error(source),
            _ => None,
        }
    }
}

/// The error number of the C library's last failed call on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

impl fmt::Display for Explanation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |words| write!(formatter, " ({words})"))
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(formatter, " (did you mean {name}?)"))
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("none");
        }
        formatter.write_str(&self.0.join(", "))
    }
}
