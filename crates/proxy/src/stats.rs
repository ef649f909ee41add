//! Counters, as the outside sees them.

use std::net::SocketAddr;
use std::time::Duration;

/// Everything counted since the start, and what is open now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Client connections taken from the listeners, rejected ones included.
    pub accepted: u64,
    /// Client connections open now.
    pub open: usize,
    /// Most connections open at once, after the descriptor limit has had its say.
    pub limit: usize,
    /// Client connections reset right after they were accepted.
    pub rejected: Rejected,
    /// Times the kernel refused an accept for want of descriptors or memory.
    pub accept_errors: u64,
    /// Clients reset because every backend failed them.
    pub unserved: u64,
    /// Further backends tried because one failed before its first byte.
    pub retries: u64,
    /// Further backends tried beside one that had not accepted yet.
    pub raced: u64,
    /// Further backends tried beside one that stayed silent.
    pub hedges: u64,
    /// Hedges that answered first.
    pub hedges_won: u64,
    /// Times a client's first bytes were sent to a further backend.
    pub replays: u64,
    /// Established connections that ended by a reset of either side.
    pub resets: u64,
    /// Per listen address, in the order of the settings.
    pub listeners: Vec<ListenerStats>,
    /// Per backend, those no longer in the set at the end.
    pub backends: Vec<BackendStats>,
    /// Per proxy thread.
    pub threads: Vec<ThreadStats>,
}

/// Client connections reset right after they were accepted, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// No backend was usable.
    pub no_backend: u64,
    /// As many as allowed were open.
    pub limit: u64,
    /// The process had no descriptor left.
    pub descriptors: u64,
}

/// One listen address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerStats {
    /// Where it listens, with the port it really has.
    pub address: SocketAddr,
    /// Client connections taken from it.
    pub accepted: u64,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendStats {
    /// Its address.
    pub address: SocketAddr,
    /// Whether new connections may go to it.
    pub usable: bool,
    /// Client connections it serves now.
    pub open: usize,
    /// Connects begun.
    pub connects: u64,
    /// Connects it refused.
    pub refused: u64,
    /// Connects without a way to it.
    pub unreachable: u64,
    /// Connects it did not answer in time.
    pub timeouts: u64,
    /// Times it stayed silent after a ClientHello.
    pub silent: u64,
    /// Times it closed or reset the connection before its first byte.
    pub resets: u64,
    /// Clients it won: its first byte arrived, or it alone was sent bytes that cannot be replayed.
    pub served: u64,
    /// Bytes sent to it.
    pub bytes_up: u64,
    /// Bytes received from it.
    pub bytes_down: u64,
    /// How long its latest successful connect took.
    pub last_connect: Option<Duration>,
    /// Moving average of its connects.
    pub mean_connect: Option<Duration>,
    /// Moving average of the time from a ClientHello to its first byte.
    pub mean_first_byte: Option<Duration>,
}

/// One proxy thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadStats {
    /// Client connections it owns now.
    pub open: usize,
    /// How long ago its loop last turned.
    pub turned: Duration,
}
