use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why keepalived cannot do what is wanted. Nothing was changed, unless the text says otherwise.
#[derive(Debug, Error)]
pub enum Error {
    /// No program of that name on PATH.
    #[error(
        "no keepalived on PATH: install it (apt install keepalived, dnf install keepalived), or use `type: Builtin` (--vrrp builtin), \
         which is the same on the wire and needs nothing installed"
    )]
    NotInstalled,
    /// The program given cannot be started.
    #[error(
        "cannot start {}: {source}; give keepalived's program, or use `type: Builtin` (--vrrp builtin), which needs nothing installed",
        program.display()
    )]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program does not tell a version as keepalived does.
    #[error("{} is not keepalived: `--version` says {said:?}", program.display())]
    NotKeepalived {
        /// The program.
        program: PathBuf,
        /// The beginning of what it said.
        said: String,
    },
    /// The program is older than what the configuration needs.
    #[error(
        "keepalived {found} is too old, 2.1.0 is needed: install a newer one, or use `type: Builtin` (--vrrp builtin)"
    )]
    TooOld {
        /// Its version.
        found: String,
    },
    /// A setting that keepalived's configuration cannot express.
    #[error("{instance}: {what}; {hint}")]
    Setting {
        /// The instance.
        instance: String,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A template cannot be read.
    #[error("cannot read the template {}: {source}", path.display())]
    TemplateFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A template is wrong, or asks for something that does not exist.
    #[error("{name}:{}{message}", position.map_or_else(|| " ".to_owned(), |(line, column)| format!("{line}:{column}: ")))]
    Template {
        /// The file, or which of the built-in ones.
        name: String,
        /// Line and column, both from 1.
        position: Option<(usize, usize)>,
        /// What is wrong.
        message: String,
    },
    /// keepalived refuses the configuration.
    #[error("keepalived does not accept the configuration:\n  {}", findings.join("\n  "))]
    Refused {
        /// What it says, each with the line it is about.
        findings: Vec<String>,
    },
    /// Virtual servers without IPVS in the kernel.
    #[error(
        "virtualServers need IPVS, which this kernel does not have: load the module ip_vs, or take virtualServers out, \
         and the built-in proxy balances"
    )]
    NoIpvs,
    /// `keepalived -t` did not end.
    #[error("`keepalived --config-test` did not end within {0} seconds")]
    TestHangs(u64),
    /// A reload asks for another run directory.
    #[error("the run directory can only be changed by a restart; nothing was changed")]
    OtherRunDir,
    /// Files of the run directory cannot be written or read.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused something.
    #[error("{0}")]
    Kernel(#[from] kernel::Error),
    /// The kernel refused something about its IPVS.
    #[error("{0}")]
    Ipvs(#[from] kernel::ipvs::Error),
    /// The watchdog cannot be started, or does not hear us.
    #[error("keepalived's watchdog: {0}; until it runs, a frozen cplb keeps the virtual IP")]
    Watchdog(#[source] io::Error),
    /// The supervising thread cannot be started, or has ended.
    #[error("keepalived's supervisor: {0}")]
    Thread(#[source] io::Error),
}

impl Error {
    /// The supervising thread is no more.
    pub(crate) fn ended() -> Self {
        Self::Thread(io::Error::other("has ended"))
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
