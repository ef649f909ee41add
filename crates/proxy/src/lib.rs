//! The TCP reverse proxy: accept, choose a backend, connect, move bytes, drain.
//!
//! One process-wide set of threads, each with its own epoll loop, owns every connection from
//! accept to close. Nothing here knows of Kubernetes or VRRP: the caller says which backends are
//! usable ([`Handle::set_backends`]) and hears what the traffic itself shows ([`Handle::evidence`]).
//!
//! A client is never lost to one bad backend while another one would serve it:
//!
//! - a failed connect goes on to the next backend at once, a slow one is raced by the next;
//! - a backend that accepts and stays silent, as a stopped process does by its kernel's backlog,
//!   loses the client to another, to which the client's first bytes are replayed. That is done for
//!   a TLS ClientHello alone: it asks for nothing but an answer. Other bytes (a plain HTTP POST,
//!   TLS early data) may have been acted on, so they stay with the backend that got them.
//!
//! ```no_run
//! use proxy::{Proxy, Settings};
//!
//! let settings = Settings { listen: vec!["[::]:6444".parse()?], ..Settings::default() };
//! let handle = Proxy::bind(settings)?.start()?;
//! handle.set_backends(vec!["10.0.0.1:6443".parse()?, "10.0.0.2:6443".parse()?]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod backend;
mod connection;
mod contest;
mod crew;
mod error;
mod evidence;
mod handle;
mod hello;
mod histogram;
mod latency;
mod listener;
mod network;
mod pick;
#[doc(hidden)]
pub mod pieces;
mod pipes;
mod proxy_protocol;
mod question;
mod race;
mod rebalance;
mod settings;
mod shared;
mod socket;
mod sources;
mod stats;
mod terms;
mod timers;
mod transfer;
mod worker;

pub use error::{AdoptError, BindError, StartError};
pub use evidence::{Evidence, EvidenceKind};
pub use handle::{Drained, Handle, Proxy};
pub use network::{Network, NetworkError};
pub use proxy_protocol::ProxyProtocol;
pub use settings::{Choice, Settings};
pub use stats::{BackendStats, LatencyHistogram, ListenerStats, Rejected, Stats, ThreadStats};
