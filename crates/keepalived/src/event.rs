use std::time::Duration;

use crate::{Error, Transition};

/// Something worth a log line. Delivered on the supervising thread: the receiver must not block.
///
/// What keepalived itself logs goes to the log directly, with the target `keepalived`.
#[derive(Debug)]
pub enum Event {
    /// A VRRP instance changed its state.
    Transition {
        /// The instance's name.
        instance: String,
        /// From, to and why.
        transition: Transition,
    },
    /// keepalived runs, for the first time or again.
    Started {
        /// Its process.
        process: u32,
    },
    /// keepalived ended by itself; its addresses were removed.
    Died {
        /// How it ended.
        how: String,
        /// It is started again after this time.
        again_in: Duration,
    },
    /// Something that keepalived had left was removed.
    Removed {
        /// What it was.
        what: String,
    },
    /// Something failed; it is tried again.
    Trouble {
        /// What.
        error: Error,
    },
    /// keepalived was ended and its files removed: after a stop or a hand-over.
    Ended(Result<(), Error>),
}
