//! What is known at one moment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::health::{Failure, Health};

/// The apiservers, which of them may be used, and how that is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// All apiservers of the current list, by address.
    pub backends: Vec<Backend>,
    /// Those that may be used, by address. Empty only if none is known at all.
    pub usable: Vec<SocketAddr>,
    /// Whether none is healthy, and `usable` is therefore the last that were.
    pub fail_open: bool,
    /// Where the current list is from.
    pub origin: Origin,
    /// Addresses that were offered but must not be used.
    pub refused: Vec<Refused>,
    /// How reading the list from Kubernetes goes.
    pub discovery: Discovery,
}

/// One apiserver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its checks say.
    pub health: Health,
    /// The last failure, or what it does well: `200 ok` of an apiserver; empty before the first
    /// check.
    pub reason: String,
    /// In which way it failed last, until it succeeds.
    pub failure: Option<Failure>,
    /// When `health` last changed.
    #[serde(serialize_with = "rfc3339")]
    pub since: SystemTime,
    /// How long the last good check took, from connect to answer.
    #[serde(rename = "latency_ms", serialize_with = "milliseconds")]
    pub latency: Option<Duration>,
    /// The lists that name it.
    pub sources: Vec<Source>,
}

/// Something that names apiservers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The `kubernetes` endpoints of the cluster.
    Endpoints,
    /// The same until less than 30 s ago.
    Departed,
    /// The command line.
    Static,
    /// The list kept on disk.
    Cache,
    /// The server of the kubeconfig.
    Kubeconfig,
    /// The apiserver of this machine.
    Local,
}

/// Where the current list is from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The cluster itself.
    Endpoints {
        /// The apiserver it was read through.
        via: SocketAddr,
        /// The kind of object it was read from.
        resource: Resource,
    },
    /// Mainly the list on disk: the cluster has not been read yet.
    Cache {
        /// How long ago the list on disk was last changed.
        #[serde(rename = "age_ms", serialize_with = "milliseconds_of")]
        age: Duration,
    },
    /// Mainly the command line.
    Static,
    /// Only the kubeconfig's server or the apiserver of this machine.
    Local,
}

/// The kind of object that lists the apiservers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// `discovery.k8s.io/v1` EndpointSlices.
    Slices,
    /// `v1` Endpoints, where the former are not served or not allowed.
    Endpoints,
}

/// An address that was offered but must not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The address.
    pub address: SocketAddr,
    /// Why not, and what to do.
    pub reason: String,
}

/// How reading the list from Kubernetes goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Discovery {
    /// The kubeconfig, if one is given.
    pub kubeconfig: Option<PathBuf>,
    /// The apiserver the list is being watched through just now.
    pub via: Option<SocketAddr>,
    /// What went wrong last, until it goes well again.
    pub error: Option<String>,
    /// When the list was last read in full.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub read: Option<SystemTime>,
}

impl Snapshot {
    /// What is known before anything is.
    pub(crate) fn empty() -> Self {
        Self {
            backends: Vec::new(),
            usable: Vec::new(),
            fail_open: false,
            origin: Origin::Local,
            refused: Vec::new(),
            discovery: Discovery::default(),
        }
    }

    /// Whether the checks of `address` find it healthy.
    pub(crate) fn is_healthy(&self, address: SocketAddr) -> bool {
        self.backends.iter().any(|it| it.address == address && it.health == Health::Healthy)
    }

    /// Whether it says the same as `other`, but for how long checks took and when the list was
    /// read: things that change all the time and decide nothing.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let essence = |it: &Self| {
            let mut it = it.clone();
            it.discovery.read = None;
            it.backends.iter_mut().for_each(|it| it.latency = None);
            it
        };
        essence(self) == essence(other)
    }
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    // Out of range is only what lies 9,000 years away.
    let time = Timestamp::try_from(*time).unwrap_or(Timestamp::MAX);
    serializer.collect_str(&time)
}

fn rfc3339_or_null<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds_of(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn milliseconds_of<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests;
