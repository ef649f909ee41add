//! A real keepalived, configured from Go templates and supervised: `type: Keepalived`.
//!
//! ```text
//!   Settings ──▶ check ──▶ Checked ──▶ start ──▶ Keepalived ──▶ status, events
//!                  │                                 │
//!     Go templates │ keepalived -t                   │ a thread: starts, restarts, reloads, stops
//!                  ▼                                 ▼
//!            configuration ──▶ files ──▶ keepalived ──▶ notify FIFO, log
//!                                  ▲
//!                     readiness ───┘ (a track_file: keepalived itself changes its priority)
//! ```
//!
//! keepalived decides alone who holds the addresses; this crate tells it by a tracked file whether
//! the node is ready, and reads from its FIFO what it decided. It ends with the thread that
//! supervises it, also when this process is killed: it takes the addresses along in good order.
//!
//! Frozen (SIGSTOP), this process cannot say that it is not ready: the watchdog does, a process
//! beside keepalived that hears a heartbeat ([`watch`]).

mod back_off;
mod check;
mod configuration;
mod error;
mod event;
mod family;
mod files;
mod handle;
mod heirs;
mod leftovers;
mod log_line;
mod notice;
mod outline;
mod process;
mod quote;
mod relay;
mod settings;
mod status;
mod supervisor;
mod template;
mod variables;
mod watchdog;

pub use check::{Checked, check};
pub use configuration::{VIRTUAL_SERVERS_TEMPLATE, VRRP_TEMPLATE};
pub use error::Error;
pub use event::Event;
pub use handle::{Applied, Heart, Keepalived};
pub use leftovers::remove_leftovers;
pub use settings::{Instance, Settings, VirtualServer};
pub use status::{InstanceStatus, PastTransition, Status, Transition};
pub use watchdog::watch;
