//! Virtual IPs on this machine: the real-time thread that drives [`vrrp`] against the kernel.
//!
//! ```text
//!   VRRP sockets ──▶┌─────────────────────┐──▶ advertisements
//!   link, addresses │  speaker (a thread) │──▶ addresses with a short lifetime
//!   the clock    ──▶│   vrrp::VirtualRouter ×n │──▶ gratuitous ARP, neighbour advertisements
//!   commands     ──▶└─────────────────────┘──▶ events, status
//! ```
//!
//! The thread waits for nothing but its own descriptors: no Kubernetes, no name service, no log,
//! no disk. It is the part that has to be right when everything else is starved, so it also asks
//! for real-time priority.
//!
//! The addresses carry a lifetime in the kernel that only this thread renews, and only while the
//! [`Service`] behind them proves to be alive: killed or frozen, the node loses them by itself.

mod announcements;
mod claim;
mod clock;
mod error;
mod event;
mod instance;
mod service;
mod settings;
mod speaker;
mod status;

pub use clock::{age, now};
pub use error::Error;
pub use event::Event;
pub use service::Service;
pub use settings::{Instance, Settings};
pub use speaker::Vip;
pub use status::{InstanceStatus, PastTransition, Status};
