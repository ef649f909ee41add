//! What holds for the clients that come, and may change while the proxy runs.

use std::num::NonZeroU32;

use crate::network::Network;
use crate::settings::{Choice, Settings};

/// Those of the settings that [`Handle::change`](crate::Handle::change) takes.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Which backend a client gets.
    pub(crate) choice: Choice,
    /// How many connections per second are ended for a backend that comes back.
    pub(crate) rebalance: Option<NonZeroU32>,
    /// Most connections at once.
    pub(crate) limit: usize,
    /// Most of them from one host.
    pub(crate) limit_per_source: Option<usize>,
    /// Where clients may come from; empty allows all.
    pub(crate) allowed_sources: Vec<Network>,
}

impl Terms {
    /// By the settings, where there are descriptors for `capacity` connections.
    pub(crate) fn new(settings: &Settings, capacity: usize) -> Self {
        Self {
            choice: settings.choice,
            rebalance: settings.rebalance,
            limit: settings.max_connections.min(capacity),
            limit_per_source: settings.max_connections_per_source,
            allowed_sources: settings.allowed_sources.clone(),
        }
    }
}
