use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use thiserror::Error;

/// Why a command ended without success. The exit codes are those of sysexits.h.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The configuration cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration is wrong; the findings were written before.
    #[error("{}: not usable, see above; `cplb validate --config {}` checks it without starting anything", path.display(), path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        findings: Vec<config::Finding>,
    },
    /// The configuration asks for something that cannot be had here.
    #[error("{0}")]
    Unsupported(String),
    /// A reload found something that only a restart can change.
    #[error(
        "{0} can only be changed by a restart, which hands the virtual IP over; nothing was changed"
    )]
    NeedsRestart(&'static str),
    /// Another process cannot go on in place of this one.
    #[error(
        "{0}: stop and start it, which hands the virtual IP over to another node; nothing was changed"
    )]
    NoSuccession(&'static str),
    /// The new process does not go on in place of the old one, which does.
    #[error("not upgraded, the old process goes on: {0}")]
    NotUpgraded(String),
    /// The process that this one was to succeed does not say what it needs.
    #[error("cannot go on in place of the previous process: {0}")]
    Predecessor(String),
    /// The interface of an instance has no address to speak from.
    #[error(
        "interface {interface} has no {family} address to speak VRRP from: give it one, or set unicastSourceIP or another interface for {instance}"
    )]
    NoSource {
        /// The instance.
        instance: String,
        /// The interface.
        interface: String,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// The settings of a virtual router do not go together.
    #[error("{0}")]
    Vip(#[from] vip::Error),
    /// keepalived cannot do what is wanted.
    #[error("{0}")]
    Keepalived(#[from] keepalived::Error),
    /// IPVS cannot do what is wanted.
    #[error("{0}")]
    Ipvs(#[from] ipvs::Error),
    /// Discovery cannot start.
    #[error("{0}")]
    Backends(#[from] backends::Error),
    /// The files of a node-local balancer cannot be written.
    #[error("{0}")]
    Nllb(#[from] nllb::Error),
    /// The proxy cannot listen.
    #[error("{0}")]
    Bind(#[from] proxy::BindError),
    /// The proxy cannot start.
    #[error("{0}")]
    Proxy(#[from] proxy::StartError),
    /// The kernel refused something.
    #[error("{0}")]
    Kernel(#[from] kernel::Error),
    /// The firewall refused something.
    #[error("{0}")]
    Redirect(#[from] kernel::redirect::Error),
    /// Another process works in the same run directory.
    #[error("another cplb (pid {pid}) works in {}: stop it, or give this one its own --run-dir", run_dir.display())]
    AlreadyRunning {
        /// The directory.
        run_dir: PathBuf,
        /// The other process.
        pid: String,
    },
    /// The run directory cannot be used.
    #[error("cannot use the run directory {}: {source}; run as root or give another one by --run-dir", path.display())]
    RunDir {
        /// The directory, or the file in it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No daemon answers.
    #[error("no cplb answers at {}: {source}; is it running, and is this its --run-dir?", socket.display())]
    NotRunning {
        /// The admin socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The admin server cannot listen.
    #[error("cannot serve the status on {address}: {source}; choose another --admin-listen")]
    Admin {
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The lab could not be built or run.
    #[error("{0}")]
    Lab(#[from] ::lab::Error),
    /// Something that only fails when the machine is out of resources.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// sysexits.h: the command line or input was wrong.
const EX_DATAERR: u8 = 65;
/// A service is unavailable: port taken, daemon not running.
const EX_UNAVAILABLE: u8 = 69;
/// An operating system error.
const EX_OSERR: u8 = 71;
/// No permission.
const EX_NOPERM: u8 = 77;
/// Something is configured wrongly.
const EX_CONFIG: u8 = 78;

impl Error {
    /// All of it, for somebody who has not seen what was written before.
    pub(crate) fn in_full(&self) -> String {
        let Self::Invalid { path, findings } = self else { return self.to_string() };
        let errors = findings.iter().filter(|it| it.severity == config::Severity::Error);
        let findings: Vec<_> = errors.map(ToString::to_string).collect();
        format!("{}: not usable\n{}", path.display(), findings.join("\n"))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Unreadable { .. }
            | Self::Lab(
                ::lab::Error::Scenario(_)
                | ::lab::Error::NoSuchScenario { .. }
                | ::lab::Error::NoSuchDocument { .. },
            )
            | Self::Keepalived(keepalived::Error::TemplateFile { .. }) => EX_DATAERR,
            error if error.is_permission() => EX_NOPERM,
            Self::Invalid { .. }
            | Self::Unsupported(_)
            | Self::NoSource { .. }
            | Self::Backends(_)
            | Self::Nllb(
                nllb::Error::NoManifestDirectory { .. } | nllb::Error::Kubeconfig { .. },
            )
            | Self::Lab(
                ::lab::Error::Config(_)
                | ::lab::Error::NoVirtualAddress
                | ::lab::Error::InterfaceByMac
                | ::lab::Error::SubnetTooSmall { .. },
            )
            | Self::Keepalived(
                keepalived::Error::Program { .. }
                | keepalived::Error::NotKeepalived { .. }
                | keepalived::Error::Setting { .. }
                | keepalived::Error::Template { .. }
                | keepalived::Error::Refused { .. },
            )
            | Self::Ipvs(ipvs::Error::Twice { .. } | ipvs::Error::NotForwarding { .. }) => {
                EX_CONFIG
            }
            Self::Kernel(
                kernel::Error::NoSuchLink { .. } | kernel::Error::NoDefaultRoute { .. },
            ) => EX_CONFIG,
            Self::Bind(_)
            | Self::AlreadyRunning { .. }
            | Self::NotRunning { .. }
            | Self::NoSuccession(_)
            | Self::NotUpgraded(_)
            | Self::Predecessor(_)
            | Self::Admin { .. }
            | Self::Nllb(nllb::Error::Listen { .. })
            | Self::Redirect(kernel::redirect::Error::OtherInstance { .. })
            | Self::Vip(vip::Error::Stranger { .. })
            | Self::Keepalived(
                keepalived::Error::NotInstalled
                | keepalived::Error::TooOld { .. }
                | keepalived::Error::NoIpvs,
            )
            | Self::Ipvs(
                ipvs::Error::Ipvs(
                    kernel::ipvs::Error::NoIpvs
                    | kernel::ipvs::Error::NoScheduler { .. }
                    | kernel::ipvs::Error::NoIpv6
                    | kernel::ipvs::Error::NoTunnel { .. },
                )
                | ipvs::Error::Link(
                    kernel::dummy::Error::NotADummy { .. }
                    | kernel::dummy::Error::NoDummyLinks { .. },
                ),
            ) => EX_UNAVAILABLE,
            _ => EX_OSERR,
        })
    }

    fn is_permission(&self) -> bool {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::Kernel(kernel::Error::NotPermitted { .. })
            | Self::Lab(::lab::Error::Kernel(
                kernel::Error::NotPermitted { .. } | kernel::Error::NamespacesForbidden { .. },
            ))
            | Self::Redirect(kernel::redirect::Error::Kernel(kernel::Error::NotPermitted {
                ..
            }))
            | Self::Vip(
                vip::Error::Kernel { source: kernel::Error::NotPermitted { .. }, .. }
                | vip::Error::Monitor(kernel::Error::NotPermitted { .. }),
            )
            | Self::Bind(proxy::BindError::Permission { .. })
            | Self::Keepalived(keepalived::Error::Kernel(kernel::Error::NotPermitted { .. }))
            | Self::Ipvs(
                ipvs::Error::Kernel(kernel::Error::NotPermitted { .. })
                | ipvs::Error::Ipvs(
                    kernel::ipvs::Error::NotPermitted
                    | kernel::ipvs::Error::Kernel(kernel::Error::NotPermitted { .. }),
                )
                | ipvs::Error::Link(kernel::dummy::Error::Kernel(kernel::Error::NotPermitted {
                    ..
                })),
            ) => true,
            Self::RunDir { source, .. }
            | Self::NotRunning { source, .. }
            | Self::Keepalived(keepalived::Error::File { source, .. })
            | Self::Ipvs(ipvs::Error::State { source, .. })
            | Self::Nllb(
                nllb::Error::Write { source, .. }
                | nllb::Error::Read { source, .. }
                | nllb::Error::Remove { source, .. },
            ) => denied(source),
            _ => false,
        }
    }
}
