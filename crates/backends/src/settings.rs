//! What the user said, and whether it can work.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tracing::warn;

use crate::cache;
use crate::error::Error;
use crate::kubeconfig::{self, Credentials};

/// Where apiservers are to be found and how they are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The kubeconfig by which the `kubernetes` endpoints are read. Without it there is no
    /// discovery: static servers, cache and `local` are all there is.
    pub kubeconfig: Option<PathBuf>,
    /// Whether a kubeconfig that does not exist yet is waited for, rather than an error: the first
    /// controller of a cluster starts before its cluster does.
    pub kubeconfig_may_appear: bool,
    /// The kubeconfig that is used while the other one does not exist: that of a node before it is
    /// registered.
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Whether a kubeconfig that cannot be used is only a warning, provided that something else
    /// leads to an apiserver: a node whose certificate has expired needs one to get another.
    pub kubeconfig_may_fail: bool,
    /// Apiservers known beforehand (`--apiserver`).
    pub static_servers: Vec<SocketAddr>,
    /// The apiserver of this machine, which discovery tries first.
    pub local: Option<SocketAddr>,
    /// The file that keeps the last discovered list over a restart.
    pub cache: Option<PathBuf>,
    /// Addresses that are never a backend and never connected to: a backend there is a loop.
    pub virtual_addresses: Vec<IpAddr>,
    /// The port this machine's own proxy listens on, 0 if none: it is no backend on loopback.
    pub proxy_port: u16,
    /// How apiservers are checked.
    pub health: HealthSettings,
}

impl Settings {
    /// Why `address` can never be a backend, if so.
    pub(crate) fn refusal(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        if self.virtual_addresses.iter().any(|it| it.to_canonical() == ip) {
            return Some("it is a virtual IP, so connections to it come back to this proxy");
        }
        let here = ip.is_loopback() || ip.is_unspecified();
        if here && self.proxy_port != 0 && address.port() == self.proxy_port {
            return Some("it is this proxy itself");
        }
        if ip.is_unspecified() || ip.is_multicast() || address.port() == 0 {
            return Some("it is no address one can connect to");
        }
        None
    }
}

/// How often apiservers are asked for `/readyz`, and how many answers decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// From the start of one check to the start of the next. More than zero.
    pub interval: Duration,
    /// How long one check may take altogether: connect, TLS and answer. More than zero.
    pub timeout: Duration,
    /// Failed checks in a row that take an apiserver out, unless it refuses: that does so at once.
    /// At least 1.
    pub fall: u32,
    /// Good checks in a row that bring one back. At least 1.
    pub rise: u32,
}

impl Default for HealthSettings {
    /// A hung apiserver is out in less than 3 s: 1 s until it is asked, twice 0.9 s in vain.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(900),
            fall: 2,
            rise: 2,
        }
    }
}

/// Settings found to be usable, with what was read on the way.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(crate) settings: Settings,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) cached: Option<cache::Cached>,
}

/// Reads what `settings` names and says what is wrong with it, before anything else is touched.
///
/// # Errors
///
/// When the kubeconfig cannot be read or used, its certificates are out of date, a static server
/// is a virtual IP, or nothing at all is named that could lead to an apiserver. A cache that
/// cannot be read is no error: it is left aside with a warning.
pub fn check(settings: &Settings) -> Result<Checked, Error> {
    check_at(settings, SystemTime::now())
}

fn check_at(settings: &Settings, now: SystemTime) -> Result<Checked, Error> {
    let HealthSettings { interval, timeout, fall, rise } = settings.health;
    if interval.is_zero() || timeout.is_zero() || fall == 0 || rise == 0 {
        return Err(Error::Health);
    }
    if let Some((server, reason)) =
        settings.static_servers.iter().find_map(|it| Some((*it, settings.refusal(*it)?)))
    {
        return Err(Error::StaticServer { server, reason });
    }
    let cached = settings.cache.as_deref().and_then(cache::read);
    let nowhere_else =
        settings.static_servers.is_empty() && settings.local.is_none() && cached.is_none();
    let credentials = match load_credentials(settings, now) {
        Err(error) if settings.kubeconfig_may_fail && !nowhere_else => {
            warn!(%error, "the kubeconfig is not usable; going on without it until it is");
            None
        }
        credentials => credentials?,
    };
    if nowhere_else && settings.kubeconfig.is_none() {
        return Err(Error::Nowhere);
    }
    let server = credentials.as_ref().and_then(Credentials::server_address);
    if let Some(server) = server.filter(|_| nowhere_else)
        && let Some(reason) = settings.refusal(server)
    {
        let path = settings.kubeconfig.clone().unwrap_or_default();
        return Err(Error::OnlyVirtual { path, server, reason });
    }
    Ok(Checked { settings: settings.clone(), credentials, cached })
}

fn load_credentials(settings: &Settings, now: SystemTime) -> Result<Option<Credentials>, Error> {
    let Some(path) = &settings.kubeconfig else { return Ok(None) };
    let path = kubeconfig::current(path, settings.bootstrap_kubeconfig.as_deref());
    if settings.kubeconfig_may_appear && !path.exists() {
        return Ok(None);
    }
    kubeconfig::load(path, now).map(Some)
}

#[cfg(test)]
mod tests;
