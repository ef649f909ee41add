//! A whole cluster on one machine: namespaces joined by a switch, stand-in apiservers, a client that measures, faults to inject.
//!
//! ```text
//!   run ──▶ session ──▶ world      namespaces, cables, processes
//!    │         ├──────▶ observer   who holds the virtual IP, by each kernel's word
//!    │         ├──────▶ client     what somebody who uses the virtual IP sees
//!    │         └──────▶ roles      what the controllers say of themselves
//!    ├──▶ scenario   what to do when, and what to expect
//!    ├──▶ screen     the live view and its keys
//!    └──▶ report     timeline and verdict
//! ```
//!
//! Integration tests take [`world`], [`observer`] and [`client`] without the rest.

mod error;
mod interrupt;
mod roles;
mod run;
mod screen;
mod session;

pub mod apiserver;
pub mod client;
pub mod observer;
pub mod pki;
pub mod report;
pub mod scenario;
pub mod world;

pub use error::Error;
pub use report::Verdict;
pub use run::{Options, Output, run};
