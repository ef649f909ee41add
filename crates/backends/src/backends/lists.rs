//! The lists of apiservers, and which of them counts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tracing::error;

use crate::cache::Cached;
use crate::settings::Settings;
use crate::snapshot::{Origin, Refused, Resource, Source};

/// What to do about a virtual IP among the cluster's endpoints.
const ADVICE: &str = "let the apiservers advertise their own addresses: k0s: set spec.api.address \
                      and start with --disable-components=endpoint-reconciler; kubeadm: \
                      --apiserver-advertise-address";

/// An apiserver that the cluster no longer lists stays for so long, and its health alone decides.
///
/// After etcd was away, the first apiserver to come back lists itself alone for some seconds, until
/// the others have renewed their leases of 15 s, each within 10 s.
const LINGER: Duration = Duration::from_secs(30);

/// What is known of apiservers beforehand, and what the cluster says of them.
pub(super) struct Lists {
    settings: Settings,
    cached: Option<Cached>,
    server: BTreeSet<SocketAddr>,
    listed: Option<Listed>,
    /// Those no longer listed, and since when.
    departed: BTreeMap<SocketAddr, Instant>,
    refused: BTreeMap<SocketAddr, String>,
}

/// The cluster's own list.
struct Listed {
    via: SocketAddr,
    resource: Resource,
    addresses: BTreeSet<SocketAddr>,
}

impl Lists {
    pub(super) fn new(settings: Settings, cached: Option<Cached>) -> Self {
        Self {
            settings,
            cached,
            server: BTreeSet::new(),
            listed: None,
            departed: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Takes in the addresses of the kubeconfig's server. Virtual ones are expected there, and that
    /// a new kubeconfig leads to this proxy: those before are kept then, which may be all there is.
    pub(super) fn add_server(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses: BTreeSet<_> = addresses.into_iter().collect();
        if self.server.is_empty() || addresses.iter().any(|it| self.settings.refusal(*it).is_none())
        {
            self.server = addresses;
        }
    }

    /// Takes in the cluster's list, unless nothing in it can be used. Says whether it did.
    pub(super) fn take(
        &mut self,
        now: Instant,
        via: SocketAddr,
        resource: Resource,
        mut addresses: BTreeSet<SocketAddr>,
    ) -> bool {
        let mut refused = BTreeMap::new();
        addresses.retain(|&address| match self.settings.refusal(address) {
            None => true,
            Some(reason) => {
                refused.insert(address, format!("{reason}; {ADVICE}"));
                false
            }
        });
        for (address, reason) in &refused {
            if !self.refused.contains_key(address) {
                error!(%address, reason, "an endpoint of the cluster is left out");
            }
        }
        self.refused = refused;
        if addresses.is_empty() {
            return false;
        }
        let before = self.listed.replace(Listed { via, resource, addresses });
        self.departed.extend(before.into_iter().flat_map(|it| it.addresses).map(|it| (it, now)));
        if let Some(Listed { addresses, .. }) = &self.listed {
            self.departed.retain(|it, _| !addresses.contains(it));
        }
        true
    }

    /// Forgets those that have not been listed for long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        self.departed.retain(|_, since| now.saturating_duration_since(*since) < LINGER);
    }

    /// The cluster's own list, once it is known.
    pub(super) fn listed(&self) -> Option<&BTreeSet<SocketAddr>> {
        self.listed.as_ref().map(|it| &it.addresses)
    }

    /// The apiservers to balance over, each with the lists that name it.
    pub(super) fn current(&self) -> BTreeMap<SocketAddr, Vec<Source>> {
        let mut all = self.all();
        if let Some(listed) = self.listed() {
            all.retain(|it, _| listed.contains(it) || self.departed.contains_key(it));
        } else if all.keys().any(|it| !it.ip().is_loopback()) {
            // On loopback is this machine's own apiserver, which by its real address is one of the
            // others: it would get two shares.
            all.retain(|it, _| !it.ip().is_loopback());
        }
        all
    }

    /// The apiservers to read the list through.
    pub(super) fn candidates(&self) -> BTreeSet<SocketAddr> {
        self.all().into_keys().collect()
    }

    pub(super) fn origin(&self) -> Origin {
        match (&self.listed, &self.cached) {
            (Some(Listed { via, resource, .. }), _) => {
                Origin::Endpoints { via: *via, resource: *resource }
            }
            (None, Some(cached)) => Origin::Cache { age: cached.age },
            (None, None) if !self.settings.static_servers.is_empty() => Origin::Static,
            (None, None) => Origin::Local,
        }
    }

    pub(super) fn refused(&self) -> Vec<Refused> {
        let refused = self.refused.iter();
        refused.map(|(&address, reason)| Refused { address, reason: reason.clone() }).collect()
    }

    fn all(&self) -> BTreeMap<SocketAddr, Vec<Source>> {
        let listed = self.listed().into_iter().flatten().map(|it| (*it, Source::Endpoints));
        let departed = self.departed.keys().map(|it| (*it, Source::Departed));
        let fixed = self.settings.static_servers.iter().map(|it| (*it, Source::Static));
        let cached = self.cached.iter().flat_map(|it| &it.addresses);
        let cached = cached.map(|it| (*it, Source::Cache));
        let server = self.server.iter().map(|it| (*it, Source::Kubeconfig));
        let local = self.settings.local.iter().map(|it| (*it, Source::Local));

        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let from_cluster = listed.chain(departed);
        let beforehand = fixed.chain(cached).chain(server).chain(local);
        for (address, source) in from_cluster.chain(beforehand) {
            if self.settings.refusal(address).is_none() {
                all.entry(address).or_default().push(source);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
