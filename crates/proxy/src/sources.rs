//! Where clients come from: whether they may, and how many connections each host has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::network::Network;
use crate::settings::Settings;

/// Why a client is sent away for where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// From no network that clients may come from.
    Foreign,
    /// Its host has as many connections as it may.
    TooMany,
}

/// The rules, and what counts against them. Costs nothing where there are no rules.
#[derive(Debug)]
pub(crate) struct Sources {
    allowed: Vec<Network>,
    most: Option<usize>,
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    /// By the settings; no connections yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            allowed: settings.allowed_sources.clone(),
            most: settings.max_connections_per_source,
            open: Mutex::default(),
        }
    }

    /// Lets a client of `source` in, or not. Says what to give back when it has gone.
    pub(crate) fn admit(&self, source: IpAddr) -> Result<Option<IpAddr>, Unwelcome> {
        let source = source.to_canonical();
        let is_allowed =
            self.allowed.is_empty() || self.allowed.iter().any(|network| network.contains(source));
        if !is_allowed {
            return Err(Unwelcome::Foreign);
        }
        let Some(most) = self.most else { return Ok(None) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_insert(0);
        if *count >= most {
            if *count == 0 {
                open.remove(&source);
            }
            return Err(Unwelcome::TooMany);
        }
        *count += 1;
        Ok(Some(source))
    }

    /// A client that was let in has gone.
    pub(crate) fn gone(&self, admitted: Option<IpAddr>) {
        let Some(source) = admitted else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(source) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests;
