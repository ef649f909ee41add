//! Who the apiservers are and which of them may be used: static list, disk cache, Kubernetes watch, health checks.
//!
//! [`check`] reads everything the settings name and touches nothing else; [`spawn`] starts the
//! work; [`Backends::snapshots`] tells the proxy, at any time and without waiting, which apiservers
//! to use. Inside, from pure to impure:
//!
//! - `endpoints` turns Kubernetes objects into addresses, `health` says how one
//!   apiserver is doing, `selection` says which of them may be used. No clock, no sockets.
//! - `checker` asks each apiserver for `/readyz`, `discovery` reads and watches the `kubernetes`
//!   endpoints through any of them, `cache` keeps the last list on disk, `kubeconfig` reads and
//!   re-reads the credentials.
//! - `backends` is the one task that joins them and publishes snapshots; `beside` does so for another
//!   port of the same hosts, `reach` asks once.

mod backends;
mod beside;
mod cache;
mod checker;
mod discovery;
mod endpoints;
mod error;
mod health;
mod jitter;
mod kubeconfig;
mod reach;
mod selection;
mod settings;
mod snapshot;
mod tls;

#[cfg(test)]
mod testing;

pub use backends::{Backends, Reporter, spawn};
pub use beside::spawn_beside;
pub use checker::PortCheck;
pub use error::Error;
pub use health::{Evidence, Failure, Health};
pub use reach::reach;
pub use settings::{Checked, HealthSettings, Settings, check};
pub use snapshot::{Backend, Discovery, Origin, Refused, Resource, Snapshot, Source};
