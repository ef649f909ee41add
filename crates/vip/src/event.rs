use std::net::IpAddr;
use std::time::Duration;

use vrrp::{DropReason, Transition};

use crate::Error;

/// Something worth a log line. Delivered on the real-time thread: the receiver must not block.
#[derive(Debug)]
pub enum Event {
    /// A virtual router changed its state.
    Transition {
        /// The instance's name.
        instance: String,
        /// From, to and why.
        transition: Transition,
    },
    /// A packet was dropped for a reason not yet told about this sender.
    Dropped {
        /// The instance's name.
        instance: String,
        /// The sender.
        source: IpAddr,
        /// Why; its text says what to change.
        reason: DropReason,
    },
    /// The peer advertises other addresses than we do. Told once a peer.
    AddressesDiffer {
        /// The instance's name.
        instance: String,
        /// The sender.
        source: IpAddr,
    },
    /// Somebody took a virtual address off the interface; it is back.
    PutBack {
        /// The instance's name.
        instance: String,
        /// The address.
        address: IpAddr,
    },
    /// The service does not prove alive: addresses are no longer renewed.
    ServiceSilent,
    /// The service is alive again.
    ServiceBack,
    /// The thread ran so late that a take-over by others was near.
    Late {
        /// By how much.
        by: Duration,
    },
    /// The kernel refused something; it is tried again.
    Trouble {
        /// The instance's name.
        instance: String,
        /// What the kernel said.
        error: String,
    },
    /// No permission for real-time scheduling or locked memory; under load others may be faster.
    NotRealtime {
        /// What the kernel said.
        error: String,
    },
    /// Another process has taken the virtual routers over, and this one speaks no more: the thread
    /// ended, addresses and all are where they were.
    PassedOn {
        /// How long nobody spoke.
        pause: Duration,
    },
    /// No other process has taken over, and this one goes on as before.
    NotPassedOn {
        /// Why.
        reason: String,
    },
    /// This process has taken the virtual routers over from another one.
    TookOver,
    /// The thread ended: after a stop, a completed hand-over, or an error.
    Ended(Result<(), Error>),
}
