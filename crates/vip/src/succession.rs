//! What one process passes on to another.

use std::io;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What makes a virtual router the same one in another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The instance's name, which may change.
    pub name: String,
    /// The interface's index.
    pub link_index: u32,
    /// The virtual router identifier.
    pub virtual_router_id: u8,
    /// The address it speaks from.
    pub source: IpAddr,
    /// Whether it speaks to listed peers.
    pub unicast: bool,
}

impl Identity {
    pub(crate) fn new(name: &str, link_index: u32, router: &vrrp::Settings) -> Self {
        Self {
            name: name.to_owned(),
            link_index,
            virtual_router_id: router.virtual_router_id,
            source: router.source,
            unicast: !router.unicast_peers.is_empty(),
        }
    }

    /// Whether it is the same virtual router, whatever its name.
    pub fn is(&self, other: &Self) -> bool {
        let router = |it: &Self| (it.link_index, it.virtual_router_id, it.source, it.unicast);
        router(self) == router(other)
    }
}

/// All that a speaker leaves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Estate {
    pub(crate) ready: bool,
    pub(crate) peers: Option<Vec<IpAddr>>,
    pub(crate) routers: Vec<RouterEstate>,
}

/// What is left of one virtual router.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RouterEstate {
    pub(crate) identity: Identity,
    /// Such as `10.0.0.100/24`.
    pub(crate) addresses: Vec<String>,
    pub(crate) router: vrrp::Estate,
}

impl Estate {
    pub(crate) fn write(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Estate(error.into()))
    }

    /// Nothing at all says that the predecessor is gone.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::NoPredecessor);
        }
        serde_json::from_slice(bytes).map_err(|error| Error::Estate(io::Error::from(error)))
    }
}
