//! Where clients come from: whether they may, and how many connections each host has.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::terms::Terms;

/// Why a client is sent away for where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// From no network that clients may come from.
    Foreign,
    /// Its host has as many connections as it may.
    TooMany,
}

/// What counts against a limit per host. Costs nothing where there is none.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl Sources {
    /// Lets a client of `source` in, or not. Says what to give back when it has gone.
    pub(crate) fn admit(&self, source: IpAddr, terms: &Terms) -> Result<Option<IpAddr>, Unwelcome> {
        let source = source.to_canonical();
        let allowed = &terms.allowed_sources;
        if !allowed.is_empty() && !allowed.iter().any(|network| network.contains(source)) {
            return Err(Unwelcome::Foreign);
        }
        let Some(most) = terms.limit_per_source else { return Ok(None) };
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
