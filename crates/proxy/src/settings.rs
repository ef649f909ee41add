//! What the proxy listens on and how patient it is.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::network::Network;
use crate::proxy_protocol::ProxyProtocol;

/// How the proxy listens, connects and waits.
///
/// [`Settings::default`] listens nowhere and has the value named at each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on; port 0 takes a free one. `[::]` takes IPv4 as well, and falls back
    /// to `0.0.0.0` where the kernel has no IPv6.
    pub listen: Vec<SocketAddr>,
    /// Threads that own connections, at least 1. Default: one per core, at most 8.
    pub threads: usize,
    /// How many of them take clients as long as these do not use up a core each: the same work costs
    /// fewer threads less. Connections stay with their thread. Default: 1.
    pub threads_at_rest: usize,
    /// The nice value of the threads, -20 to 19 (sched(7)); below 0 where the process may
    /// (CAP_SYS_NICE), else nothing changes. Default: that of the process.
    pub nice: Option<i32>,
    /// Which backend a client gets. Default: [`Choice::RoundRobin`].
    pub choice: Choice,
    /// Tells every backend who the client is; all of them must expect it, and kube-apiserver does
    /// not. Default: nothing is sent.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long one backend may take to accept a connection. Default: 1 s.
    pub connect_timeout: Duration,
    /// When to try the next backend beside one that has not accepted yet; sooner (several times
    /// the connect latencies seen, at least 30 ms) once there are samples. Default: 250 ms.
    pub connect_beside: Duration,
    /// How long an accepting backend may leave a ClientHello unanswered before the next one is
    /// asked beside it; sooner (several times the latencies of its first byte, at least 100 ms)
    /// once there are samples. Default: 1 s.
    pub hedge_after: Duration,
    /// How many of a client's first bytes are kept for replay; a longer ClientHello is never
    /// replayed. Default: 64 KiB.
    pub first_bytes: usize,
    /// Most connections open at once, a further one is reset. The descriptor limit of the process
    /// (two per connection) bounds it too. Default: 65,536.
    pub max_connections: usize,
    /// Most connections open at once from one IP address, a further one is reset. Nodes behind
    /// address translation share one. Default: no limit.
    pub max_connections_per_source: Option<usize>,
    /// Networks that clients may come from, others are reset; empty allows all. Default: empty.
    pub allowed_sources: Vec<Network>,
    /// When a backend comes back and others have more than a fifth above their share: how many
    /// connections per second are ended for its sake, each closed, not reset, after a second without
    /// a byte. Their clients connect anew, meanwhile to the backend with the fewest connections.
    /// Default: none.
    pub rebalance: Option<NonZeroU32>,
    /// How long flows to an ejected backend may go on. Default: 5 s.
    pub ejected_grace: Duration,
    /// Silence after which a peer is probed by TCP keepalive. Default: 15 s.
    pub keepalive_idle: Duration,
    /// Time between two keepalive probes; the user timeouts say when to give up. Default: 5 s.
    pub keepalive_interval: Duration,
    /// How long a client may leave bytes or probes unacknowledged (TCP_USER_TIMEOUT). It ends a
    /// client that stops reading as well, so it must outlast a paused pager. Default: 2 min.
    pub client_user_timeout: Duration,
    /// How long a backend may leave bytes or probes unacknowledged (TCP_USER_TIMEOUT).
    /// Default: 30 s.
    pub backend_user_timeout: Duration,
    /// Pipes per thread for bulk transfers, two descriptors and up to 1 MiB in flight each; 0
    /// copies everything. They are made by [`Proxy::bind`](crate::Proxy::bind), which must run
    /// before capabilities are dropped: `fs.pipe-user-pages-soft` shrinks later ones. Default: 16.
    pub pipes: usize,
}

/// Which backend a client gets. Whatever the choice: one that failed a moment ago comes last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// All in turn, exactly even over the whole proxy: any N consecutive clients get N backends.
    /// What a backend that was away has missed is not made up for.
    #[default]
    RoundRobin,
    /// The one with the fewest connections of this proxy; equal ones in turn. A backend that comes
    /// back gets all new clients until it has as many as the others.
    LeastConnections,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            threads: available_parallelism().map_or(1, usize::from).min(8),
            threads_at_rest: 1,
            nice: None,
            choice: Choice::RoundRobin,
            proxy_protocol: None,
            connect_timeout: Duration::from_secs(1),
            connect_beside: Duration::from_millis(250),
            hedge_after: Duration::from_secs(1),
            first_bytes: 64 * 1024,
            max_connections: 65_536,
            max_connections_per_source: None,
            allowed_sources: Vec::new(),
            rebalance: None,
            ejected_grace: Duration::from_secs(5),
            keepalive_idle: Duration::from_secs(15),
            keepalive_interval: Duration::from_secs(5),
            client_user_timeout: Duration::from_secs(120),
            backend_user_timeout: Duration::from_secs(30),
            pipes: 16,
        }
    }
}
