//! Another process goes on in place of this one, perhaps of another version, and nothing moves.
//!
//! ```text
//!   predecessor                              successor
//!   checks its configuration, starts it ───▶ has: admin and listening sockets, lock, redirect
//!                                            reads the configuration, starts all but accepting,
//!                                ◀── ready ─ reaches an apiserver
//!   speaker: last advertisement,
//!     keeper rests ── the baton (vip) ─────▶ speaker: speaks, keeper: renews
//!   MAINPID= to systemd                      redirect, accepting, admin
//!                              ◀─ serving ──
//!   stops accepting, drains     ◀ released ─ (an address left this node)
//!   ends
//! ```
//!
//! Up to the baton nothing is changed, and whatever goes wrong ends the successor alone. Who has the
//! baton is in charge, also if the other process dies that very moment. Everything that both hold,
//! they hold as descriptors of the same thing, which stays as long as either lives.

mod line;
mod predecessor;
mod successor;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

pub(crate) use self::predecessor::{Inheritance, Predecessor, Served};
pub(crate) use self::successor::{Bequest, Heard, Successor};
use crate::admin_client::order;
use crate::cli;
use crate::error::Error;
use crate::run_dir::admin_socket;

/// Where the admin server is asked for it.
pub(crate) const PATH: &str = "/upgrade";

/// Names the predecessor to the successor, whose standard input is the line between them.
const PREDECESSOR: &str = "CPLB_PREDECESSOR";

/// The form of what is passed on. To be counted up when a successor of another form would go wrong.
const FORM: u32 = 1;

/// How long a successor may take to be ready when nobody says otherwise, in seconds.
const WITHIN: u16 = 30;

/// Somebody wants another process in place of this one.
pub(crate) struct Request {
    /// How long it may take to be ready, in seconds.
    pub(crate) within: u16,
    /// What was done, or why not; nobody waits after a signal.
    reply: Option<oneshot::Sender<Result<String, String>>>,
}

/// What the successor is told first, with the descriptors of a [`Bequest`] beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Legacy {
    form: u32,
    version: String,
    /// Whether this node is ready, with all hysteresis applied.
    ready: bool,
    routers: Vec<vip::Identity>,
    redirect: Option<RedirectBy>,
    /// How many listening sockets of the admin server there are.
    admin: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum RedirectBy {
    Nftables { owned: bool },
    Iptables,
}

/// What the successor says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Word {
    /// It could go on at once.
    Ready { version: String },
    /// It cannot, and ends.
    Failed { reason: String },
    /// It accepts clients.
    Serving,
    /// These virtual addresses have left the node.
    Released { addresses: Vec<IpAddr> },
}

impl Request {
    /// As the admin server has got it.
    pub(crate) fn new(query: Option<&str>, reply: oneshot::Sender<Result<String, String>>) -> Self {
        let within = query.and_then(|query| query.strip_prefix("within=")?.parse().ok());
        Self { within: within.unwrap_or(WITHIN), reply: Some(reply) }
    }

    /// By a signal.
    pub(crate) fn by_signal() -> Self {
        Self { within: WITHIN, reply: None }
    }

    /// Says how it went, to the log too.
    pub(crate) fn answer(self, outcome: Result<String, String>) {
        match &outcome {
            Ok(done) => tracing::info!("upgrade: {done}"),
            Err(reason) => tracing::error!("not upgraded, this process goes on: {reason}"),
        }
        if let Some(reply) = self.reply {
            // Who asked may have given up.
            let _ = reply.send(outcome);
        }
    }
}

/// Asks the running daemon for it and waits.
pub(crate) fn ask(arguments: &cli::Upgrade) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let path = format!("{PATH}?within={}", arguments.within);
    let outcome = runtime.block_on(order(&admin_socket(&arguments.run_dir), &path))?;
    println!("{}", outcome.map_err(Error::NotUpgraded)?);
    Ok(())
}
