//! Virtual IPs on this machine: the real-time thread that drives [`vrrp`] against the kernel.
//!
//! ```text
//!   VRRP sockets ──▶┌──────────────────────────┐──▶ advertisements
//!   the kernel's    │ speaker (a thread)       │──▶ gratuitous ARP, neighbour advertisements
//!   notifications ─▶│  vrrp::VirtualRouter × n │──▶ events, status
//!   the clock     ──▶└──────────────────────────┘
//!   commands      ──▶        │ hold, release
//!                            ▼
//!                    keeper (a thread) ──▶ addresses with a short lifetime
//! ```
//!
//! An instance may have a router of either family under one name. They move together: the IPv6 one
//! follows the IPv4 one ([`vrrp::VirtualRouter::set_lead`]).
//!
//! The speaker waits for nothing but its own descriptors: no Kubernetes, no name service, no log,
//! no disk, and no lock of the kernel either, for which the keeper is there. It has to be right
//! when everything else is starved, so both ask for real-time priority.
//!
//! The addresses carry a lifetime in the kernel that only the keeper renews, and only while the
//! speaker turns and the [`Service`] behind the addresses proves to be alive: killed or frozen, the
//! node loses them by itself.
//!
//! Another process of this machine can go on in place of this one, so that the daemon can be
//! replaced and nothing moves: [`Vip::pass_on`] and [`Vip::succeed`].

mod announcements;
mod claim;
mod clock;
mod error;
mod event;
mod handle;
mod instance;
mod keeper;
mod outbox;
mod pulse;
mod relay;
mod service;
mod settings;
mod speaker;
mod status;
mod succession;

pub use clock::{age, now};
pub use error::Error;
pub use event::Event;
pub use handle::{Applied, Vip};
pub use relay::Relay;
pub use service::Service;
pub use settings::{Instance, Settings};
pub use status::{InstanceStatus, PastTransition, Status};
pub use succession::Identity;
